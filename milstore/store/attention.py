"""Ranks and invariants of the tables that a run writes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import DataError
from milstore.schema.arrow import arrow_schema
from milstore.schema.columns import NEW, SUBSETS
from milstore.store.integrity import check_unique, fitted, key_columns
from milstore.store.names import clip
from milstore.store.patch_index import PLACE, Index, Places, Slices, places, places_fingerprint, unknown_rows
from milstore.store.run_reader import NO_ATTENTION, PART_ATTENTION

TOLERANCE = 1e-4
"""How far a sum of attention, or of probabilities, may be from 1."""
LEVELS_OF_ROW = ("stain_attention", "slice_attention", "patch_attention")
"""The columns of a row whose product is its effective attention."""
RANKS = ("rank", "n_patches")
"""Columns that are worked out from the others."""

Weights = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Attention:
    """Attention that passed every check: its rows as they are stored, and the fingerprint of their patches."""

    stored: pa.Table
    """As it is written: sorted by case id (bytes) and rank, its texts as dictionaries, which are written sooner."""
    _rows: pa.Table
    _places: Places

    @cached_property
    def table(self) -> pa.Table:
        """The rows with the columns and types of the schema, as a reader gets them."""
        return self.stored.cast(arrow_schema("attention"))

    def fingerprint(self) -> str:
        """SHA-256 over the identities of the patches; runs that agree can be compared patch by patch."""
        return places_fingerprint(self._rows, self._places)

    def largest_case(self) -> int:
        """Number of patches of the case that has the most."""
        return int(pc.max(self.stored["n_patches"]).as_py() or 0)

    def case_ids(self) -> set[str]:
        """The cases that have attention."""
        first = self._places.rows(self._places.cases)
        return set(self._rows["case_id"].take(pa.array(first)).to_pylist())

    def unknown(self, patches: Slices) -> list[dict[str, Any]]:
        """The patches that have attention and are not among `patches`, as case_id, stain, slice_idx and patch_idx."""
        rows = unknown_rows(self._rows, self._places, patches)
        found: list[dict[str, Any]] = self._rows.select(list(PLACE)).take(pa.array(rows)).to_pylist()
        return found

    def slices(self) -> pa.Table:
        """case_id, stain and slice_idx of the slices that have attention, and `counted`, the patches that have it."""
        first = self._places.slices
        counted = np.diff(np.append(first, self._rows.num_rows))
        slices = self._rows.select(list(PLACE[:3])).take(pa.array(self._places.rows(first)))
        return slices.append_column("counted", pa.array(counted))


def rank_attention(table: pa.Table) -> pa.Table:
    """The attention rows with `rank` and `n_patches`, sorted by case id (bytes) and rank.

    Rank 1 is the highest effective attention of its case, by the value as stored (float32); ties go by stain,
    slice_idx, patch_idx.
    """
    effective = table["effective_attention"].cast(pa.float32())
    table = table.set_column(table.column_names.index("effective_attention"), "effective_attention", effective)
    table = table.select([name for name in table.column_names if name not in RANKS])
    known = places(table)
    ranked = _ranked(table, known, *_ranking(table, known))
    return ranked.cast(pa.schema([*table.schema, *((name, pa.int32()) for name in RANKS)]))


def _ranking(table: pa.Table, known: Places) -> tuple[Index, Index, Index]:
    """Place of each patch in the order of `known`, by case and rank, with its rank and its case's number of patches."""
    first = known.cases
    counts = np.diff(np.append(first, table.num_rows))
    first_N = np.repeat(first, counts)
    within_N = np.arange(len(first_N)) - first_N
    effective_N = known.ordered(table["effective_attention"].to_numpy())
    return first_N + _by_rank(effective_N, within_N, first), within_N + 1, np.repeat(counts, counts)


