"""What two runs have in common.

Legend: R runs, of those that saw the same patches of a case; N these patches, in the order of their places; P pairs of
runs, first with second, first with third and so on; M the measures.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from milstore.analysis.arrays import array
from milstore.errors import UsageError

MEASURES = ("spearman", "jaccard", "cosine", "js_divergence", "kl_divergence")
EPSILON = 1e-12
_RUN = {"run_id": "run", "split": "split", "seed": "seed", "subset": "subset"}
"""Columns that tell of a run, and what their names begin with in an answer, where they stand once for each side."""
_ORDER = ("split_a", "seed_a", "run_a", "split_b", "seed_b", "run_b")
_BLOCK = 1 << 16
"""Numbers of a block of pairs: what a processor's cache holds."""

Vector = NDArray[np.float64]
Index = NDArray[np.int64]


class _Weights(NamedTuple):
    """A run's effective attention to the patches of a case, in the order of their places."""

    places: bytes
    """Which patches these are."""
    weights: Vector
    """(N,) They sum to 1."""
    ranks: Vector
    """(N,) From 1 for the highest; equal weights share the mean of their ranks."""
    tops: Vector
    """(N,) 1 for the patches that count as top, 0 for the others."""


class _Pairs(NamedTuple):
    """The pairs of the runs that predicted a case."""

    a: Index
    """(P,) Row of the table that tells of the first run."""
    b: Index
    n_patches: Index
    """(P,) 0 where the two did not see the same patches."""
    measures: Vector
    """(P, M) NaN where there is no measure."""


def compared(table: pa.Table, a: str | None, b: str | None, **_asked: Any) -> pa.Table:
    """Every pair of runs, case by case.

    Args:
        table: a row per case and run, those of a case side by side and in the order in which runs stand in a pair:
            run_id, split, seed, subset, case_id, true_label (-1 without one), p_true, probabilities (label and probability of each
            class), n_top (how many patches count as top), patches (place, rank and weight of each).
        a: the run that was named first, if runs were named.
        b: the other.

    Returns:
        run_a, split_a, seed_a, subset_a, run_b, split_b, seed_b, subset_b, case_id, n_patches, same_patches, spearman,
        jaccard, cosine, js_divergence, kl_divergence, p_true_difference; ordered by runs, then as the cases were.

    Raises:
        UsageError: there is no pair of runs, or none over the same patches.
    """
    answer = _answer(table)
    whose = "the runs here" if a is None else f"runs {a} and {b}"
    if not len(answer) and a is None:
        raise UsageError("there are no two runs here that predicted the same case: name two by --a and --b")
    if not len(answer):
        raise UsageError(f"{whose} predicted no case in common")
    if answer["n_patches"].null_count == len(answer):
        raise UsageError(
            f"{whose} have no case over the same patches: attention can be compared over the same patches only"
        )
    return answer


def _answer(table: pa.Table) -> pa.Table:
    found = [_pairs(first, seen) for first, seen in _cases(table)] or [_pairs(0, [])]
    a_P, b_P, n_patches_P, measures_PM = (np.concatenate(each) for each in zip(*found, strict=True))
    columns: dict[str, Any] = {}
    for side, row_P in (("a", a_P), ("b", b_P)):
        of_side = table.select(list(_RUN)).take(_numbers(row_P, pa.int64()))
        columns |= {f"{name}_{side}": column for name, column in zip(_RUN.values(), of_side.columns, strict=True)}
    columns["case_id"] = table["case_id"].take(_numbers(a_P, pa.int64()))
    columns["n_patches"] = _numbers(n_patches_P, pa.int32(), n_patches_P > 0)
    columns["same_patches"] = pc.is_valid(columns["n_patches"])
    for name, values_P in zip(MEASURES, measures_PM.T, strict=True):
        columns[name] = _numbers(values_P, pa.float64(), ~np.isnan(values_P))
    difference_P = _differences(table, a_P, b_P)
    columns["p_true_difference"] = _numbers(difference_P, pa.float64(), ~np.isnan(difference_P))
    labelled_P = np.from_dlpack(table["true_label"].combine_chunks())[a_P] >= 0
    answer = pa.table(columns)
    # Stable: what is of two runs stays in the order of the cases.
    kept_P = np.flatnonzero(~np.isnan(difference_P) | ~labelled_P)
    return answer.take(_numbers(kept_P, pa.int64())).sort_by([(name, "ascending") for name in _ORDER])


