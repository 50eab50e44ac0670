"""Asks the questions of a report over one connection, and takes a failure as an answer in words."""

import math
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from milstore import queries
from milstore.asking.ask import ask, connect_locked
from milstore.asking.cells import cell as people_read
from milstore.asking.result import Result
from milstore.asking.selection import Choice
from milstore.charts import charted
from milstore.charts.render import draw, draws_cohort
from milstore.errors import MilstoreError
from milstore.report.plan import Asked
from milstore.store.paths import Store

MOST_ROWS = 200
"""Rows of a table that are shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows to be shown: what is the same in all of them stands above, once."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: Sequence[bool]
    """Which columns hold numbers alone."""
    same: Sequence[tuple[str, str]]
    """Columns whose value is the same in all rows, with this value."""
    left_out: int = 0
    """Rows beyond those that are shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """A chart, as plain data that can travel between processes."""

    title: str
    subtitle: str
    spec: Mapping[str, Any]
    """The chart as Vega-Lite."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came of a question: a chart, a table, or words that say why there is neither."""

    asked: Asked
    title: str = ""
    """What the question asks; empty if there is no such question."""
    sql: str = ""
    command: str = ""
    """The command line that asks the same."""
    subject: str = ""
    """Which run or experiment answered."""
    notes: Sequence[str] = ()
    chart: Shown | None = None
    table: Table | None = None
    words: str = ""
    fault: bool = False
    """Whether the words tell of a fault of milstore."""


class Answerer:
    """Asks for one report: always of the same runs, over one connection.

    Cases that are chosen narrow no answer: they stand out in the charts that draw a case within its cohort.
    """

    def __init__(self, store: Store, choice: Choice) -> None:
        self.store = store
        self.choice = replace(choice, cases=())
        self.cases = choice.cases
        self._con = connect_locked(store)
        self._fetched: dict[str, Result] = {}

    def result(self, name: str, values: Mapping[str, Any] | None = None, choice: Choice | None = None) -> Result:
        """The rows of a question, fetched, and kept: headlines and charts use the same. Errors are those of `ask`."""
        choice = choice or self.choice
        key = repr((name, sorted((values or {}).items()), choice))
        if key not in self._fetched:
            self._fetched[key] = ask(self.store, name, choice, values, con=self._con)
            self._fetched[key].arrow()
        return self._fetched[key]

    def answer(self, asked: Asked, choice: Choice | None = None) -> Answer:
        """The answer to a question. Never raises for what the question does: a page with a gap is worth more than none.

        Args:
            asked: the question.
            choice: which run answers, for which cases, if not those of the report. A chart that draws a case within its
                cohort is given all cases of that run besides.
        """
        within = asked.chart and asked.name in charted() and draws_cohort(asked.name)
        choice = choice or (replace(self.choice, cases=self.cases) if within else self.choice)
        answer = Answer(asked=asked, command=_command(asked, choice))
        try:
            query = queries.load(asked.name, self.store.queries)
            answer = replace(answer, title=query.title, sql=query.sql.strip())
            result = self.result(asked.name, asked.values, choice)
            answer = replace(answer, subject=result.title, notes=tuple(result.notes))
            if asked.table:
                answer = replace(answer, table=table_of(result, asked.leave_out))
            if asked.chart and asked.name in charted():
                cohort = None
                if within and choice.cases:
                    cohort = self.result(asked.name, asked.values, replace(choice, cases=()))
                drawn = draw(self.store, query, result, choice, asked.values, cohort=cohort)
                shown = Shown(title=drawn.about.title, subtitle=drawn.about.subtitle, spec=drawn.spec)
                answer = replace(answer, chart=shown)
            elif not asked.table:
                answer = replace(answer, table=table_of(result, asked.leave_out))
        except MilstoreError as error:
            return replace(answer, words=str(error))
        except Exception as error:
            # One broken chart must not take the other twenty from the meeting. The command tells of it.
            return replace(answer, words=f"{type(error).__name__}: {error}", fault=True)
        return answer


def _command(asked: Asked, choice: Choice) -> str:
    """The command line that asks the same."""
    words = ["milstore", "plot" if asked.chart else "query", asked.name]
    for case in choice.cases:
        words += ["--case", case]
    for name in ("run", "experiment", "split", "seed", "subset", "prediction"):
        value = getattr(choice, name)
        words += [] if value is None else [f"--{name}", str(value)]
    for name, value in asked.values.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)


def table_of(result: Result, leave_out: Collection[str] = ()) -> Table:
    """An answer's rows as people read them, without the columns that are named."""
    columns, rows = result.columns, result.rows()
    same = [i for i in range(len(columns)) if len(rows) > 1 and all(row[i] == rows[0][i] for row in rows)]
    shown = [i for i in range(len(columns)) if i not in same and columns[i] not in leave_out]
    return Table(
        columns=[_heading(columns[i], [row[i] for row in rows]) for i in shown],
        rows=[[cell(row[i]) for i in shown] for row in rows[:MOST_ROWS]],
        numeric=[all(isinstance(row[i], int | float) or row[i] is None for row in rows) for i in shown],
        same=[
            (_heading(columns[i], [rows[0][i]]), cell(rows[0][i]))
            for i in same
            if rows[0][i] is not None and columns[i] not in leave_out
        ],
        left_out=max(0, len(rows) - MOST_ROWS),
    )


def _heading(column: str, values: Sequence[Any]) -> str:
    """A column's name as people read it; times are in UTC, and it says so."""
    name = column.replace("_", " ")
    return f"{name} (UTC)" if any(isinstance(value, datetime) for value in values) else name


def cell(value: Any) -> str:
    """A value as the report shows it: a glance takes in three digits, and what is undefined is not there.

    >>> cell(0.123456), cell(float("nan"))
    ('0.123', '–')
    """
    return people_read(None if isinstance(value, float) and math.isnan(value) else value, digits=3)
