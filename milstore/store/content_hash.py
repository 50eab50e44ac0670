"""What a table of the cohort holds: its hash, and the order of its cases."""

import hashlib
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
from natsort import natsorted


def with_case_order(cases: pa.Table) -> pa.Table:
    """The cases with `case_order` set again to their natural order (2 before 10)."""
    ids = cases["case_id"].to_pylist()
    # The text itself decides between ids that natural order holds for equal.
    position = {case_id: i for i, case_id in enumerate(natsorted(ids, key=lambda case_id: (case_id, case_id)))}
    order = pa.array([position[case_id] for case_id in ids], pa.int32())
    kept = [name for name in cases.column_names if name != "case_order"]
    return cases.select(kept).append_column("case_order", order)


def content_hash(table: pa.Table) -> str:
    """SHA-256 of a table's values, whatever library version writes its file."""
    # CSV tells null (nothing) from an empty text ("") and has one spelling of each number.
    digest = hashlib.sha256()
    sink = _HashSink(digest)
    pacsv.write_csv(table, pa.PythonFile(sink, mode="w"))
    return digest.hexdigest()


class _HashSink:
    """A writable file object that hashes what is written to it and stores nothing."""

    closed = False

    def __init__(self, digest: Any) -> None:
        self._digest = digest

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        return len(data)

    def flush(self) -> None:
        """There is nothing to flush."""

    def close(self) -> None:
        self.closed = True