def _differences(table: pa.Table, a_P: Index, b_P: Index) -> Vector:
    """(P,) Probability of the true class, as the first run was told it, less the other's; NaN where it gave none."""
    lists = table["probabilities"].combine_chunks()
    told, p_true = (np.from_dlpack(table[name].combine_chunks()) for name in ("true_label", "p_true"))
    label, probability = (np.from_dlpack(lists.flatten().field(name)) for name in ("label", "probability"))
    row = np.repeat(np.arange(len(told)), np.diff(np.from_dlpack(lists.offsets)))
    labels, codes = np.unique(np.concatenate([told, label]), return_inverse=True)
    of_told, of_label = np.split(codes, [len(told)])
    chances = np.full((len(told), len(labels)), np.nan)
    chances[row, of_label] = probability
    difference_P: Vector = p_true[a_P] - chances[b_P, of_told[a_P]]
    return difference_P


def _cases(table: pa.Table) -> Iterator[tuple[int, list[_Weights]]]:
    """Of each case its first row, and what the run of each of its rows saw."""
    lists = table["patches"].combine_chunks()
    # Not by to_numpy, which imports pandas.
    offsets = np.from_dlpack(lists.offsets).tolist()
    columns: list[NDArray[Any]] = [np.from_dlpack(lists.values.field(name)) for name in ("place", "rank", "weight")]
    n_top, first = table["n_top"].to_pylist(), 0
    for _, of_case in groupby(table["case_id"].to_pylist()):
        rows = range(first, first + sum(1 for _ in of_case))
        seen = []
        for row in rows:
            place_N, rank_N, weight_N = (column[offsets[row] : offsets[row + 1]] for column in columns)
            seen.append(_weights(place_N, rank_N, weight_N.astype(np.float64), n_top[row]))
        yield first, seen
        first = rows.stop


def _weights(place_N: Index, rank_N: NDArray[np.int32], weight_N: Vector, n_top: float) -> _Weights:
    order_N = np.argsort(place_N)
    place_N, rank_N, weight_N = place_N[order_N], rank_N[order_N], weight_N[order_N]
    top_N = (rank_N <= n_top).astype(np.float64)
    return _Weights(place_N.tobytes(), weight_N / weight_N.sum(), _mean_ranks(rank_N, weight_N), top_N)


def _mean_ranks(rank_N: NDArray[np.int32], weight_N: Vector) -> Vector:
    """Ranks 1 to N, of which no two are the same, with the mean of them in the place of those of equal weights."""
    by_rank_N = np.empty_like(weight_N)
    by_rank_N[rank_N - 1] = weight_N
    # Where equal weights begin, and where the last of them end.
    edges = np.flatnonzero(np.concatenate([[True], by_rank_N[1:] != by_rank_N[:-1], [True]]))
    ranks_N: Vector = np.repeat((edges[:-1] + edges[1:] + 1) / 2, np.diff(edges))[rank_N - 1]
    return ranks_N


def _pairs(first: int, seen: list[_Weights]) -> _Pairs:
    """The pairs of a case's rows, which begin with the row `first`."""
    a_P, b_P = np.triu_indices(len(seen), 1)
    n_patches_P, measures_PM = np.zeros(len(a_P), np.int64), np.full((len(a_P), len(MEASURES)), np.nan)
    places = [each.places for each in seen]
    like = np.array([places.index(each) for each in places], np.int64)
    for same in set(like.tolist()):
        within_P = (like[a_P] == same) & (like[b_P] == same)
        if within_P.any():
            _, *of_runs = zip(*(each for each in seen if each.places == places[same]), strict=True)
            measures_PM[within_P] = _measured(*(np.stack(of_run) for of_run in of_runs))
            n_patches_P[within_P] = len(seen[same].weights)
    return _Pairs(first + a_P, first + b_P, n_patches_P, measures_PM)


