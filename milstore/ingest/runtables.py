"""What a model that was trained elsewhere said: its predictions and its attention, as tables of the store."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import DataError
from milstore.ingest.datatable import numbers_of, read_table, texts_of
from milstore.ingest.marks import UNSAID
from milstore.schema.arrow import arrow_schema
from milstore.store.cohort import Cohort
from milstore.store.features import PLACE
from milstore.store.names import clip, matching_case_id, named, natural_key
from milstore.store.pattern import canonical_slice
from milstore.store.settings import Settings

LEVELS = ("stain_attention", "slice_attention", "patch_attention")


def read_predictions(
    path: Path, label_of: Mapping[str, int | None], subset_of: Mapping[str, str]
) -> tuple[pa.Table, pa.Table]:
    """The tables `predictions` and `probabilities` from a table with case_id, p_0, p_1, … and perhaps subset, true_label.

    Args:
        path: CSV or Parquet.
        label_of: label of each case in the store; it counts where the file has no true_label.
        subset_of: subset of each case in the split.

    Raises:
        DataError: a case is not in the split, stands twice, is in another subset there, or has no label.
    """
    table = read_table(path, ["case_id"], ["subset", "true_label"])
    texts = texts_of(path, table, "case_id").to_pylist()
    UNSAID.refuse(path, "case_id", texts, range(2, len(texts) + 2), "name the case or drop these rows", subset_of)
    cases = [matching_case_id(text, subset_of) for text in texts]
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
    _check_subsets(path, table, cases, subset_of)
    probability = _probabilities(path, table)
    true = _true_labels(path, table, cases, label_of)
    wrong = next((case for case, label in zip(cases, true, strict=True) if not 0 <= label < probability.shape[1]), None)
    if wrong is not None:
        raise DataError(f"{path} has no probability for the true class of case {clip(wrong)}: give p_0, p_1, …")
    p_true = probability[np.arange(len(cases)), true]
    predictions = pa.table(
        {
            "case_id": cases,
            "subset": [subset_of[case] for case in cases],
            "true_label": pa.array(true, pa.int32()),
            "pred_label": pa.array(probability.argmax(axis=1), pa.int32()),
            "p_true": p_true,
            "error": 1 - p_true,
        },
        arrow_schema("predictions"),
    )
    count = probability.shape[1]
    probabilities = pa.table(
        {
            "case_id": np.repeat(cases, count),
            "label": pa.array(np.tile(np.arange(count), len(cases)), pa.int32()),
            "probability": probability.ravel(),
        },
        arrow_schema("probabilities"),
    )
    return predictions, probabilities


def _check_subsets(path: Path, table: pa.Table, cases: list[str], subset_of: Mapping[str, str]) -> None:
    if "subset" not in table.column_names:
        return
    for case, subset in zip(cases, texts_of(path, table, "subset").to_pylist(), strict=True):
        if subset != subset_of[case]:
            raise DataError(
                f"{path} has case {clip(case)} in {clip(subset)}, and the split has it in {subset_of[case]}"
            )


def _probabilities(path: Path, table: pa.Table) -> np.ndarray:
    names = [f"p_{label}" for label in range(table.num_columns) if f"p_{label}" in table.column_names]
    if len(names) < 2 or names != [f"p_{label}" for label in range(len(names))]:
        raise DataError(f"{path} has the columns {named(table.column_names)}: it needs p_0, p_1, … for every class")
    return np.stack([numbers_of(path, table[name], name).astype(np.float64) for name in names], axis=1)


def _true_labels(path: Path, table: pa.Table, cases: list[str], label_of: Mapping[str, int | None]) -> list[int]:
    if "true_label" in table.column_names:
        texts = texts_of(path, table, "true_label").to_pylist()
        UNSAID.refuse(path, "true_label", texts, range(2, len(texts) + 2), "give the number of each case's class")
        wrong = next((text for text in texts if not (text.isascii() and text.isdigit() and len(text) < 10)), None)
        if wrong is not None:
            raise DataError(f"{path} has true_label {clip(wrong)!r}: it must be the number of a class, from 0")
        return [int(text) for text in texts]
    unlabelled = [case for case in cases if label_of.get(case) is None]
    if unlabelled:
        raise DataError(f"{path} has no true_label, and the store no label for {named(unlabelled)}: ingest the labels")
    return [label for case in cases if (label := label_of[case]) is not None]


def read_attention(path: Path, cohort: Cohort, settings: Settings) -> pa.Table:
    """The table `attention`, without ranks, from a table with case_id, stain, slice_idx (or slice_name), patch_idx, and the
    attention of stain, slice and patch. The effective attention is their product.

    Raises:
        DataError: a column is missing, a stain or slice is unknown, or a row has no patch in the store.
    """
    table = read_table(path, ["case_id", "stain"], ["slice_name"])
    by_name = "slice_name" in table.column_names
    needed = [*([] if by_name else ["slice_idx"]), "patch_idx", *LEVELS]
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        raise DataError(f"{path} has no column {named(missing)}: it has {named(table.column_names)}")
    stains = texts_of(path, table, "stain").dictionary_encode()
    canonical = [settings.stain_of(text) for text in stains.dictionary.to_pylist()]
    if None in canonical:
        wrong = stains.dictionary[canonical.index(None)].as_py()
        raise DataError(f"stain {clip(wrong)!r} in {path} is not in this store ({', '.join(settings.stains)})")
    cases = texts_of(path, table, "case_id").dictionary_encode()
    known = set(cohort.table("cases")["case_id"].to_pylist())
    ids = pa.array([matching_case_id(text, known) for text in cases.dictionary.to_pylist()], pa.string())
    columns = {
        "case_id": ids.take(cases.indices),
        "stain": pa.array(canonical, pa.string()).take(stains.indices),
        "patch_idx": _whole(path, table, "patch_idx"),
        **{name: pa.array(numbers_of(path, table[name], name).astype(np.float32)) for name in LEVELS},
    }
    if by_name:
        names = texts_of(path, table, "slice_name").dictionary_encode()
        texts = [canonical_slice(text) for text in names.dictionary.to_pylist()]
        found = pa.table({**columns, "slice_name": pa.array(texts, pa.string()).take(names.indices)})
        keys = ["case_id", "stain", "slice_name"]
        found = found.join(cohort.table("slices").select([*keys, "slice_idx"]), keys)
        if found["slice_idx"].null_count:
            raise DataError(f"{path} has {found['slice_idx'].null_count} rows whose slice is not in the store")
    else:
        found = pa.table({**columns, "slice_idx": _whole(path, table, "slice_idx")})
    orphans = found.join(cohort.table("patches").select(list(PLACE)), list(PLACE), join_type="left anti")
    if orphans.num_rows:
        row = orphans.select(list(PLACE)).slice(0, 1).to_pylist()[0]
        where = f"case {clip(row['case_id'])}, {row['stain']}, slice {row['slice_idx']}, patch {row['patch_idx']}"
        raise DataError(f"{path} has {orphans.num_rows} rows whose patch is not in the store, such as {where}")
    product = pc.multiply(pc.multiply(found[LEVELS[0]], found[LEVELS[1]]), found[LEVELS[2]])
    return found.append_column("effective_attention", product)


def _whole(path: Path, table: pa.Table, name: str) -> pa.Array:
    column = table[name].combine_chunks()
    try:
        whole = pc.cast(column, pa.int32())
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} has {name} that are no whole numbers: {clip(str(error), 100)}") from error
    if whole.null_count:
        raise DataError(f"{path} has {whole.null_count} rows without {name}: fill or drop them")
    return whole


def coverage_table(
    cohort: Cohort, attention: pa.Table, subset_of: Mapping[str, str], encoded: pa.Table | None
) -> pa.Table:
    """The table `coverage`: how many patches of each slice there were, and how many the run spoke of.

    `encoded` are the patches with a feature of the run's encoder, None where the store has none by it.
    """
    keys = ["case_id", "stain", "slice_idx"]
    evaluated = attention.group_by(keys).aggregate([([], "count_all")]).rename_columns([*keys, "evaluated"])
    table = cohort.table("slices").filter(pc.is_in(cohort.table("slices")["case_id"], pc.unique(attention["case_id"])))
    table = table.select([*keys, "n_patches"]).rename_columns([*keys, "existing"]).join(evaluated, keys)
    counted = evaluated if encoded is None else encoded.group_by(keys).aggregate([([], "count_all")])
    table = table.join(counted.rename_columns([*keys, "with_feature"]), keys)
    rows = []
    for row in table.to_pylist():
        subset, count = subset_of[row["case_id"]], row["evaluated"] or 0
        trained = count if subset == "train" else 0
        filled = {"subset": subset, "evaluated": count, "with_feature": row["with_feature"] or 0, "trained": trained}
        rows.append({**row, **filled})
    return pa.Table.from_pylist(rows, arrow_schema("coverage"))
