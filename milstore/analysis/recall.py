"""Recall of each class, accuracy, balanced accuracy and AUC: by split or by repeat, their mean, and pooled."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from milstore.analysis.intervals import wilson
from milstore.analysis.outcomes import Outcomes
from milstore.analysis.roc import MEAN, MIXED, POOLED, REPEATED, Scored, area, bootstrap_interval, mean_area
from milstore.store.names import natural_key

if TYPE_CHECKING:
    import pyarrow as pa

RECALL, ACCURACY, BALANCED, AUC = "recall", "accuracy", "balanced accuracy", "AUC"
MEAN_OF_RUNS = "mean over runs"
MEANS = (MEAN, MEAN_OF_RUNS)
_FIRST = (POOLED, *MEANS)
"""Scopes that are means."""
Row = dict[str, Any]
Measured = Callable[[Outcomes], Row]
"""right, cases, value, low, high and note of a measure, as far as it has them."""


def summary(table: "pa.Table") -> "pa.Table":
    """The measures of each scope.

    Args:
        table: run_id, split_set, split, seed, case_id, subset, true_label, pred_label and the lists probabilities and
            class_names; a row per prediction.

    Returns:
        measure, true_class (null for measures of all classes), scope, right and cases (numbers of predictions), value (0
        to 1; null where undefined), se (standard error of a mean over runs: their standard deviation with n - 1, by the
        root of n), low and high (95%: Wilson for recall and accuracy, stratified bootstrap for the AUC of two classes),
        note. The scopes are `pooled`, `mean over splits` and `split 1`, …; of several repeats (split sets or seeds)
        `pooled`, `mean over runs` and these, such as `fox-r1`; with a single run there is its split alone.
    """
    import pyarrow as pa

    from milstore.analysis.arrays import table as arrow_table

    outcomes = Outcomes.of(table)
    pooled = pooled_once(outcomes, table)
    repeats = dict(_repeats(outcomes, table))
    rows: list[Row] = []
    for measure, true_class, measured in measures(outcomes.class_names):
        rows += [
            {"measure": measure, "true_class": true_class, **row}
            for row in _scopes(outcomes, pooled, repeats, measured, _mean_auc if measure == AUC else measured)
        ]
    # What a person looks for stands first: all splits together, then their mean, then each.
    rows.sort(key=lambda row: _FIRST.index(row["scope"]) if row["scope"] in _FIRST else len(_FIRST))
    texts = [(name, pa.string()) for name in ("measure", "true_class", "scope")]
    counts = [(name, pa.int64()) for name in ("right", "cases")]
    values = [(name, pa.float64()) for name in ("value", "se", "low", "high")]
    return arrow_table(rows, pa.schema([*texts, *counts, *values, ("note", pa.string())]))


def pooled_once(outcomes: Outcomes, table: "pa.Table") -> Outcomes:
    """The predictions, a case that is in several test subsets counted once, by its mean probability."""
    # A case that several splits hold in test is one case; what was trained on it too is another matter.
    tested = set(table["subset"].to_pylist()) <= {"test"}
    return outcomes.once() if tested and outcomes.repeated else outcomes


def measures(class_names: Sequence[str]) -> Iterator[tuple[str, str | None, Measured]]:
    """Each measure: its name, the class that it is of (None for all) and what computes it."""
    for label, name in enumerate(class_names):
        yield RECALL, name, lambda outcomes, label=label: _recall(outcomes, label)  # type: ignore[misc]
    yield ACCURACY, None, _accuracy
    yield BALANCED, None, _balanced
    yield AUC, None, _auc


def mean_and_error(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Mean of the values that are defined, and its standard error: s / sqrt(n), s with n - 1; None where there is none.

    >>> mean_and_error([0.25, 0.75, None]), mean_and_error([0.5]), mean_and_error([])
    ((0.5, 0.25), (0.5, None), (None, None))
    """
    defined = [value for value in values if value is not None]
    error = float(np.std(defined, ddof=1) / np.sqrt(len(defined))) if len(defined) > 1 else None
    return (float(np.mean(defined)) if defined else None), error


def _repeats(outcomes: Outcomes, table: "pa.Table") -> Iterator[tuple[str, Outcomes]]:
    """The predictions of each repeat, by its name; none where there is only one."""
    columns = zip(*(table[name].to_pylist() for name in ("run_id", "split_set", "seed")), strict=True)
    of_run = {run_id: (split_set, seed) for run_id, split_set, seed in columns}
    found = sorted(set(of_run.values()), key=_in_order)
    if len(found) < 2:
        return
    sets, seeds = ({key[i] for key in found} for i in (0, 1))
    for key in found:
        split_set, seed = key[0] or "no split set", f"seed {key[1]}"
        parts = [split_set] * (len(sets) > 1) + [seed] * (len(seeds) > 1)
        yield ", ".join(parts), outcomes.only(np.array([of_run[run_id] == key for run_id in outcomes.run_ids]))


