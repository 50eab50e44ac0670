"""Large tables that programs make: CSV or Parquet, read into columns of texts and numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from milstore.errors import DataError
from milstore.formats.csv_table import decoded_line, file_size, separator_of
from milstore.store.names import clip, named

LARGEST = 1 << 33
"""Bytes that a table may take."""


def read_table(path: Path, texts: Sequence[str], optional: Sequence[str] = ()) -> pa.Table:
    """A table, CSV or Parquet by its name; of a CSV file the columns `texts` and `optional` come as texts.

    Raises:
        DataError: it cannot be read, lacks one of `texts`, or has two columns of one name or one without a name.
    """
    if not file_size(path, "a table of features"):
        raise DataError(f"{path} is empty: make it anew")
    try:
        table = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path, [*texts, *optional])
    except DataError:
        raise
    except Exception as error:
        # Arrow raises errors of a dozen classes over damaged files.
        reason = clip(str(error).replace("\n", " "), 160)
        raise DataError(f"{path} cannot be read as a table of numbers ({reason}): correct it") from error
    missing = [name for name in texts if name not in table.column_names]
    if missing:
        raise DataError(f"{path} has no column {named(missing)}: it has {named(table.column_names)}")
    if "" in table.column_names:
        raise DataError(f"{path} has a column without a name, which may be no feature: name or drop it")
    if len(set(table.column_names)) < len(table.column_names):
        double = {name for name in table.column_names if table.column_names.count(name) > 1}
        raise DataError(f"{path} has the column {named(sorted(double))} more than once: rename it")
    return table


def _read_parquet(path: Path) -> pa.Table:
    with pq.ParquetFile(path) as file:
        size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
        if size > LARGEST:
            raise DataError(f"{path} declares {size} bytes: that is too large for one table")
        table = file.read()
    # Parquet's texts are taken as they are, and what follows ends on bytes that are no UTF-8.
    table.validate(full=True)
    return table


def _read_csv(path: Path, texts: Sequence[str]) -> pa.Table:
    header = decoded_line(path)
    return pacsv.read_csv(
        path,
        parse_options=pacsv.ParseOptions(delimiter=separator_of(header, texts)),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(texts, pa.string()), strings_can_be_null=False, null_values=[""]
        ),
    )


def numbers_of(path: Path, column: pa.ChunkedArray, name: str) -> npt.NDArray[Any]:
    """A column as float32, or as float16 if it is that. DataError if it holds anything but numbers."""
    kind = column.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)) or column.null_count:
        found = f"{column.null_count} empty values" if column.null_count else f"values of type {kind}"
        raise DataError(f"{path} has {found} in column {clip(name)!r}: it must hold numbers")
    with np.errstate(over="ignore"):
        numbers: npt.NDArray[Any] = np.asarray(column)
        return numbers.astype(np.float32) if numbers.dtype != np.float16 else numbers


def texts_of(path: Path, table: pa.Table, name: str, *, empty: bool = False) -> pa.Array:
    """A column as texts without blanks around them. DataError if one is no text, or is missing and may not be `empty`."""
    try:
        texts = pc.utf8_trim_whitespace(pc.cast(table[name].combine_chunks(), pa.string()))
    except pa.ArrowException as error:
        raise DataError(f"{path} has in column {clip(name)!r} what is no text: {clip(str(error), 100)}") from error
    if empty:
        return pc.fill_null(texts, "")
    if texts.null_count or pc.any(pc.equal(texts, "")).as_py():
        raise DataError(f"{path} has rows without a value in column {clip(name)!r}: fill or drop them")
    return texts
