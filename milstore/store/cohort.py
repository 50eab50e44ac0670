"""The cohort: tables of one generation, changed together or not at all.

Each table is one Parquet file named by its content. `cohort/manifest.json` names the files of the current generation;
replacing that one file is the commit. A reader that holds an older manifest still finds the generation before.
"""

import contextlib
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from filelock import FileLock
from natsort import natsorted

from milstore.errors import StoreError
from milstore.schema import SCHEMA_VERSION
from milstore.schema.arrow import empty
from milstore.schema.columns import columns
from milstore.store.files import sync_folder, write_json, write_parquet, write_whole
from milstore.store.folder import Store
from milstore.store.integrity import check_references, checked_table, key_columns

log = logging.getLogger("milstore")


@dataclass(frozen=True)
class Cohort:
    """One generation of the cohort. It does not change while others ingest."""

    store: Store
    manifest: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the content of every table."""
        return str(self.manifest["fingerprint"])

    @cached_property
    def _read(self) -> dict[str, pa.Table]:
        return {}

    def table(self, name: str) -> pa.Table:
        """A table of this generation, sorted by its key; without rows if nothing was ingested."""
        if name not in self._read:
            entry = self.manifest["tables"].get(name)
            self._read[name] = empty(name) if entry is None else _read_file(self.store.root / entry["file"])
        return self._read[name]

    def names(self) -> list[str]:
        """The tables that have a file."""
        return sorted(self.manifest["tables"])


def _read_file(path: Path) -> pa.Table:
    try:
        # Not read_table, which imports pandas.
        with pq.ParquetFile(path) as file:
            return file.read()
    except (OSError, pa.ArrowInvalid) as error:
        raise StoreError(f"{path} cannot be read ({error}): run milstore doctor") from error


def read_cohort(store: Store) -> Cohort:
    """The cohort as it is now."""
    return Cohort(store, store.manifest())


@dataclass
class CohortEdit:
    """Changes to the cohort that are committed together."""

    base: Cohort
    changed: bool = False
    """After the commit: whether anything differs from before."""
    notes: list[str] = field(default_factory=list)
    """What the user should be told, such as that milstore.duckdb will be refreshed later."""
    _new: dict[str, pa.Table] = field(default_factory=dict)

    def table(self, name: str) -> pa.Table:
        """A table with the changes made so far."""
        return self._new[name] if name in self._new else self.base.table(name)

    def replace(self, name: str, table: pa.Table) -> None:
        """Put a whole table in the place of the one there is; columns go by name.

        Raises:
            DataError: a column is missing or of another type, a value is null that may not be, or a key stands twice.
        """
        self._new[name] = checked_table(name, table)


@contextlib.contextmanager
def edit_cohort(store: Store) -> Iterator[CohortEdit]:
    """Change the cohort: what the block replaces is committed at its end, or nothing is if it raises.

    One edit goes at a time; others wait. Readers and trainers wait for nobody.

    Raises:
        DataError: at the end of the block, a key has no partner in the table that it refers to.
    """
    with locked_cohort(store):
        edit = CohortEdit(read_cohort(store))
        yield edit
        try:
            _commit(store, edit)
        except OSError as error:
            reason = error.strerror or str(error)
            raise StoreError(f"the store at {store.root} cannot be written ({reason}): nothing was changed") from error
    from milstore.store.catalog import refresh

    edit.notes += refresh(store)


@contextlib.contextmanager
def locked_cohort(store: Store) -> Iterator[None]:
    """Nobody else changes the cohort in this block. StoreError if this user may not."""
    # Group-writable, so that colleagues can take the lock after us.
    lock = FileLock(store.manifest_path.parent / ".lock", mode=0o664)
    try:
        lock.acquire()
    except OSError as error:
        raise StoreError(
            f"the store cannot be changed: {lock.lock_file} cannot be written ({error.strerror})"
        ) from error
    try:
        yield
    finally:
        lock.release()


def with_case_order(cases: pa.Table) -> pa.Table:
    """The cases with `case_order` set anew to their natural order (2 before 10)."""
    ids = cases["case_id"].to_pylist()
    # The text itself decides between ids that natural order holds for equal.
    position = {case_id: i for i, case_id in enumerate(natsorted(ids, key=lambda case_id: (case_id, case_id)))}
    order = pa.array([position[case_id] for case_id in ids], pa.int32())
    kept = [name for name in cases.column_names if name != "case_order"]
    return cases.select(kept).append_column("case_order", order)


def begin_cohort(store: Store) -> None:
    """Write the first generation of a new store: its stains."""
    stains = pa.table(
        {
            "stain": list(store.settings.stains),
            "stain_order": pa.array(range(len(store.settings.stains)), pa.int32()),
        }
    )
    base = Cohort(store, {"version": SCHEMA_VERSION, "generation": 0, "fingerprint": "", "tables": {}})
    edit = CohortEdit(base)
    edit.replace("stains", stains)
    _commit(store, edit)


def _commit(store: Store, edit: CohortEdit) -> None:
    check_references(edit.table, sorted(columns("cohort")), set(edit._new))
    old = edit.base.manifest
    entries = dict(old["tables"])
    for name, table in edit._new.items():
        content = content_hash(table)
        if name not in entries or entries[name]["content"] != content:
            entries[name] = _stage(store, name, table, content)
            edit.changed = True
    if not edit.changed:
        return
    manifest = {
        "version": SCHEMA_VERSION,
        "generation": old["generation"] + 1,
        "fingerprint": fingerprint_of(entries),
        "tables": entries,
        # Kept for readers that opened the store a moment ago.
        "previous": sorted({entry["file"] for entry in old["tables"].values()} - {e["file"] for e in entries.values()}),
    }
    write_json(store.manifest_path, manifest)
    log.debug("cohort generation %s", manifest["generation"])
    _remove_outdated(store, manifest)


def fingerprint_of(entries: Mapping[str, Mapping[str, Any]]) -> str:
    """SHA-256 over what the tables of a cohort hold, from their entries in the manifest."""
    return hashlib.sha256(json.dumps({name: entries[name]["content"] for name in sorted(entries)}).encode()).hexdigest()


def content_hash(table: pa.Table) -> str:
    """SHA-256 of a table's values, whatever library version writes its file."""
    # CSV tells null (nothing) from an empty text ("") and has one spelling of each number.
    digest = hashlib.sha256()
    sink = _HashSink(digest)
    pacsv.write_csv(table, pa.PythonFile(sink, mode="w"))
    return digest.hexdigest()


