"""A prediction's figures beside those of its experiment's own test cases: what a reviewer asks for first."""

from typing import TYPE_CHECKING

from milstore.analysis.recall import AUC, MEANS
from milstore.analysis.roc import MEAN, POOLED

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

NEW_CASES, INTERNAL = "new cases", "internal test"
"""What the two scopes are called."""
_WHOLE = (POOLED, "all splits pooled")
"""Scopes of all splits together."""


def main_scope(scopes: "Sequence[str]") -> str:
    """The scope that an answer is about: all splits pooled, new cases where internal ones stand beside them, else the last."""
    return next((scope for scope in (POOLED, NEW_CASES) if scope in scopes), scopes[-1])


def beside(column: str, new: "pa.Table", internal: "pa.Table") -> "pa.Table":
    """The rows of an answer about new cases, and behind them those of the experiment's test cases: all splits together.

    An internal AUC among other measures is the mean over the splits where there is one, for a pooled one compares probabilities of
    different models.

    Args:
        column: the one that says which scope (a split, or all) a row is of.
        new: its answer for a prediction, which has one scope.
        internal: its answer for the experiment.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    scopes = pc.unique(internal[column]).to_pylist()
    whole = next((scope for scope in _WHOLE if scope in scopes), next(iter(scopes), None))
    mean = next((scope for scope in MEANS if scope in scopes), None)
    rows = internal.filter(pc.equal(internal[column], pa.scalar(whole, pa.string())))
    if "measure" in rows.column_names and mean is not None:
        is_auc = pc.equal(rows["measure"], AUC)
        of_means = internal.filter(pc.and_(pc.equal(internal[column], mean), pc.equal(internal["measure"], AUC)))
        rows = pa.concat_tables([rows.filter(pc.invert(is_auc)), of_means])
    parts = [called(new, column, NEW_CASES), called(rows, column, INTERNAL)]
    return pa.concat_tables([parts[0], parts[1].cast(parts[0].schema)])


def called(table: "pa.Table", column: str, name: str) -> "pa.Table":
    """A table with one name in a column, but for the rows of a mean over splits of one run, which say nothing new."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kept = table.filter(pc.not_equal(table[column], MEAN)) if name == NEW_CASES else table
    names = pa.array([name] * kept.num_rows, kept.schema.field(column).type)
    return kept.set_column(kept.column_names.index(column), kept.schema.field(column), names)
