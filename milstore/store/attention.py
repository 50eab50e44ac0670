"""Ranks and invariants of the tables that a run writes."""

import hashlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import DataError
from milstore.schema.columns import SUBSETS
from milstore.store.integrity import check_unique, fitted, key_columns

TOLERANCE = 1e-4
"""How far a sum of attention, or of probabilities, may be from 1."""
PLACE = ("case_id", "stain", "slice_idx", "patch_idx")

Index = npt.NDArray[np.int64]


def rank_attention(table: pa.Table) -> pa.Table:
    """The attention rows with `rank` and `n_patches`, sorted by case id (bytes) and rank.

    Rank 1 is the highest effective attention of its case, by the value as stored (float32); ties go by stain,
    slice_idx, patch_idx.
    """
    table = table.set_column(
        table.column_names.index("effective_attention"),
        "effective_attention",
        table["effective_attention"].cast(pa.float32()),
    )
    order = [("case_id", "ascending"), ("effective_attention", "descending")]
    order += [(column, "ascending") for column in PLACE[1:]]
    table = table.select([c for c in table.column_names if c not in ("rank", "n_patches")]).sort_by(order)
    _, first, counts = _groups(table, ["case_id"])
    sizes = np.repeat(counts, counts)
    rank = np.arange(table.num_rows) - np.repeat(first, counts) + 1
    return table.append_column("rank", pa.array(rank, pa.int32())).append_column(
        "n_patches", pa.array(sizes, pa.int32())
    )


def _codes(table: pa.Table, column: str) -> Index:
    values = table[column].combine_chunks()
    if pa.types.is_integer(values.type):
        return np.asarray(values, dtype=np.int64)
    return np.asarray(pc.dictionary_encode(values).indices, dtype=np.int64)


def _groups(table: pa.Table, columns: list[str]) -> tuple[Index, Index, Index]:
    """Group of each row, and first row and size of each group, of rows that are sorted by `columns`."""
    if not table.num_rows:
        none = np.zeros(0, np.int64)
        return none, none, none
    starts = np.zeros(table.num_rows, bool)
    starts[0] = True
    for column in columns:
        codes = _codes(table, column)
        starts[1:] |= codes[1:] != codes[:-1]
    first = np.flatnonzero(starts)
    return np.cumsum(starts) - 1, first, np.diff(np.append(first, table.num_rows))


def check_attention(table: pa.Table) -> pa.Table:
    """Attention as it is stored: fitted to the schema, ranked and sorted.

    Raises:
        DataError: a patch stands twice, a weight is NaN or negative, a level does not sum to 1 within its parent, the
            product of the levels is not the effective attention, or ranks that were given are not those of the values.
    """
    ranked = rank_attention(table)
    if "rank" in table.column_names and not _same_ranks(table, ranked):
        raise DataError("attention comes with ranks that are not those of its values: leave rank and n_patches out")
    ranked = fitted("attention", ranked)
    check_unique("attention", ranked, list(PLACE))
    by_place = ranked.sort_by([(column, "ascending") for column in PLACE])
    stain, slice_, patch, effective = (
        by_place[f"{level}_attention"].to_numpy().astype(np.float64)
        for level in ("stain", "slice", "patch", "effective")
    )
    if min(weights.min(initial=0.0) for weights in (stain, slice_, patch, effective)) < 0:
        raise DataError("attention has a negative weight")
    slice_of, slice_first, _ = _groups(by_place, ["case_id", "stain", "slice_idx"])
    stain_of, stain_first, _ = _groups(by_place, ["case_id", "stain"])
    case_of, case_first, _ = _groups(by_place, ["case_id"])
    for level, weights, parent in (("stain", stain, stain_of), ("slice", slice_, slice_of)):
        if np.any(np.abs(weights - weights[(stain_first if level == "stain" else slice_first)[parent]]) > 0):
            raise DataError(f"{level}_attention differs between patches of one {level}")
    _check_sums(by_place, "patch", "slice", patch, slice_of, slice_first)
    _check_sums(by_place, "slice", "stain", slice_[slice_first], stain_of[slice_first], stain_first)
    _check_sums(by_place, "stain", "case", stain[stain_first], case_of[stain_first], case_first)
    _check_sums(by_place, "effective", "case", effective, case_of, case_first)
    if np.any(np.abs(stain * slice_ * patch - effective) > TOLERANCE * np.maximum(effective, 1e-3)):
        raise DataError("effective_attention is not stain x slice x patch attention")
    return ranked