def _by_rank(effective_N: npt.NDArray[np.float32], within_N: Index, first: Index) -> Index:
    """Positions within each case in descending order of attention, ties in row order; cases begin at `first`."""
    # The bits of a float that is not negative sort as it does; those of a negative one the other way round.
    bits_N = (effective_N + np.float32(0)).view(np.int32)
    if len(bits_N) and bits_N.min() < 0:
        bits_N = np.where(bits_N < 0, bits_N ^ 0x7FFFFFFF, bits_N)
    # Value and position in one number: sorting numbers is several times quicker than sorting their positions, and
    # sorting a few at a time than all at once.
    key_N = (0x7FFFFFFF - bits_N.astype(np.int64)) << 31 | within_N
    for begin, end in pairwise(np.append(first, len(key_N))):
        key_N[begin:end].sort()
    return key_N & 0x7FFFFFFF


def _ranked(table: pa.Table, known: Places, by_rank_N: Index, rank_N: Index, n_patches_N: Index) -> pa.Table:
    rows = pa.array(known.rows(by_rank_N))
    columns = {
        # By rank a patch moves among those of its case.
        "case_id": _texts(table["case_id"], known, known.cases),
        "stain": _texts(table["stain"], known, known.stains).take(pa.array(by_rank_N)),
        **{name: table[name].take(rows) for name in table.column_names if name not in PLACE[:2]},
        **{name: pa.array(values.astype(np.int32)) for name, values in zip(RANKS, (rank_N, n_patches_N), strict=True)},
    }
    return pa.table(columns).select([*table.column_names, *RANKS])


def _texts(column: pa.ChunkedArray, known: Places, first: Index) -> pa.DictionaryArray:
    """A column in the order of `known`, as a dictionary; its value is one from each place in `first` to the next."""
    of_group = column.take(pa.array(known.rows(first))).combine_chunks().dictionary_encode()
    counts = np.diff(np.append(first, len(column)))
    return pa.DictionaryArray.from_arrays(np.repeat(np.asarray(of_group.indices), counts), of_group.dictionary)


def checked_attention(table: pa.Table, patches_of: Mapping[str, int] | None = None) -> Attention:
    """Attention as it is stored: fitted to the schema, ranked and sorted. `rank` and `n_patches` may be left out.

    Args:
        table: a row a patch.
        patches_of: where there are rows of a part of the patches alone, how many patches each case has; None where
            there is a row of every patch.

    Raises:
        DataError: a patch stands twice, a weight is NaN or negative, a level does not sum to 1 within its parent (of a
            part: sums to more), the product of the levels is not the effective attention, or ranks that were given are
            not those of the values.
    """
    rows = fitted("attention", table, left_out=RANKS)
    known = places(rows)
    by_rank_N, rank_N, n_patches_N = _ranking(rows, known)
    if patches_of is not None:
        n_patches_N = _told_counts(rows, known, patches_of)
    if "rank" in table.column_names and not _same_ranks(table["rank"], known.rows(by_rank_N), rank_N):
        raise DataError("attention comes with ranks that are not those of its values: leave rank and n_patches out")
    if known.has_doubles():
        check_unique("attention", rows, list(PLACE))
    _check_levels(rows, known, whole=patches_of is None)
    ranked = _ranked(rows, known, by_rank_N, rank_N, n_patches_N)
    types = {field.name: field.type for field in ranked.schema}
    stored = pa.schema([field.with_type(types[field.name]) for field in arrow_schema("attention")])
    return Attention(ranked.select(stored.names).cast(stored).combine_chunks(), rows, known)


def _same_ranks(given: pa.ChunkedArray, row_N: Index, rank_N: Index) -> bool:
    of_row_N = np.empty(len(rank_N), np.int32)
    of_row_N[row_N] = rank_N
    return bool(given.cast(pa.int32()).combine_chunks().equals(pa.array(of_row_N)))


def _told_counts(rows: pa.Table, known: Places, patches_of: Mapping[str, int]) -> Index:
    """The patches of each row's case, in the order of `known`. DataError if a case has more rows than patches."""
    cases = rows["case_id"].take(pa.array(known.rows(known.cases))).to_pylist()
    counts = np.diff(np.append(known.cases, rows.num_rows))
    for case_id, count in zip(cases, counts.tolist(), strict=True):
        if count > patches_of.get(case_id, 0):
            raise DataError(
                f"case {clip(case_id)!r} has {count} rows of attention, and {patches_of.get(case_id, 0)} patches were "
                "evaluated"
            )
    return np.repeat(np.array([patches_of[case_id] for case_id in cases], np.int64), counts)


