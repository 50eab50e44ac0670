"""Atomic writes: temporary name, fsync, rename, fsync of the folder."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milstore.store.plain import check_kind

if TYPE_CHECKING:
    import pyarrow as pa

_REPEATED = ("stain_attention", "slice_attention")
"""Numbers of which a case has few: a dictionary of them takes a third of the room."""
_FEW = ("case_id", "stain", "n_patches")
"""What mostly is the same from row to row, or is one of a few: a dictionary's numbers of some bits, of which zstd saves
little, and for which every search for a case would wait."""
_BOUNDED = ("case_id", "rank", "n_patches")
"""Columns of attention of which a group of rows says its least and greatest: the two that it is in order by, and one
that is reckoned with, sooner where no sum can overflow. Of the others a group holds all sorts: that tells nothing."""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    import hashlib

    # A pipe in the place of a file would never end.
    check_kind(path)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync_file(path: Path) -> None:
    """Wait until a file's bytes are on the disk."""
    _sync(path, os.O_RDONLY)


def sync_folder(path: Path) -> None:
    """Wait until a folder's entries (creations, renames) are on the disk."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary_sibling(path: Path) -> Path:
    """A name beside `path` that nobody else uses. Files of such names are leftovers if no writer lives."""
    from uuid import uuid4

    # Not tempfile: its files are readable by their owner alone, and a store is shared by a group.
    return path.with_name(f".{path.name}.{uuid4().hex}.tmp")


def write_whole(path: Path, writer: Callable[[Path], None]) -> None:
    """Let `writer` fill a temporary file, then put it in the place of `path` by one atomic rename."""
    temporary = temporary_sibling(path)
    try:
        writer(temporary)
        sync_file(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON for people and programs, atomically."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, atomically."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8", newline="")

    write_whole(path, write)


def write_parquet(table: "pa.Table", path: Path) -> None:
    """Write a Parquet file and wait until it is on the disk. Not atomic: for folders that are renamed as a whole."""
    put_parquet(table, path)
    sync_file(path)


def put_parquet(table: "pa.Table", path: Path) -> None:
    """Write a Parquet file, without waiting until it is on the disk."""
    import pyarrow.parquet as pq

    pq.write_table(table, path, **parquet_options(table))


def parquet_options(table: "pa.Table") -> dict[str, Any]:
    """How `pyarrow.parquet.write_table` writes this table in every store."""
    import pyarrow as pa

    noisy = [field.name for field in table.schema if pa.types.is_float32(field.type) and field.name not in _REPEATED]
    return {
        "compression": {name: "none" if name in _FEW else "zstd" for name in table.schema.names},
        # A patch's attention is close to noise in its low bits: splitting the bytes lets zstd find what repeats.
        "use_byte_stream_split": noisy or False,
        "use_dictionary": [field.name for field in table.schema if field.name not in noisy],
        "write_statistics": list(_BOUNDED) if set(_BOUNDED) <= set(table.schema.names) else True,
        # A case is looked for within a group: larger ones take longer, and of smaller ones there is more to tell.
        "row_group_size": 1 << 16,
        # A dictionary is a way to write texts; they are to be read as texts.
        "store_schema": not any(pa.types.is_dictionary(field.type) for field in table.schema),
    }
