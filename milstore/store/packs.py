"""Which packs an encoder's features lie in, and the SHA-256 of each case in them.

An encoder has any number of packs. A pack is never rewritten: what comes later is a pack of its own.
"""

import hashlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from milstore.schema.arrow import arrow_schema
from milstore.store.patch_index import PLACE, hash_places
from milstore.store.paths import ROWS, VECTORS
from milstore.store.plain import check_plain

_BLOCK = 1 << 20


@dataclass(frozen=True)
class PackEntry:
    """A pack as the store's tables name it."""

    number: int
    """From 1."""
    folder: str
    """Below the store."""
    fingerprint: str
    n_patches: int
    source: str


def entries_of(encoder: Mapping[str, Any], packs: pa.Table) -> list[PackEntry]:
    """The packs of an encoder, given by its row, in their order.

    One of which the table says nothing has one pack, which its own row names: so it was in schema 1.
    """
    rows = [row for row in packs.to_pylist() if row["encoder"] == encoder["encoder"]]
    names = ("folder", "fingerprint", "n_patches", "source")
    found = [PackEntry(row["pack"], *(row[name] for name in names)) for row in sorted(rows, key=_number)]
    return found or [PackEntry(1, *(encoder[name] for name in names))]


def _number(row: Mapping[str, Any]) -> int:
    return int(row["pack"])


def fingerprint_of_packs(packs: Iterable[str]) -> str:
    """The fingerprint of an encoder, from those of its packs in their order; that of the pack if there is one."""
    each = list(packs)
    return each[0] if len(each) == 1 else hashlib.sha256("\n".join(each).encode()).hexdigest()


def rows_of_cases(patches: pa.Table) -> dict[str, tuple[int, int]]:
    """First row and end row of each case, of patches that lie side by side."""
    ids = patches["case_id"].combine_chunks()
    if not len(ids):
        return {}
    runs = pc.run_end_encode(ids)
    ends = runs.run_ends.to_pylist()
    return dict(zip(runs.values.to_pylist(), zip([0, *ends[:-1]], ends, strict=True), strict=True))


def read_places(folder: Path) -> pa.Table:
    """The patches of a pack in the order of its rows. OSError or pa.ArrowInvalid if they cannot be read."""
    check_plain(folder / ROWS)
    # Not read_table, which imports pandas.
    with pq.ParquetFile(folder / ROWS) as file:
        return file.read(columns=list(PLACE))


def case_hashes(folder: Path, patches: pa.Table, cases: Iterable[str] | None = None) -> dict[str, str]:
    """SHA-256 of each case of a pack: over its patches, in the order of the rows, and the bytes of their vectors.

    Raises OSError or ValueError if the file cannot be read, and KeyError for a case that is not in it.
    """
    check_plain(folder / VECTORS)
    matrix = np.load(folder / VECTORS, mmap_mode="r", allow_pickle=False)
    offset, row_bytes = int(matrix.offset), int(np.prod(matrix.shape[1:])) * matrix.itemsize
    rows = rows_of_cases(patches)

    def of_case(case_id: str) -> str:
        first, end = rows[case_id]
        digest = hashlib.sha256()
        hash_places(digest, patches.slice(first, end - first))
        with (folder / VECTORS).open("rb", buffering=0) as stream:
            stream.seek(offset + first * row_bytes)
            left = (end - first) * row_bytes
            while left:
                block = stream.read(min(_BLOCK, left))
                if not block:
                    raise ValueError(f"{folder / VECTORS} is truncated")
                digest.update(block)
                left -= len(block)
        return digest.hexdigest()

    wanted = list(rows if cases is None else cases)
    # Hashing lets other threads go on.
    with ThreadPoolExecutor(2) as threads:
        return dict(zip(wanted, threads.map(of_case, wanted), strict=True))


def case_hash(patches: pa.Table, vectors: npt.NDArray[Any]) -> str:
    """The SHA-256 that `case_hashes` gives for a case, from its patches and vectors (N, D) in memory."""
    digest = hashlib.sha256()
    hash_places(digest, patches)
    digest.update(np.ascontiguousarray(vectors).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def hash_of_parts(parts: Iterable[str]) -> str:
    """SHA-256 of a case, from those of what each pack holds of it, in the order of the packs."""
    each = list(parts)
    return each[0] if len(each) == 1 else hashlib.sha256("\n".join(each).encode()).hexdigest()


def hashes_by_case(encoder: str, pack_cases: pa.Table) -> dict[str, dict[int, str]]:
    """For each case of an encoder, the SHA-256 of what each pack, by its number, holds of it."""
    found: dict[str, dict[int, str]] = {}
    for row in pack_cases.to_pylist():
        if row["encoder"] == encoder:
            found.setdefault(row["case_id"], {})[row["pack"]] = row["sha256"]
    return found


def tables_with(
    packs: pa.Table,
    pack_cases: pa.Table,
    encoder: str,
    entries: Iterable[PackEntry],
    hashes: Mapping[int, Mapping[str, str]],
    counts: Mapping[int, Mapping[str, int]],
) -> tuple[pa.Table, pa.Table]:
    """The tables `packs` and `pack_cases` after an encoder has these packs and no others.

    Args:
        packs: the table as it is.
        pack_cases: the table as it is.
        encoder: the encoder.
        entries: its packs.
        hashes: by number of a pack and case; those of packs that are not in it stay.
        counts: how many patches, see hashes.
    """
    entries = list(entries)
    numbers = {entry.number for entry in entries}
    rows = [row for row in packs.to_pylist() if row["encoder"] != encoder]
    rows += [
        {"encoder": encoder, "pack": e.number, "folder": e.folder, "fingerprint": e.fingerprint}
        | {"n_patches": e.n_patches, "source": e.source}
        for e in entries
    ]
    cases = [
        row
        for row in pack_cases.to_pylist()
        if row["encoder"] != encoder or (row["pack"] in numbers and row["pack"] not in hashes)
    ]
    cases += [
        {"encoder": encoder, "pack": number, "case_id": case_id, "n_patches": counts[number][case_id], "sha256": found}
        for number, of_pack in hashes.items()
        for case_id, found in of_pack.items()
    ]
    return (
        pa.Table.from_pylist(rows, arrow_schema("packs")),
        pa.Table.from_pylist(cases, arrow_schema("pack_cases")),
    )