def _check_levels(rows: pa.Table, known: Places, *, whole: bool) -> None:
    """Each level sums to 1 within its parent, and the product of the levels is the effective attention.

    Where rows are left out a sum may be less, but never more.
    """
    stain, slice_, patch, effective = (
        known.ordered(rows[f"{level}_attention"].to_numpy()) for level in ("stain", "slice", "patch", "effective")
    )
    if min(weights.min(initial=0.0) for weights in (stain, slice_, patch, effective)) < 0:
        raise DataError("attention has a negative weight")
    cases, stains, slices = known.cases, known.stains, known.slices
    for level, weights, first in (("stain", stain, stains), ("slice", slice_, slices)):
        if not np.isin(np.flatnonzero(weights[1:] != weights[:-1]) + 1, first, assume_unique=True).all():
            raise DataError(f"{level}_attention differs between patches of one {level}")

    def check_sums(level: str, parent: str, weights: Weights, first: Index, begin: Index) -> None:
        """Check `weights`, among which a parent begins at `first`, and at `begin` among all patches."""
        sums = np.add.reduceat(weights, first, dtype=np.float64) if len(weights) else weights
        off = np.abs(sums - 1) if whole else sums - 1
        worst = int(np.argmax(off)) if len(sums) else 0
        if len(sums) and off[worst] > TOLERANCE:
            case_id = rows["case_id"][int(known.rows(begin[worst : worst + 1])[0])].as_py()
            raise DataError(
                f"{level}_attention sums to {sums[worst]:.6f} over a {parent} of case {case_id!r}, "
                f"{'not to 1' if whole else 'which is more than 1'}"
            )

    check_sums("patch", "slice", patch, slices, slices)
    check_sums("slice", "stain", slice_[slices], np.searchsorted(slices, stains), stains)
    check_sums("stain", "case", stain[stains], np.searchsorted(stains, cases), cases)
    check_sums("effective", "case", effective, cases, cases)
    # float32 is a thousand times finer than the tolerance.
    if np.any(np.abs(stain * slice_ * patch - effective) > TOLERANCE * np.maximum(effective, np.float32(1e-3))):
        raise DataError("effective_attention is not stain x slice x patch attention")


def patches_evaluated(coverage: pa.Table) -> dict[str, int]:
    """How many patches of each case were evaluated, as the table `coverage` has it."""
    counts = coverage.group_by("case_id").aggregate([("evaluated", "sum")])
    return dict(zip(counts["case_id"].to_pylist(), counts["evaluated_sum"].to_pylist(), strict=True))


def top_count(n_patches: int, pct: float) -> int:
    """The number of patches in the top pct percent of n: rounded down, at least one. As the SQL macro of that name."""
    return max(1, math.floor(n_patches * pct / 100))


def check_known(known: Mapping[str, Any], kind: str, attention: Attention) -> None:
    """Raises DataError if the run's statement of which patches have attention cannot be true.

    Args:
        known: the entry `attention_known` of `run.json`.
        kind: what the run says of its attention.
        attention: what it has of it.
    """
    pct = known.get("pct")
    if kind != PART_ATTENTION or not attention.stored.num_rows:
        raise DataError(f"the run says that it knows attention of a part of its patches, and that it has {kind} of it")
    if pct is None:
        return
    if not 0 <= pct <= 100:
        raise DataError(f"the run says that it knows attention of the top {pct:g} %: that is no share")
    counts = attention.stored.group_by(["case_id", "n_patches"]).aggregate([([], "count_all")])
    for row in counts.to_pylist():
        if row["count_all"] < top_count(row["n_patches"], pct):
            raise DataError(
                f"case {clip(row['case_id'])!r} has {row['count_all']} rows of attention, and the top {pct:g} % of its "
                f"{row['n_patches']} patches are {top_count(row['n_patches'], pct)}"
            )


