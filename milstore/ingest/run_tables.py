"""Reads the predictions of a model that was trained elsewhere, as tables of the store, and its coverage."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import DataError
from milstore.formats.csv_table import file_size
from milstore.formats.data_table import numbers_of, texts_of
from milstore.formats.interface import RunPredictions, reported
from milstore.formats.missing_marks import UNSAID
from milstore.formats.run_table import run_format
from milstore.ingest.imported import check_subsets
from milstore.schema.arrow import arrow_schema
from milstore.store.attention import TOLERANCE
from milstore.store.case_ids import CaseIds
from milstore.store.cohort import Cohort
from milstore.store.encoded_patches import existing_by_slice
from milstore.store.names import clip, named, natural_key
from milstore.store.predicted import prediction_tables

Numbers = npt.NDArray[np.float64]


def read_predictions(
    path: Path,
    label_of: Mapping[str, int | None],
    subset_of: Mapping[str, str],
    classes: Sequence[str] = (),
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> tuple[pa.Table, pa.Table]:
    """The tables `predictions` and `probabilities` of what a run's file says.

    Args:
        path: the file.
        label_of: label of each case in the store, None for one without; it counts where the file has no true_label.
        subset_of: subset of each case in the split.
        classes: names of the store's classes, in the order of their labels.
        format: name of the file's format, or ./file.py:Class; found by its content if left out.
        columns: what its columns are called here, by their names in the file; None where they need no other.

    Raises:
        DataError: a case is not in the split, stands twice or is in another subset there; or the predicted label is not
            the likeliest class.
    """
    fmt = run_format(path, format, columns)
    file_size(path, "a table of a run")
    with reported(path):
        said = fmt.predictions(path, classes)
    if not isinstance(said, RunPredictions):
        raise DataError(f"{path}: format {format} gives a {type(said).__name__} for it, not RunPredictions")
    table, names, label_in_store = said.table, list(said.probability), list(said.label_in_store)
    texts = texts_of(path, table, "case_id").to_pylist()
    UNSAID.refuse(path, "case_id", texts, range(2, len(texts) + 2), "name the case or drop these rows", subset_of)
    cases = CaseIds(subset_of).read_all(path, "column case_id", texts, range(2, len(texts) + 2))
    double = (
        sorted({case for case in cases if cases.count(case) > 1}, key=natural_key)
        if len(set(cases)) < len(cases)
        else []
    )
    if double or not cases:
        raise DataError(f"{path} has case {named(double)} more than once: keep one" if double else f"{path} has no row")
    unknown = sorted(set(cases) - set(subset_of), key=natural_key)
    if unknown:
        raise DataError(f"{path} has {len(unknown)} cases that are not in the split ({named(unknown)})")
    if "subset" in table.column_names:
        check_subsets(path, cases, texts_of(path, table, "subset").to_pylist(), subset_of)
    probability = np.stack([numbers_of(path, table[name], name).astype(np.float64) for name in names], axis=1)
    true = _true_labels(path, table, cases, label_of, label_in_store)
    _check_predicted(path, table, cases, probability, label_in_store)
    wrong = next(
        (
            case
            for case, label in zip(cases, true, strict=True)
            if label is not None and not 0 <= label < probability.shape[1]
        ),
        None,
    )
    if wrong is not None:
        raise DataError(f"{path} has no probability for the true class of case {clip(wrong)}: give p_0, p_1, …")
    return prediction_tables(cases, [subset_of[case] for case in cases], true, probability)


def _true_labels(
    path: Path,
    table: pa.Table,
    cases: list[str],
    label_of: Mapping[str, int | None],
    label_in_store: Sequence[int],
) -> Sequence[int | None]:
    if "true_label" in table.column_names:
        texts = texts_of(path, table, "true_label").to_pylist()
        UNSAID.refuse(path, "true_label", texts, range(2, len(texts) + 2), "give the number of each case's class")
        return _labels(path, table, "true_label", label_in_store)
    return [label_of.get(case) for case in cases]


def _labels(path: Path, table: pa.Table, column: str, label_in_store: Sequence[int]) -> list[int]:
    texts = texts_of(path, table, column).to_pylist()
    wrong = next((text for text in texts if not (text.isascii() and text.isdigit() and len(text) < 10)), None)
    if wrong is not None:
        raise DataError(f"{path} has {column} {clip(wrong)!r}: it must be the number of a class, from 0")
    # What is beyond the classes is found by the caller, who can name the case.
    return [label_in_store[int(text)] if int(text) < len(label_in_store) else int(text) for text in texts]


def _check_predicted(
    path: Path, table: pa.Table, cases: list[str], probability: Numbers, label_in_store: Sequence[int]
) -> None:
    """Raises DataError if a predicted label is not the most probable class: then the columns were misread."""
    if "predicted_label" not in table.column_names:
        return
    predicted = _labels(path, table, "predicted_label", label_in_store)
    for case, label, chances in zip(cases, predicted, probability, strict=True):
        if label >= len(chances) or chances[label] < chances.max() - TOLERANCE:
            raise DataError(
                f"{path} has a predicted_label for case {clip(case)} that is not its likeliest class: "
                "the probabilities are not in the order of the classes"
            )


def coverage_table(
    cohort: Cohort,
    attention: pa.Table,
    subset_of: Mapping[str, str],
    encoded: pa.Table | None,
    seen: pa.Table | None = None,
    *,
    encoder: str | None = None,
) -> pa.Table:
    """The table `coverage`: how many patches of each slice there were, and how many the run saw.

    Of the patches of an `encoder` with a grid, those of other grids do not count.

    `encoded` are the patches with a feature of the run's encoder, None where the store has none by it. `seen` are the
    patches that the run saw, where it has attention of a part of them; None where it has attention of them all.
    """
    keys = ["case_id", "stain", "slice_idx"]
    counted = attention if seen is None else seen
    evaluated = counted.group_by(keys).aggregate([([], "count_all")]).rename_columns([*keys, "evaluated"])
    table = cohort.table("slices").filter(pc.is_in(cohort.table("slices")["case_id"], pc.unique(attention["case_id"])))
    table = table.select([*keys, "n_patches"]).rename_columns([*keys, "existing"]).join(evaluated, keys)
    counted = evaluated if encoded is None else encoded.group_by(keys).aggregate([([], "count_all")])
    table = table.join(counted.rename_columns([*keys, "with_feature"]), keys)
    rows = []
    on_grid = existing_by_slice(cohort, encoder)
    for row in table.to_pylist():
        subset, count = subset_of[row["case_id"]], row["evaluated"] or 0
        there = on_grid.get((row["case_id"], row["stain"], row["slice_idx"]), 0)
        row["existing"] = max(there, count, row["with_feature"] or 0)
        trained = count if subset == "train" else 0
        filled = {"subset": subset, "evaluated": count, "with_feature": row["with_feature"] or 0, "trained": trained}
        rows.append({**row, **filled})
    return pa.Table.from_pylist(rows, arrow_schema("coverage"))