def _same_ranks(given: pa.Table, ranked: pa.Table) -> bool:
    order = [(column, "ascending") for column in PLACE]
    return bool(
        given.sort_by(order)["rank"]
        .cast(pa.int32())
        .combine_chunks()
        .equals(ranked.sort_by(order)["rank"].combine_chunks())
    )


def _check_sums(
    rows: pa.Table, level: str, parent: str, weights: npt.NDArray[np.float64], group: Index, first: Index
) -> None:
    sums = np.bincount(group, weights, minlength=len(first))
    worst = int(np.argmax(np.abs(sums - 1))) if len(sums) else 0
    if len(sums) and abs(sums[worst] - 1) > TOLERANCE:
        case_id = rows["case_id"][int(first[worst])].as_py()
        raise DataError(f"{level}_attention sums to {sums[worst]:.6f} over a {parent} of case {case_id!r}, not to 1")


def check_predictions(predictions: pa.Table, probabilities: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Predictions and probabilities as they are stored: fitted to the schema and sorted.

    Raises:
        DataError: a case has no known subset, or labels, probabilities, p_true and error contradict each other.
    """
    predictions, probabilities = fitted("predictions", predictions), fitted("probabilities", probabilities)
    for name, table in (("predictions", predictions), ("probabilities", probabilities)):
        check_unique(name, table, key_columns(name))
    predictions = predictions.sort_by("case_id")
    probabilities = probabilities.sort_by([("case_id", "ascending"), ("label", "ascending")])
    strange = set(predictions["subset"].to_pylist()) - set(SUBSETS)
    if strange:
        raise DataError(f"predictions name the subset {sorted(strange)[0]!r}: use {', '.join(SUBSETS)}")
    by_case: dict[str, dict[int, float]] = {}
    for row in probabilities.to_pylist():
        by_case.setdefault(row["case_id"], {})[row["label"]] = row["probability"]
    if set(by_case) != set(predictions["case_id"].to_pylist()):
        raise DataError("predictions and probabilities are not of the same cases")
    for row in predictions.to_pylist():
        _check_prediction(row, by_case[row["case_id"]])
    return predictions, probabilities


def _check_prediction(row: dict[str, object], probability: dict[int, float]) -> None:
    case_id, p_true = row["case_id"], probability.get(int(str(row["true_label"])))
    if abs(sum(probability.values()) - 1) > TOLERANCE or min(probability.values()) < 0:
        raise DataError(f"the probabilities of case {case_id!r} are not numbers from 0 to 1 that sum to 1")
    if p_true is None or abs(p_true - float(str(row["p_true"]))) > TOLERANCE:
        raise DataError(f"p_true of case {case_id!r} is not the probability of its true label")
    if abs(1 - p_true - float(str(row["error"]))) > TOLERANCE:
        raise DataError(f"error of case {case_id!r} is not 1 - p_true")
    highest = max(probability.values())
    if row["pred_label"] != min(label for label, value in probability.items() if value == highest):
        raise DataError(f"pred_label of case {case_id!r} is not its class of highest probability")


def patches_fingerprint(attention: pa.Table) -> str:
    """SHA-256 over the identities of the patches; runs that agree can be compared patch by patch."""
    digest = hashlib.sha256()
    rows = attention.select(list(PLACE)).sort_by([(column, "ascending") for column in PLACE])
    for column in PLACE:
        digest.update(("\0".join(str(value) for value in rows[column].to_pylist()) + "\n").encode())
    return digest.hexdigest()