def _in_order(repeat: tuple[str | None, int | None]) -> tuple[Any, ...]:
    """Natural order of the split sets, then of the seeds; what has none goes last, or first."""
    split_set, seed = repeat
    return split_set is None, natural_key(split_set or ""), -1 if seed is None else seed


def _scopes(
    outcomes: Outcomes, pooled: Outcomes, repeats: dict[str, Outcomes], measured: Measured, of_repeat: Measured
) -> list[Row]:
    of_runs = [{"scope": split, **measured(of_run)} for split, of_run in outcomes.runs()]
    shown = [{"scope": name, **of_repeat(own)} for name, own in repeats.items()] or of_runs
    if len(of_runs) == 1:
        return shown
    mean = {"scope": MEAN_OF_RUNS if repeats else MEAN, **_mean(of_runs, "runs" if repeats else "splits")}
    in_all = {"scope": POOLED, **measured(pooled)}
    if measured is _auc:
        in_all["note"] = in_all.get("note") or MIXED
        if not repeats:
            mean |= _mean_interval(outcomes)
    return [*shown, mean, in_all]


def _mean(rows: list[Row], of: str) -> Row:
    """The mean of the runs in which the measure is defined."""
    values = [row["value"] for row in rows]
    defined = sum(value is not None for value in values)
    mean, error = mean_and_error(values)
    note = None if defined == len(rows) else f"defined in {defined} of {len(rows)} {of}"
    return {"value": mean, "se": error, "note": note}


def _recall(outcomes: Outcomes, label: int) -> Row:
    return _share(*outcomes.counts(label), outcomes, "no case of this class")


def _accuracy(outcomes: Outcomes) -> Row:
    right = int((outcomes.true_labels == outcomes.pred_labels).sum())
    return _share(right, len(outcomes.true_labels), outcomes, "no case")


def _share(right: int, cases: int, outcomes: Outcomes, none: str) -> Row:
    row: Row = {"right": right, "cases": cases, "value": right / cases if cases else None}
    if outcomes.repeated:
        return {**row, "note": REPEATED}
    low, high = wilson(right, cases)
    return {**row, "low": low, "high": high, "note": None if cases else none}


def _balanced(outcomes: Outcomes) -> Row:
    """The mean of the classes' recalls; undefined where a class has no case."""
    counts = [outcomes.counts(label) for label in range(len(outcomes.class_names))]
    row: Row = {"right": sum(right for right, _ in counts), "cases": len(outcomes.true_labels)}
    if any(cases == 0 for _, cases in counts):
        return {**row, "value": None, "note": "undefined: a class has no case"}
    return {**row, "value": float(np.mean([right / cases for right, cases in counts]))}


def _auc(outcomes: Outcomes) -> Row:
    """AUC of two classes, or the mean of one class against the rest; undefined where a class has no case."""
    row: Row = {"cases": len(outcomes.true_labels), "value": None, "note": None}
    if len(set(outcomes.true_labels.tolist())) < max(2, len(outcomes.class_names)):
        return {**row, "note": "undefined: a class has no case"}
    if not _two_classes(outcomes):
        row["value"], _ = mean_area([_scored(outcomes, label) for label in range(len(outcomes.class_names))])
        return row
    row["value"] = area(_scored(outcomes, 1))
    if outcomes.repeated:
        return {**row, "note": f"{MIXED}; {REPEATED}"}
    row["low"], row["high"] = bootstrap_interval([_scored(outcomes, 1)])
    return row


def _mean_auc(outcomes: Outcomes) -> Row:
    """The mean of the splits' AUCs: what a repeat shows, as no probabilities of different models are compared in it."""
    values = [_auc(of_run)["value"] for _, of_run in outcomes.runs()]
    mean, _ = mean_and_error(values)
    defined = sum(value is not None for value in values)
    note = "mean of its splits" if defined == len(values) else f"mean of {defined} of its {len(values)} splits"
    return {"cases": len(outcomes.true_labels), "value": mean, "note": note, **_mean_interval(outcomes)}


def _mean_interval(outcomes: Outcomes) -> Row:
    """Of the mean of the splits' AUCs, where no case is in two of them."""
    if not _two_classes(outcomes) or outcomes.repeated:
        return {}
    low, high = bootstrap_interval([_scored(of_run, 1) for _, of_run in outcomes.runs()])
    return {"low": low, "high": high}


def _two_classes(outcomes: Outcomes) -> bool:
    return len(outcomes.class_names) == 2


def _scored(outcomes: Outcomes, label: int) -> Scored:
    return outcomes.probabilities[:, label], outcomes.true_labels == label
