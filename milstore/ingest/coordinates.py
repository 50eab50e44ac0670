"""Coordinates of patches on their slices, from a separate CSV file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import DataError
from milstore.formats.csv_table import TextTable, read_csv
from milstore.store.names import clip, named

_LIMIT = 2**31
Numbers = npt.NDArray[np.int64]


def with_coordinates(names: pa.Table, file: Path) -> pa.Table:
    """The names with x, y and, where the file has them, width and height from a CSV file (file,x,y[,width,height]).

    A row names its patch by the path below the folder, or by the file's name alone where that is enough.

    Raises:
        DataError: a column is missing, a value is no whole number, a row's file is not in the folder, or a file has
            two rows.
    """
    table = read_csv(file, "a file of coordinates", ["file", "x", "y"])
    for column in ("file", "x", "y"):
        table.column(column)
    rows = _rows_of(names["file"].to_pylist(), table)
    for column in ("x", "y", "width", "height"):
        if column in ("x", "y") or column in table.columns:
            values, absent = np.zeros(names.num_rows, np.int32), np.ones(names.num_rows, bool)
            values[rows] = _numbers(table, column, least=1 if column in ("width", "height") else -_LIMIT)
            absent[rows] = False
            numbers = pa.array(values, mask=absent)
            known = pc.coalesce(numbers, names[column])
            names = names.set_column(names.column_names.index(column), column, known)
    return names


def _rows_of(files: Sequence[str], table: TextTable) -> list[int]:
    """The row of `files` that each row of the table is about."""
    by_path: dict[str, int | None] = {path: row for row, path in enumerate(files)}
    by_name: dict[str, int | None] = {}
    for path, row in by_path.items():
        name = path.rpartition("/")[2]
        by_name[name] = None if name in by_name else row
    taken: dict[int, int] = {}
    for text, line in zip(table.column("file"), table.lines, strict=True):
        path = text.replace("\\", "/").removeprefix("./")
        row = by_path.get(path, by_name.get(path.rpartition("/")[2]))
        if row is None:
            raise DataError(f"{table.path}, line {line}: there is no one patch {clip(text)!r} in the folder")
        if row in taken:
            raise DataError(f"{table.path} has {clip(text)!r} on lines {taken[row]} and {line}: keep one")
        taken[row] = line
    return list(taken)


def _numbers(table: TextTable, column: str, *, least: int) -> Numbers:
    texts = table.column(column)
    try:
        numbers = np.array([int(text[:20]) for text in texts], np.int64)
    except (ValueError, OverflowError):
        wrong = [
            f"{clip(text)!r} (line {line})"
            for text, line in zip(texts, table.lines, strict=True)
            if not _is_whole(text)
        ]
        raise DataError(f"{table.path} has {column} that are no whole numbers: {named(wrong, 3)}") from None
    if ((numbers < least) | (numbers >= _LIMIT)).any():
        line = table.lines[int(np.argmax((numbers < least) | (numbers >= _LIMIT)))]
        raise DataError(f"{table.path}, line {line}: {column} must lie between {least} and {_LIMIT - 1}")
    return numbers


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal() and len(text) < 19
