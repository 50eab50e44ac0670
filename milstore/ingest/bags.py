"""One table for a whole MIL benchmark: a row an instance, a column for its bag, its label and its number, the rest numbers.

A bag becomes a case with one stain and one slice, an instance a patch.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import DataError, UsageError
from milstore.ingest.datatable import numbers_of, read_table, texts_of
from milstore.store.names import clip, named, normal_case_id


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
    table = read_table(path, texts)
    columns = [name for name in table.column_names if name not in texts]
    if not columns or not table.num_rows:
        raise DataError(
            f"{path} has {table.num_rows} rows and {len(columns)} columns of features: it needs some of each"
        )
    features = np.empty((table.num_rows, len(columns)), _common_type(table, columns))
    for i, name in enumerate(columns):
        features[:, i] = numbers_of(path, table[name], name)
    bags = texts_of(path, table, bag_column)
    coded = bags.dictionary_encode()
    case_id = pa.array([normal_case_id(text) for text in coded.dictionary.to_pylist()], pa.string()).take(coded.indices)
    labels = {} if label_column is None else _labels(path, case_id, texts_of(path, table, label_column))
    return Bags(case_id, _indices(path, texts_of(path, table, index_column), index_column), labels, features)


def _common_type(table: pa.Table, columns: list[str]) -> npt.DTypeLike:
    return np.float16 if all(pa.types.is_float16(table[name].type) for name in columns) else np.float32


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
