"""Large tables that programs make, read into columns of texts and numbers by the format that recognises them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import DataError
from milstore.formats.csv_table import file_size
from milstore.formats.interface import TableFormat, reported
from milstore.formats.registry import find_format, recognised
from milstore.store.case_ids import whole_number_texts
from milstore.store.names import clip, named

_NAMELESS = re.compile(r"Unnamed: [0-9]+(_level_[0-9]+)?|__index_level_[0-9]+__")


@dataclass(frozen=True, slots=True)
class Read:
    """A table, and the columns of its file that were left out."""

    table: pa.Table
    nameless: tuple[str, ...]
    """Columns that were left out since they have no name, in words."""


def is_nameless(name: str) -> bool:
    """Whether a column was never given a name: an empty one, or what programs write of an index without one.

    >>> is_nameless(" "), is_nameless("Unnamed: 0"), is_nameless("__index_level_0__"), is_nameless("unnamed")
    (True, True, True, False)
    """
    return not name.strip() or _NAMELESS.fullmatch(name.strip()) is not None


def read_table(path: Path, texts: Sequence[str], optional: Sequence[str] = (), format: str | None = None) -> pa.Table:
    """The table of `read_named`; see there for arguments and errors."""
    return read_named(path, texts, optional, format).table


def read_named(path: Path, texts: Sequence[str], optional: Sequence[str] = (), format: str | None = None) -> Read:
    """A table without the columns that have no name; its columns `texts` and `optional` come as texts where the file does not say what they are.

    Args:
        path: the file.
        texts: columns that it must have.
        optional: columns that it may have.
        format: name of the table's format, or ./file.py:Class; found by its content if left out.

    Raises:
        DataError: it cannot be read, lacks one of `texts`, or has two columns of one name.
    """
    if not file_size(path, "a table of features"):
        raise DataError(f"{path} is empty: create it again")
    name = format or recognised("tables", [path]) or "csv"
    fmt: TableFormat = find_format("tables", name)
    try:
        table = fmt.read(path, [*texts, *optional])
        if not isinstance(table, pa.Table):
            raise DataError(f"{path}: format {name} gives no Arrow table for it")
    except DataError:
        raise
    except Exception as error:
        # Arrow raises errors of a dozen classes over damaged files.
        reason = clip(str(error).replace("\n", " "), 160)
        raise DataError(f"{path} cannot be read as a table of numbers ({reason}): correct it") from error
    table = table.rename_columns([name.strip() for name in table.column_names])
    asked = {*texts, *optional}
    left = [i for i, name in enumerate(table.column_names) if is_nameless(name) and name not in asked]
    nameless = tuple(_told(table.column_names[i], i) for i in left)
    table = table.select([i for i in range(table.num_columns) if i not in set(left)])
    missing = [name for name in texts if name not in table.column_names]
    if missing:
        raise DataError(f"{path} has no column {named(missing)}: it has {named(table.column_names)}")
    if len(set(table.column_names)) < len(table.column_names):
        double = {name for name in table.column_names if table.column_names.count(name) > 1}
        raise DataError(f"{path} has the column {named(sorted(double))} more than once: rename it")
    return Read(table, nameless)


def _told(name: str, place: int) -> str:
    return f"{clip(name)!r}" if name else f"column {place + 1}"


def columns_of(path: Path) -> list[str]:
    """The names of a table's columns, as far as it is CSV or Parquet; to recognise it. DataError if it is damaged."""
    name = recognised("tables", [path]) or "csv"
    with reported(path):
        columns: list[str] = find_format("tables", name).columns(path)
    return columns


def numbers_of(path: Path, column: pa.ChunkedArray, name: str) -> npt.NDArray[Any]:
    """A column as float32, or as float16 if it is that. DataError if it holds anything but numbers."""
    kind = column.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)) or column.null_count:
        found = f"{column.null_count} empty values" if column.null_count else f"values of type {kind}"
        raise DataError(f"{path} has {found} in column {clip(name)!r}: it must hold numbers")
    with np.errstate(over="ignore"):
        numbers: npt.NDArray[Any] = np.asarray(column)
        return numbers.astype(np.float32) if numbers.dtype != np.float16 else numbers


def _as_texts(column: pa.Array) -> pa.Array:
    """A column as texts; numbers as pandas makes of whole ones are whole again."""
    return whole_number_texts(column) if pa.types.is_floating(column.type) else pc.cast(column, pa.string())


def texts_of(path: Path, table: pa.Table, name: str, *, empty: bool = False) -> pa.Array:
    """A column as texts without blanks around them.

    DataError if one is no text, or is missing and may not be `empty`.
    """
    try:
        texts = pc.utf8_trim_whitespace(_as_texts(table[name].combine_chunks()))
    except pa.ArrowException as error:
        raise DataError(f"{path} has in column {clip(name)!r} what is no text: {clip(str(error), 100)}") from error
    if empty:
        return pc.fill_null(texts, "")
    if texts.null_count or pc.any(pc.equal(texts, "")).as_py():
        raise DataError(f"{path} has rows without a value in column {clip(name)!r}: fill or drop them")
    return texts
