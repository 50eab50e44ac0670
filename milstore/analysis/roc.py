"""ROC curves and the areas under them, with bootstrap intervals."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from milstore.analysis.outcomes import split_words
from milstore.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

DRAWS = 2000
SEED = 0
LEVEL = 0.95
MEAN, POOLED = "mean over splits", "pooled"
MIXED = "compares probabilities of different models"
REPEATED = "cases stand in it more than once: no interval"
Scored = tuple[NDArray[np.float64], NDArray[np.bool_]]
"""Scores (N,) of predictions, and which of them are of the positive class (N,)."""
_BLOCK = 2_000_000
"""Numbers that the bootstrap holds in memory at a time."""


def area(scored: Scored) -> float | None:
    """Area under the ROC curve, 0 to 1; None where it is undefined, because a class has no case.

    It is the share of pairs in which the positive case scores higher, ties counted half (Hanley & McNeil 1982).
    scikit-learn's gives the same, and takes longer to import than most questions to answer.
    """
    _, positives_U, negatives_U = _counted(scored)
    pairs = positives_U.sum() * negatives_U.sum()
    if not pairs:
        return None
    # Twice the pairs are whole numbers.
    below_U = 2 * np.cumsum(negatives_U) - negatives_U
    return float((positives_U * below_U).sum() / (2 * pairs))


def _counted(scored: Scored) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """The scores there are, from the lowest up, and how many of each class have each."""
    score_N, positive_N = scored
    score_U, place_N = np.unique(score_N, return_inverse=True)
    positives_U = np.bincount(place_N[positive_N], minlength=len(score_U))
    negatives_U = np.bincount(place_N[~positive_N], minlength=len(score_U))
    return score_U, positives_U, negatives_U


def corners(scored: Scored) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The corners of a ROC curve: false and true positive rate, and the threshold from which both are called.

    Points on a line between two others are left out. At the start nothing is called positive, and the threshold is
    infinite. Both classes must have cases.
    """
    score_U, positives_U, negatives_U = _counted(scored)
    true_P, false_P = (np.append(0, np.cumsum(counts[::-1])) for counts in (positives_U, negatives_U))
    threshold_P = np.append(np.inf, score_U[::-1])
    # The start, the first threshold and the end stay; between them, a point where the next step is another than the last.
    turns = np.diff(true_P[1:], 2).astype(bool) | np.diff(false_P[1:], 2).astype(bool)
    kept = np.concatenate(([True, True], turns, [True])) if len(score_U) > 1 else slice(None)
    return false_P[kept] / false_P[-1], true_P[kept] / true_P[-1], threshold_P[kept]


def mean_area(groups: Sequence[Scored]) -> tuple[float | None, int]:
    """Mean of the areas that are defined, and how many they are."""
    areas = [found for scored in groups if (found := area(scored)) is not None]
    return (float(np.mean(areas)) if areas else None), len(areas)


