"""One table for a whole MIL benchmark: a row an instance, a column for its bag, its label and its number, the rest numbers.

A bag becomes a case with one stain and one slice, an instance a patch.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from milstore.errors import DataError, UsageError
from milstore.ingest.csvfile import decoded_line, file_size, separator_of
from milstore.store.names import clip, named, normal_case_id

LARGEST = 1 << 33


@dataclass(frozen=True, slots=True)
class Bags:
    """A benchmark's table."""

    case_id: pa.Array
    patch_idx: npt.NDArray[np.int64]
    labels: dict[str, str]
    """Label of each case, as it stands in the file; empty if the file has none."""
    features: npt.NDArray[np.floating]
    """(N, D)"""


def read_bags(path: Path, *, bag_column: str, index_column: str, label_column: str | None) -> Bags:
    """Read a table (CSV or Parquet); every column that is not named is a feature.

    Raises:
        UsageError: two of the columns are one.
        DataError: a column is missing or holds what it cannot, or a bag has two labels.
    """
    texts = [column for column in (bag_column, index_column, label_column) if column is not None]
    if len(set(texts)) < len(texts):
        raise UsageError(f"the columns {named(texts)} must be different ones")
    table = _read(path, texts)
    columns = [name for name in table.column_names if name not in texts]
    if not columns or not table.num_rows:
        raise DataError(
            f"{path} has {table.num_rows} rows and {len(columns)} columns of features: it needs some of each"
        )
    features = np.empty((table.num_rows, len(columns)), _common_type(table, columns))
    for i, name in enumerate(columns):
        features[:, i] = _numbers(path, table[name], name)
    bags = _texts(path, table, bag_column)
    coded = bags.dictionary_encode()
    case_id = pa.array([normal_case_id(text) for text in coded.dictionary.to_pylist()], pa.string()).take(coded.indices)
    labels = {} if label_column is None else _labels(path, case_id, _texts(path, table, label_column))
    return Bags(case_id, _indices(path, _texts(path, table, index_column), index_column), labels, features)


def _read(path: Path, texts: list[str]) -> pa.Table:
    if not file_size(path, "a table of features"):
        raise DataError(f"{path} is empty: make it anew")
    try:
        table = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path, texts)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, pa.ArrowKeyError) as error:
        reason = clip(str(error).replace("\n", " "), 160)
        raise DataError(f"{path} cannot be read as a table of numbers ({reason}): mend it") from error
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
        return file.read()


def _read_csv(path: Path, texts: list[str]) -> pa.Table:
    header = decoded_line(path)
    return pacsv.read_csv(
        path,
        parse_options=pacsv.ParseOptions(delimiter=separator_of(header, texts)),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(texts, pa.string()), strings_can_be_null=False, null_values=[""]
        ),
    )


def _common_type(table: pa.Table, columns: list[str]) -> npt.DTypeLike:
    return np.float16 if all(pa.types.is_float16(table[name].type) for name in columns) else np.float32


def _numbers(path: Path, column: pa.ChunkedArray, name: str) -> npt.NDArray[Any]:
    kind = column.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)) or column.null_count:
        found = f"{column.null_count} empty values" if column.null_count else f"values of type {kind}"
        raise DataError(
            f"{path} has {found} in column {clip(name)!r}: every column that is not named must hold numbers"
        )
    with np.errstate(over="ignore"):
        numbers: npt.NDArray[Any] = np.asarray(column)
        return numbers.astype(np.float32) if numbers.dtype != np.float16 else numbers


def _texts(path: Path, table: pa.Table, name: str) -> pa.Array:
    texts = pc.utf8_trim_whitespace(pc.cast(table[name].combine_chunks(), pa.string()))
    if texts.null_count or pc.any(pc.equal(texts, "")).as_py():
        raise DataError(f"{path} has rows without a value in column {clip(name)!r}: fill or drop them")
    return texts


def _labels(path: Path, case_id: pa.Array, labels: pa.Array) -> dict[str, str]:
    pairs = (
        pa.table({"case_id": case_id, "label": labels}).group_by(["case_id", "label"], use_threads=False).aggregate([])
    )
    found: dict[str, str] = {}
    for row in pairs.to_pylist():
        if found.setdefault(row["case_id"], row["label"]) != row["label"]:
            raise DataError(
                f"{path} gives bag {clip(row['case_id'])} the labels {clip(found[row['case_id']])} and "
                f"{clip(row['label'])}: keep one"
            )
    return found


def _indices(path: Path, texts: pa.Array, name: str) -> npt.NDArray[np.int64]:
    fits = np.asarray(pc.match_substring_regex(texts, r"\A[0-9]{1,9}\z"))
    if not fits.all():
        wrong = texts[int(np.argmin(fits))].as_py()
        raise DataError(
            f"{path} has {clip(wrong)!r} in column {clip(name)!r}: an instance's number is a whole number from 0"
        )
    return np.asarray(pc.cast(texts, pa.int64()))