def check_cases(
    kind: str, attention: Attention, predictions: pa.Table, coverage: pa.Table, *, of_patches: bool = False
) -> None:
    """Raises DataError if the cases with attention, or their patches, are not those that the run and its coverage state.

    Args:
        kind: what the run says of its attention: none (it has no row), part (it is of some of the cases that were
            predicted, and not of all), or anything else (of all).
        attention: what it has of it.
        predictions: the table of that name.
        coverage: the table of that name. Of a case without attention it may say anything.
        of_patches: whether the part is one of the patches, too: then it may be of all cases.
    """
    attended, predicted = attention.case_ids(), set(predictions["case_id"].to_pylist())
    if kind == NO_ATTENTION:
        if attended:
            raise DataError("the run says that it has no attention, and has rows of it")
        return
    if kind == PART_ATTENTION:
        if not attended or not attended <= predicted or (attended == predicted and not of_patches):
            raise DataError(
                "the run says that it has attention of a part of its cases, and has it of "
                f"{len(attended & predicted)} of the {len(predicted)} predicted ones"
            )
        coverage = coverage.filter(pc.is_in(coverage["case_id"], pa.array(sorted(attended), pa.string())))
    elif attended != predicted:
        raise DataError("predictions and attention are not of the same cases")
    check_coverage(coverage, attention, whole=not of_patches)


def check_coverage(coverage: pa.Table, attention: Attention, *, whole: bool = True) -> None:
    """Raises DataError if a slice's `evaluated` is not the number of its patches with attention (for a part: is less)."""
    keys = list(PLACE[:3])
    stated = coverage.filter(pc.greater(coverage["evaluated"], 0)).select([*keys, "evaluated"])
    both = stated.join(attention.slices(), keys, join_type="full outer")
    if whole:
        differs = pc.fill_null(pc.not_equal(both["evaluated"], both["counted"]), True)
    else:
        differs = pc.less(pc.fill_null(both["evaluated"], 0), pc.fill_null(both["counted"], 0))
    wrong = both.filter(differs)
    if wrong.num_rows:
        row = wrong.slice(0, 1).to_pylist()[0]
        raise DataError(
            f"coverage says that {row['evaluated'] or 0} patches of case {row['case_id']!r}, {row['stain']}, "
            f"slice {row['slice_idx']} were evaluated, and {row['counted'] or 0} have attention"
        )


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
    # A case of a prediction is in no split, and a run is a prediction wholly or not at all.
    if strange and pc.unique(predictions["subset"]).to_pylist() != [NEW]:
        raise DataError(f"predictions name the subset {sorted(strange)[0]!r}: use {', '.join(SUBSETS)}")
    by_case: dict[str, dict[int, float]] = {}
    for row in probabilities.to_pylist():
        by_case.setdefault(row["case_id"], {})[row["label"]] = row["probability"]
    if set(by_case) != set(predictions["case_id"].to_pylist()):
        raise DataError("predictions and probabilities are not of the same cases")
    for row in predictions.to_pylist():
        _check_prediction(row, by_case[row["case_id"]])
    return predictions, probabilities


def _check_prediction(row: dict[str, Any], probability: dict[int, float]) -> None:
    case_id = row["case_id"]
    if abs(sum(probability.values()) - 1) > TOLERANCE or min(probability.values()) < 0:
        raise DataError(f"the probabilities of case {case_id!r} are not numbers from 0 to 1 that sum to 1")
    if row["true_label"] is None:
        if (row["p_true"], row["error"]) != (None, None):
            raise DataError(f"case {case_id!r} has no label, and so no p_true and no error")
    else:
        p_true = probability.get(row["true_label"])
        if p_true is None or row["p_true"] is None or abs(p_true - row["p_true"]) > TOLERANCE:
            raise DataError(f"p_true of case {case_id!r} is not the probability of its true label")
        if row["error"] is None or abs(1 - p_true - row["error"]) > TOLERANCE:
            raise DataError(f"error of case {case_id!r} is not 1 - p_true")
    highest = max(probability.values())
    if row["pred_label"] != min(label for label, value in probability.items() if value == highest):
        raise DataError(f"pred_label of case {case_id!r} is not its class of highest probability")
