"""Recall of each class, balanced accuracy and AUC: by split, their mean over the splits, and pooled."""

from typing import TYPE_CHECKING, Any

import numpy as np

from milstore.analysis.intervals import wilson
from milstore.analysis.outcomes import Outcomes
from milstore.analysis.roc import MEAN, MIXED, POOLED, REPEATED, Scored, area, bootstrap_interval, mean_area

if TYPE_CHECKING:
    import pyarrow as pa

RECALL, BALANCED, AUC = "recall", "balanced accuracy", "AUC"
Row = dict[str, Any]


def summary(table: "pa.Table") -> "pa.Table":
    """The measures of each scope.

    Args:
        table: run_id, split, case_id, subset, true_label, pred_label and the lists probabilities and class_names; a row per
            prediction.

    Returns:
        measure, true_class (null for measures of all classes), scope (`split 1`, …, `mean over splits`, `pooled`), right
        and cases (numbers of predictions), value (0 to 1; null where undefined), low and high (95%: Wilson for recall,
        stratified bootstrap for the AUC of two classes), note. With a single run there is its split alone.
    """
    import pyarrow as pa

    from milstore.analysis.arrays import table as arrow_table

    outcomes = Outcomes.of(table)
    # A case that several splits hold in test is one case; what was trained on it too is another matter.
    tested = set(table["subset"].to_pylist()) <= {"test"}
    pooled = outcomes.once() if tested and outcomes.repeated else outcomes
    rows: list[Row] = []
    for label, name in enumerate(outcomes.class_names):
        rows += _recall_rows(outcomes, pooled, label, name)
    rows += _balanced_rows(outcomes, pooled)
    rows += _auc_rows(outcomes, pooled)
    texts = [(name, pa.string()) for name in ("measure", "true_class", "scope")]
    counts = [(name, pa.int64()) for name in ("right", "cases")]
    values = [(name, pa.float64()) for name in ("value", "low", "high")]
    return arrow_table(rows, pa.schema([*texts, *counts, *values, ("note", pa.string())]))


def _recall_rows(outcomes: Outcomes, pooled: Outcomes, label: int, name: str) -> list[Row]:
    rows = [_recall_row(split, of_run, label) for split, of_run in outcomes.runs()]
    if len(rows) > 1:
        rows += [_mean_row(rows), _recall_row(POOLED, pooled, label)]
    return [{"measure": RECALL, "true_class": name, **row} for row in rows]


def _recall_row(scope: str, outcomes: Outcomes, label: int) -> Row:
    right, cases = outcomes.counts(label)
    row: Row = {"scope": scope, "right": right, "cases": cases, "value": right / cases if cases else None}
    if outcomes.repeated:
        return {**row, "note": REPEATED}
    low, high = wilson(right, cases)
    return {**row, "low": low, "high": high, "note": None if cases else "no case of this class"}


def _mean_row(rows: list[Row]) -> Row:
    """The mean of the splits in which the measure is defined."""
    values = [row["value"] for row in rows if row["value"] is not None]
    note = None if len(values) == len(rows) else f"defined in {len(values)} of {len(rows)} splits"
    return {"scope": MEAN, "value": float(np.mean(values)) if values else None, "note": note}


def _balanced_rows(outcomes: Outcomes, pooled: Outcomes) -> list[Row]:
    rows = [_balanced_row(split, of_run) for split, of_run in outcomes.runs()]
    if len(rows) > 1:
        rows += [_mean_row(rows), _balanced_row(POOLED, pooled)]
    return [{"measure": BALANCED, **row} for row in rows]


def _balanced_row(scope: str, outcomes: Outcomes) -> Row:
    """The mean of the classes' recalls; undefined where a class has no case."""
    counts = [outcomes.counts(label) for label in range(len(outcomes.class_names))]
    row = {"scope": scope, "right": sum(right for right, _ in counts), "cases": len(outcomes.true_labels)}
    if any(cases == 0 for _, cases in counts):
        return {**row, "value": None, "note": "undefined: a class has no case"}
    return {**row, "value": float(np.mean([right / cases for right, cases in counts]))}


def _auc_rows(outcomes: Outcomes, all_of_them: Outcomes) -> list[Row]:
    runs = list(outcomes.runs())
    rows = [_auc_row(split, of_run) for split, of_run in runs]
    if len(runs) > 1:
        mean = {**_mean_row(rows), "cases": None}
        if _two_classes(outcomes) and not outcomes.repeated:
            mean["low"], mean["high"] = bootstrap_interval([_scored(of_run, 1) for _, of_run in runs])
        pooled = _auc_row(POOLED, all_of_them)
        rows += [mean, {**pooled, "note": pooled["note"] or MIXED}]
    return [{"measure": AUC, **row} for row in rows]


def _auc_row(scope: str, outcomes: Outcomes) -> Row:
    """AUC of two classes, or the mean of one class against the rest; undefined where a class has no case."""
    row: Row = {"scope": scope, "cases": len(outcomes.true_labels), "value": None, "note": None}
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


def _two_classes(outcomes: Outcomes) -> bool:
    return len(outcomes.class_names) == 2


def _scored(outcomes: Outcomes, label: int) -> Scored:
    return outcomes.probabilities[:, label], outcomes.true_labels == label
