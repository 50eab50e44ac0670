"""An answer: its rows in the form that is asked for, and what a notebook shows of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from milstore.asking.asked import Asked
from milstore.asking.cells import cell
from milstore.asking.fetching import Run, distinct, fetch_rows, fetch_table, renaming, to_pandas

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

SHOWN = 20
"""Rows of an answer that a notebook shows of itself."""
Fetch = Callable[[Run], Any]
Columns = Callable[[str], Sequence[Any]]
"""Gives the values of a column of an answer by its name."""


@dataclass(frozen=True)
class Result:
    """An answer. Its rows are computed when they are first asked for, in the form that is asked for."""

    _run: Callable[[Fetch], Any]
    _then: "Callable[[pa.Table], pa.Table] | None" = None
    _told: Callable[[Columns], list[str]] | None = None
    _answer: Callable[[list[dict[str, Any]]], list[str]] | None = None
    title: str = ""
    """Which run or experiment answered."""
    notes: list[str] = field(default_factory=list)
    """What must be told with the answer, such as `case 46 was in this run's training subset`."""
    run_names: Mapping[str, str] = field(default_factory=dict)
    """What people may call each run that answers, such as `split 4 · seed 0`, where that tells these runs apart."""
    shown: tuple[str, ...] = ()
    """The columns that a table for people has; none means all."""

    @cached_property
    def _fetched(self) -> tuple[list[str], list[tuple[Any, ...]]]:
        if self._then is not None:
            table = self.arrow()
            return table.column_names, list(zip(*(column.to_pylist() for column in table.columns), strict=True))
        names, rows = self._run(fetch_rows)
        self._tell(lambda name: [row[names.index(name)] for row in rows])
        return self.named(names), rows

    @property
    def asked(self) -> Asked | None:
        """The statement, whose rows can be had a few at a time; None where they are made, or told of, all at once."""
        return self._run if isinstance(self._run, Asked) and self._then is None and self._told is None else None

    def first(self, most: int) -> bool:
        """Fetch so many rows at most: they are the answer from now on. Whether there are more."""
        if self.asked is None or "_fetched" in self.__dict__:
            names, rows = self._fetched
        else:
            rows = []
            with self.asked.rows() as parts:
                for part in parts:
                    rows += part
                    if len(rows) > most:
                        break
            names = self.named(parts.names)
        self.__dict__["_fetched"] = names, rows[:most]
        return len(rows) > most

    def leading(self, most: int) -> list[tuple[Any, ...]]:
        """The rows that a terminal shows first, where it shows no more than these."""
        return self.rows()[:most]

    def _tell(self, column: Columns) -> None:
        """Note what must be told with the rows, once, in whichever form they are asked for."""
        told = self._told(column) if self._told is not None else []
        self.notes.extend(note for note in told if note not in self.notes)

    def named(self, names: list[str]) -> list[str]:
        """The names of the columns, made distinct; what is renamed is told."""
        told = renaming(names)
        if told and told not in self.notes:
            self.notes.append(told)
        return distinct(names)

    @property
    def columns(self) -> list[str]:
        """Names of the columns; of columns of one name, in capitals or not, the later have a number behind it."""
        return self._fetched[0]

    def rows(self) -> list[tuple[Any, ...]]:
        """The rows as tuples of Python values; what Python cannot hold (intervals, nanoseconds, infinite dates) is DuckDB's text."""
        return self._fetched[1]

    def records(self) -> list[dict[str, Any]]:
        """The rows as dictionaries."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows()]

    def answer(self) -> list[str]:
        """The answer in sentences, where the question has more to say than its rows; none of a question without such."""
        return self._answer(self.records()) if self._answer is not None else []

    @cached_property
    def _table(self) -> "pa.Table":
        table = self._run(fetch_table)
        if self._then is not None:
            table = self._then(table)
        self._tell(lambda name: table[name].to_pylist())
        return table.rename_columns(self.named(table.column_names))

    def arrow(self) -> "pa.Table":
        """The answer as an Arrow table; what Arrow or Parquet cannot hold (intervals, bits, unions, infinite dates) is DuckDB's
        text."""
        return self._table

    def with_columns(self, names: Sequence[str]) -> "Result":
        """The answer with these of its columns alone, in this order."""
        return _Part(
            self._run, title=self.title, notes=self.notes, run_names=self.run_names, _of=self, _names=tuple(names)
        )

    def df(self) -> "pd.DataFrame":
        """The answer as a pandas data frame."""
        return to_pandas(self.arrow())

    def pl(self) -> "pl.DataFrame":
        """The answer as a polars data frame, where polars is installed."""
        import polars

        frame = polars.from_arrow(self.arrow())
        if not isinstance(frame, polars.DataFrame):  # pragma: no cover - a table never becomes a series
            raise TypeError(type(frame))
        return frame

    def _repr_html_(self) -> str:
        """What a notebook shows: the first rows, and which run or experiment answered."""
        return answer_html(self)


@dataclass(frozen=True)
class _Part(Result):
    """Some columns of an answer."""

    _of: Result | None = None
    _names: tuple[str, ...] = ()

    @cached_property
    def _fetched(self) -> tuple[list[str], list[tuple[Any, ...]]]:
        assert self._of is not None
        at = [self._of.columns.index(name) for name in self._names]
        return list(self._names), [tuple(row[i] for i in at) for row in self._of.rows()]

    @property
    def asked(self) -> Asked | None:
        """None: the statement has all columns."""
        return None

    @cached_property
    def _table(self) -> "pa.Table":
        assert self._of is not None
        return self._of.arrow().select(list(self._names))


def answer_html(result: Result) -> str:
    """An answer's first rows as an HTML table, everything in it escaped."""
    from html import escape

    rows, columns = result.rows(), result.columns

    def row(cells: Sequence[Any], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{escape(cell(value))}</{tag}>' for value in cells)}</tr>"

    more = f"<p>… {len(rows) - SHOWN} more of {len(rows)} rows</p>" if len(rows) > SHOWN else ""
    told = "".join(f"<p>{escape(text)}</p>" for text in (result.title, *result.notes) if text)
    body = "".join(row(values, "td") for values in rows[:SHOWN])
    return f"{told}<table><thead>{row(columns, 'th')}</thead><tbody>{body}</tbody></table>{more}"
