"""One table for a whole MIL benchmark: a row an instance, a column for its bag, its label and its number, the rest numbers.

A bag becomes a case with one stain and one slice, an instance a patch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import DataError, UsageError
from milstore.formats.bag_columns import BagRows
from milstore.formats.bag_columns import feature_columns as choose_columns
from milstore.formats.csv_table import looks_like_csv
from milstore.formats.data_table import numbers_of, read_named, texts_of
from milstore.formats.missing_marks import UNSAID, Marks
from milstore.store.case_ids import CaseIds, is_cut_number
from milstore.store.names import clip, named


@dataclass(frozen=True, slots=True)
class Bags:
    """A benchmark's table."""

    case_id: pa.Array
    patch_idx: npt.NDArray[np.int64]
    labels: dict[str, str]
    """Label of each case, as it stands in the file; empty if the file has none."""
    label_lines: dict[str, int]
    """Line of the file, the header being the first, on which each label is first."""
    features: npt.NDArray[np.floating]
    """(N, D)"""
    notes: tuple[str, ...] = ()
    """Columns that are no features, and bags that were put together, in words."""


def read_bags(
    path: Path,
    *,
    bag_column: str,
    index_column: str,
    label_column: str | None,
    known: CaseIds | None = None,
    marks: Marks = UNSAID,
    format: str | None = None,
    labels_known: Mapping[str, str] | None = None,
    feature_columns: Sequence[str] = (),
) -> Bags:
    """Read a table (CSV or Parquet); every column that is not named is a feature.

    But for one that has no name or counts the rows, which is left out; and one that knows the label, which is refused (see
    `milstore.formats.bag_columns`).

    Args:
        path: the table.
        bag_column: column of the bags.
        index_column: column of the instances' numbers.
        label_column: column of the bags' labels, if there is one.
        known: ids of the store's cases.
        marks: what stands for an unknown label; where something is said, an empty one may stand there.
        format: name of the table's format, or ./file.py:Class; found by its content if left out.
        labels_known: class of each case that has one in the store.
        feature_columns: columns that are taken, though they seem to know the label.

    Raises:
        UsageError: two of the columns are one, or a column of `feature_columns` is none.
        DataError: a column is missing or holds what it cannot, a bag has two labels, or its name stands for a missing
            value.
    """
    texts = [column for column in (bag_column, index_column, label_column) if column is not None]
    if len(set(texts)) < len(texts):
        raise UsageError(f"the columns {named(texts)} must be different ones")
    read = read_named(path, texts, format=format)
    table, ids = read.table, known or CaseIds()
    columns = [name for name in table.column_names if name not in texts]
    if not columns or not table.num_rows:
        raise DataError(
            f"{path} has {table.num_rows} rows and {len(columns)} columns of features: it needs some of each"
        )
    bags = texts_of(path, table, bag_column)
    coded = bags.dictionary_encode()
    names = coded.dictionary.to_pylist()
    # Texts of a table that is typed are texts: there a missing one is null, and a bag may really be called NA.
    typed = not looks_like_csv(path) and pa.types.is_string(table[bag_column].type)
    doubtful = [] if typed else [name for name in names if UNSAID.are_doubtful(name) and name not in ids]
    UNSAID.refuse(path, bag_column, doubtful, _first_lines(bags, doubtful).values(), "name the bag or drop the rows")
    _refuse_ids(path, bag_column, bags, names, ids)
    cases = pa.array([ids.read(name) for name in names], pa.string())
    case_id = cases.take(coded.indices)
    labels, lines = {}, {}
    if label_column is not None:
        texts = texts_of(path, table, label_column, empty=marks.said is not None)
        labels = _labels(path, case_id, texts)
        lines = _first_lines(texts, list(dict.fromkeys(labels.values())))
    index = _indices(path, texts_of(path, table, index_column), index_column)
    for name in columns:
        numbers_of(path, table[name], name)
    by_case = case_id.dictionary_encode()
    rows = BagRows(np.asarray(by_case.indices, np.int64), by_case.dictionary.to_pylist(), index)
    said = {case: label for case, label in labels.items() if not marks.mean_missing(label)}
    columns, told = choose_columns(
        path,
        table,
        columns,
        rows,
        said if label_column else labels_known or {},
        wanted=feature_columns,
        labelled_by=label_column,
    )
    if not columns:
        raise DataError(f"{path} has no column of features: {'; '.join(told)}")
    features = np.empty((table.num_rows, len(columns)), _common_type(table, columns))
    for i, name in enumerate(columns):
        features[:, i] = numbers_of(path, table[name], name)
    nameless = [f"no feature: {named(read.nameless)} without a name"] if read.nameless else []
    return Bags(case_id, index, labels, lines, features, (*nameless, *told, *ids.told()))


def _refuse_ids(path: Path, column: str, bags: pa.Array, names: list[str], ids: CaseIds) -> None:
    """Raises DataError if the name of a bag cannot be a case id."""
    wrong = [name for name in names if is_cut_number(name)]
    if wrong:
        rows = pc.indices_nonzero(pc.is_in(bags, pa.array(wrong, pa.string()))).to_pylist()
        ids.refuse(path, f"column {clip(column)}", [bags[row].as_py() for row in rows], [row + 2 for row in rows])


def _first_lines(texts: pa.Array, wanted: list[str]) -> dict[str, int]:
    """The line on which each text occurs first; the header is line 1."""
    return {text: pc.index(texts, pa.scalar(text)).as_py() + 2 for text in wanted}


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
