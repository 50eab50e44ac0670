"""An answer of a prediction: the mean of its models with the range of what these say, and the internal test beside it.

The questions themselves know nothing of it: what the models say one by one is put beside what a question gives.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from milstore.analysis.internal import NEW_CASES, beside, called
from milstore.asking.result import Result
from milstore.errors import MilstoreError
from milstore.queries import Query
from milstore.store.paths import Store
from milstore.store.prediction_runs import find_prediction, members
from milstore.store.verified import verified_run
from milstore.store.views import connect_bare, rows_of_cohort, rows_of_runs

if TYPE_CHECKING:
    import pyarrow as pa

LOWEST, HIGHEST = "lowest", "highest"
"""Columns that an answer of a prediction has besides: the lowest and the highest probability that one of its models gives, of
the class that the probability beside them is of."""
_SHOWS = {"p_true": "true_class", "probability": "probability_of"}
"""Columns of a case's probability that questions have, and the column that says of which class it is."""
_RANGES = """
select case_id, coalesce(class_name, 'class ' || label) as class_name, min(probability), max(probability)
from {probabilities} as probabilities
left join {classes} as classes using (label)
group by all
"""


def of_prediction(store: Store, name: str, query: Query, result: Result, ask: Callable[[str], Result] | None) -> Result:
    """The answer with what a prediction has to say besides.

    Args:
        store: the store.
        name: the prediction's.
        query: the question.
        result: its answer.
        ask: asks the same of an experiment, all its cases; its errors mean that there is no internal test. None where none
            is wanted.
    """
    found = find_prediction(store, name, verified_run)
    column = query.internal
    if column is not None and ask is None:
        return _after(result, lambda new: called(new, column, NEW_CASES))
    if column is not None and ask is not None:
        return _beside_internal(result, column, found.experiment, ask)
    if query.then is not None or not {*_SHOWS} & {*query.columns}:
        return result
    ranges = _Ranges(store, found.answering)
    shown = result.shown
    if at := [column for column in shown if column in _SHOWS]:
        place = shown.index(at[0]) + 1
        shown = (*shown[:place], LOWEST, HIGHEST, *shown[place:])
    return replace(_after(result, ranges.beside), shown=shown)


def _after(result: Result, change: Callable[["pa.Table"], "pa.Table"]) -> Result:
    """The answer, its rows put through one more function."""
    before = result._then
    return replace(result, _then=change if before is None else lambda table: change(before(table)))


def _beside_internal(result: Result, column: str, experiment: str, ask: Callable[[str], Result]) -> Result:
    try:
        internal = ask(experiment)
        table = internal.arrow()
    except MilstoreError as error:
        return replace(result, notes=[*result.notes, f"no internal test of {experiment} beside it: {error}"])
    told = f"internal test: the test cases of {experiment}"
    return replace(_after(result, lambda new: beside(column, new, table)), notes=[*result.notes, told, *internal.notes])


class _Ranges:
    """What the models of a prediction say one by one; looked up when a question's answer has probabilities."""

    def __init__(self, store: Store, mean: str) -> None:
        self._store, self._mean = store, mean

    @cached_property
    def _of(self) -> dict[tuple[str, str], tuple[float, float]]:
        runs = members(self._store, self._mean, verified_run)
        con = connect_bare()
        try:
            sql = _RANGES.format(
                probabilities=rows_of_runs(self._store, runs, "probabilities"),
                classes=rows_of_cohort(self._store, "classes"),
            )
            return {(case, name): (low, high) for case, name, low, high in con.execute(sql).fetchall()}
        finally:
            con.close()

    def beside(self, table: "pa.Table") -> "pa.Table":
        """The table with the columns LOWEST and HIGHEST behind its probability; as it is where it has none of cases."""
        import pyarrow as pa

        names = table.column_names
        shows = [name for name in _SHOWS if name in names and _SHOWS[name] in names]
        if "case_id" not in names or not shows:
            return table
        at = names.index(shows[0]) + 1
        of_class = [self._class(row) for row in table.select(["case_id", *self._needed(names, shows[0])]).to_pylist()]
        found: list[Any] = [
            self._of.get((case, str(name)), (None, None))
            for case, name in zip(table["case_id"].to_pylist(), of_class, strict=True)
        ]
        for place, name in enumerate((LOWEST, HIGHEST)):
            table = table.add_column(at + place, name, pa.array([each[place] for each in found], pa.float64()))
        return table

    @staticmethod
    def _needed(names: list[str], shown: str) -> list[str]:
        return list(dict.fromkeys([_SHOWS[shown], *(name for name in ("true_class",) if name in names)]))

    @staticmethod
    def _class(row: dict[str, Any]) -> str | None:
        """The class that a row's probability is of."""
        named = row.get("probability_of")
        return row.get("true_class") if named in (None, "the true class") else named