class _HashSink:
    """A file that keeps nothing but the hash of what is written to it."""

    closed = False

    def __init__(self, digest: Any) -> None:
        self._digest = digest

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        self.closed = True


def _stage(store: Store, name: str, table: pa.Table, content: str) -> dict[str, Any]:
    folder = "patches" if name == "patches" else "cohort"
    path = store.root / folder / f"{name}-{content[:12]}.parquet"
    path.parent.mkdir(exist_ok=True)
    write_whole(path, lambda temporary: write_parquet(table, temporary))
    sync_folder(path.parent)
    from milstore.store.files import sha256_of

    return {
        "file": path.relative_to(store.root).as_posix(),
        "rows": table.num_rows,
        "content": content,
        "sha256": sha256_of(path),
    }


def _remove_outdated(store: Store, manifest: dict[str, Any]) -> None:
    wanted = {entry["file"] for entry in manifest["tables"].values()} | set(manifest["previous"])
    for folder in ("cohort", "patches"):
        for path in (store.root / folder).glob("*.parquet"):
            if path.relative_to(store.root).as_posix() not in wanted:
                path.unlink(missing_ok=True)


def select_cases(table: pa.Table, case_ids: list[str]) -> pa.Table:
    """The rows of some cases."""
    return table.filter(pc.is_in(table["case_id"], value_set=pa.array(case_ids, pa.string())))


__all__ = ["Cohort", "CohortEdit", "edit_cohort", "key_columns", "read_cohort", "select_cases", "with_case_order"]