def _measured(weight_RN: Vector, rank_RN: Vector, top_RN: Vector) -> Vector:
    """(P, M) The MEASURES of every pair."""
    a_P, b_P = np.triu_indices(len(weight_RN), 1)
    # Spearman's rho is the cosine of what ranks deviate from their mean by.
    spearman_P, cosine_P = (_cosines(x_RN)[a_P, b_P] for x_RN in (rank_RN - (rank_RN.shape[1] + 1) / 2, weight_RN))
    both_RR = top_RN @ top_RN.T
    both_P, tops_R = both_RR[a_P, b_P], np.diagonal(both_RR)
    jaccard_P = both_P / (tops_R[a_P] + tops_R[b_P] - both_P)
    js_P, kl_P = np.empty(len(a_P)), np.empty(len(a_P))
    # A run's own logarithms are taken once, and not again for each pair that it is in.
    log_RN, entropy_R = np.log(weight_RN + EPSILON), _entropies(weight_RN)
    step = max(1, _BLOCK // weight_RN.shape[1])
    for block in (slice(begin, begin + step) for begin in range(0, len(a_P), step)):
        a, b = a_P[block], b_P[block]
        weight_PN = weight_RN[a]
        kl_P[block] = _products(weight_PN, log_RN[a] - log_RN[b])
        js_P[block] = _entropies((weight_PN + weight_RN[b]) / 2) - (entropy_R[a] + entropy_R[b]) / 2
    return np.column_stack([spearman_P, jaccard_P, cosine_P, np.maximum(0, js_P), kl_P])


def _cosines(x_RN: Vector) -> Vector:
    """(R, R) Cosine of the angle between each row and each other, -1 to 1; NaN with a row of zeros."""
    products_RR = x_RN @ x_RN.T
    length_R = np.sqrt(np.diagonal(products_RR))
    scale_RR = np.outer(length_R, length_R)
    return np.clip(products_RR / np.where(scale_RR > 0, scale_RR, np.nan), -1, 1)


def _entropies(weight_PN: Vector) -> Vector:
    """(P,) Entropy of each row, in bits; a weight of 0 adds nothing."""
    return -_products(weight_PN, np.log2(weight_PN + (weight_PN == 0)))


def _products(x_PN: Vector, y_PN: Vector) -> Vector:
    """(P,) Sum of the products of each row with the other's. Of the same rows it is the same to the last bit."""
    sums: Vector = np.einsum("pn,pn->p", x_PN, y_PN)
    return sums


def _numbers(values: NDArray[Any], kind: pa.DataType, valid: NDArray[np.bool_] | None = None) -> pa.Array:
    return array(values, kind, np.ones(len(values), np.bool_) if valid is None else valid)


def report(rows: Iterable[Mapping[str, Any]]) -> str:
    """A paragraph for each pair of runs: the medians over its cases."""
    pairs = groupby(rows, key=lambda row: (row["run_a"], row["run_b"]))
    return "\n".join(_pair(run_a, run_b, list(of_pair)) for (run_a, run_b), of_pair in pairs)


def _pair(run_a: str, run_b: str, rows: list[Mapping[str, Any]]) -> str:
    same = [row for row in rows if row["same_patches"]]
    lines = [
        f"{run_a} and {run_b}: {len(same)} of {len(rows)} shared cases are over the same patches; medians over these"
    ]
    for name in MEASURES:
        values = [row[name] for row in same if row[name] is not None]
        lines.append(f"  {name}: {median(values):.3f}" if values else f"  {name}: undefined")
    lines.append(f"  |p_true_difference|: {median(abs(row['p_true_difference']) for row in rows):.3f}")
    return "\n".join(lines) + "\n"
