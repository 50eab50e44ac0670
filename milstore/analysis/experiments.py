"""Experiments side by side: recall of each class, accuracy, balanced accuracy and AUC of all their test cases."""

from typing import TYPE_CHECKING, Any

from milstore.analysis.outcomes import Outcomes
from milstore.analysis.recall import AUC, mean_and_error, measures, pooled_once
from milstore.analysis.roc import MIXED
from milstore.store.names import natural_key

if TYPE_CHECKING:
    import pyarrow as pa


def compared(table: "pa.Table", **_asked: Any) -> "pa.Table":
    """Every measure of every experiment.

    Args:
        table: experiment, run_id, split_set, split, seed, case_id, subset, true_label, pred_label and the lists
            probabilities and class_names; a row per prediction.

    Returns:
        experiment, measure, true_class (null for measures of all classes), right and cases (each case once, by its mean
        probability), value (0 to 1; null where undefined), low and high (95%: Wilson, and stratified bootstrap for the AUC
        of two classes), mean and se (of the runs, and its standard error), runs, split_sets, seeds (how many of each),
        note.
    """
    import pyarrow as pa

    from milstore.analysis.arrays import array
    from milstore.analysis.arrays import table as arrow_table

    experiments = table["experiment"].to_pylist()
    rows = [
        {"experiment": name, **row}
        for name in sorted(set(experiments), key=natural_key)
        for row in _measured(table.take(array([i for i, each in enumerate(experiments) if each == name], pa.int64())))
    ]
    texts = [(name, pa.string()) for name in ("experiment", "measure", "true_class")]
    counts = [(name, pa.int64()) for name in ("right", "cases")]
    values = [(name, pa.float64()) for name in ("value", "low", "high", "mean", "se")]
    sizes = [(name, pa.int64()) for name in ("runs", "split_sets", "seeds")]
    return arrow_table(rows, pa.schema([*texts, *counts, *values, *sizes, ("note", pa.string())]))


def _measured(table: "pa.Table") -> list[dict[str, Any]]:
    """The measures of one experiment."""
    outcomes = Outcomes.of(table)
    pooled = pooled_once(outcomes, table)
    of_runs = [of_run for _, of_run in outcomes.runs()]
    sizes = {
        "runs": len(of_runs),
        # A run without splits has no split set, and one that does not say its seed has none that could be counted.
        **{f"{name}s": len(set(table[name].to_pylist()) - {None}) for name in ("split_set", "seed")},
    }
    rows = []
    for measure, true_class, measured in measures(outcomes.class_names):
        row = measured(pooled)
        mean, error = mean_and_error([measured(of_run)["value"] for of_run in of_runs])
        note = row.get("note") or (MIXED if measure == AUC and len(of_runs) > 1 else None)
        rows.append(
            {"measure": measure, "true_class": true_class, **row, "mean": mean, "se": error, **sizes, "note": note}
        )
    return rows