def bootstrap_interval(
    groups: Sequence[Scored], *, draws: int = DRAWS, seed: int = SEED, level: float = LEVEL
) -> tuple[float, float] | tuple[None, None]:
    """Percentile interval of the mean of the groups' areas (Efron & Tibshirani 1993, ch. 13).

    Each draw takes as many cases of each class, with replacement, as each group has. The models stay as they are, so
    the interval tells of the cases that they were tried on and nothing of training again.

    Args:
        groups: predictions that are compared with each other; groups whose area is undefined do not count.
        draws: how many.
        seed: of the draws.
        level: confidence, between 0 and 1.

    Returns:
        Lower and upper bound; (None, None) where all areas are undefined, or all are 0 or 1: every draw would be the
        same, and an interval of no width would promise what a handful of cases cannot.
    """
    areas = [area(scored) for scored in groups]
    defined = [scored for scored, found in zip(groups, areas, strict=True) if found is not None]
    if all(found in (None, 0.0, 1.0) for found in areas):
        return None, None
    random = np.random.default_rng(seed)
    drawn = np.mean([_drawn_areas(scored, draws, random) for scored in defined], axis=0)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _drawn_areas(scored: Scored, draws: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Area of each draw: of all pairs, the share in which the positive case scores higher, ties counted half."""
    score_U, positives_U, negatives_U = _counted(scored)
    block = max(1, _BLOCK // len(score_U))
    found = []
    for start in range(0, draws, block):
        size = min(block, draws - start)
        positives = random.multinomial(positives_U.sum(), positives_U / positives_U.sum(), size)
        negatives = random.multinomial(negatives_U.sum(), negatives_U / negatives_U.sum(), size)
        below = np.cumsum(negatives, axis=1) - negatives / 2
        found.append((positives * below).sum(axis=1) / (positives_U.sum() * negatives_U.sum()))
    return np.concatenate(found)


def curves(table: "pa.Table", *, positive: int | None = None) -> "pa.Table":
    """The points of each split's curve and of the pooled one, with their areas.

    Args:
        table: run_id, split, case_id, subset, true_label, positive (number of the positive class), positive_class, score, n_classes; a
            row per prediction.
        positive: the class that was asked for.

    Returns:
        curve, false_positive_rate, true_positive_rate, threshold (null at the start of a curve, where nothing is called
        positive), auc, low, high, positives, negatives, positive_class, n_classes, note. The mean over splits comes
        first and has no point, nor has a curve that is undefined.

    Raises:
        UsageError: there is no such class.
    """
    import pyarrow as pa

    from milstore.analysis.arrays import table as arrow_table

    if not table.num_rows:
        raise UsageError(
            f"the runs that answer know no class number {positive}: leave --positive out or take one from 0"
        )
    # Not by to_numpy, which imports pandas.
    score_N, label_N, asked_N = (np.array(table[name].to_pylist()) for name in ("score", "true_label", "positive"))
    positive_N = label_N == asked_N
    run_N = np.array(table["run_id"].to_pylist(), dtype=object)
    splits = dict(zip(run_N.tolist(), table["split"].to_pylist(), strict=True))
    by_run = {run: (score_N[run_N == run], positive_N[run_N == run]) for run in splits}
    groups = list(by_run.values())
    rows: list[dict[str, Any]] = []
    if len(groups) > 1:
        case_N = np.array(table["case_id"].to_pylist(), dtype=object)
        repeated = len(set(case_N.tolist())) < table.num_rows
        scored = (score_N, positive_N)
        if set(table["subset"].to_pylist()) <= {"test"}:
            scored = _once(case_N, *scored)
        pooled = _curve_rows(POOLED, scored)
        for row in [_mean_row(groups), *pooled]:
            note = "; ".join(filter(None, (row["note"], REPEATED)))
            # Models that were tested on the same case are not independent, but the pooled curve has it once.
            doubtful = repeated and (row["curve"] == MEAN or len(scored[0]) == table.num_rows)
            rows.append({**row, "low": None, "high": None, "note": note} if doubtful else row)
    for run, of_run in by_run.items():
        rows += _curve_rows(split_words(splits[run]), of_run)
    facts = {name: table[name][0].as_py() for name in ("positive_class", "n_classes")}
    rates = ("false_positive_rate", "true_positive_rate", "threshold", "auc", "low", "high")
    schema = pa.schema(
        [("curve", pa.string())]
        + [(name, pa.float64()) for name in rates]
        + [("positives", pa.int64()), ("negatives", pa.int64())]
        + [("positive_class", pa.string()), ("n_classes", pa.int64()), ("note", pa.string())]
    )
    return arrow_table([{**row, **facts} for row in rows], schema)


def _once(case_N: NDArray[Any], score_N: NDArray[np.float64], positive_N: NDArray[np.bool_]) -> Scored:
    """Each case once, by its mean score."""
    first_M, group_N = np.unique(case_N.astype(str), return_index=True, return_inverse=True)[1:]
    return np.bincount(group_N, score_N) / np.bincount(group_N), positive_N[first_M]


def _mean_row(groups: Sequence[Scored]) -> dict[str, Any]:
    mean, defined = mean_area(groups)
    low, high = bootstrap_interval(groups)
    return {
        "curve": MEAN,
        "auc": mean,
        "low": low,
        "high": high,
        "positives": sum(int(positive_N.sum()) for _, positive_N in groups),
        "negatives": sum(int((~positive_N).sum()) for _, positive_N in groups),
        "note": None if defined == len(groups) else f"{defined} of {len(groups)} splits have both",
    }


def _curve_rows(curve: str, scored: Scored) -> list[dict[str, Any]]:
    _, positive_N = scored
    low, high = bootstrap_interval([scored])
    facts = {"curve": curve, "auc": area(scored), "low": low, "high": high}
    facts["note"] = MIXED if curve == POOLED else None
    facts |= {"positives": int(positive_N.sum()), "negatives": int((~positive_N).sum())}
    if facts["auc"] is None:
        return [facts]
    false_P, true_P, threshold_P = corners(scored)
    return [
        {
            **facts,
            "false_positive_rate": float(x),
            "true_positive_rate": float(y),
            "threshold": float(t) if np.isfinite(t) else None,
        }
        for x, y, t in zip(false_P, true_P, threshold_P, strict=True)
    ]
