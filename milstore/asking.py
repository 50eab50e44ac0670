"""Asking: a question by its name, or SQL of one's own, and the answer."""

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import duckdb

from milstore import queries
from milstore.errors import DataError, UsageError
from milstore.fetching import Run, distinct, fetch_rows, fetch_table, renaming, to_pandas
from milstore.store.finished import find_run_id
from milstore.store.folder import Store
from milstore.store.lens import connect, connect_bare, execute, mentions, narrow, put_cohort, widen, with_derived
from milstore.store.names import normal_case_id
from milstore.store.sandbox import DEFAULT_TIMEOUT, check_foreign, first_line, lock_down, time_limit
from milstore.store.selection import Choice, select

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa


Fetch = Callable[[Run], Any]


@dataclass(frozen=True)
class Result:
    """An answer. Its rows are computed when they are first asked for, in the form that is asked for."""

    _run: Callable[[Fetch], Any]
    _then: "Callable[[pa.Table], pa.Table] | None" = None
    title: str = ""
    """Which run or experiment answered."""
    notes: list[str] = field(default_factory=list)
    """What must be told with the answer, such as `case 46 was in this run's training subset`."""

    @cached_property
    def _fetched(self) -> tuple[list[str], list[tuple[Any, ...]]]:
        if self._then is not None:
            table = self.arrow()
            return table.column_names, list(zip(*(column.to_pylist() for column in table.columns), strict=True))
        names, rows = self._run(fetch_rows)
        return self._named(names), rows

    def _named(self, names: list[str]) -> list[str]:
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

    @cached_property
    def _table(self) -> "pa.Table":
        table = self._run(fetch_table)
        if self._then is not None:
            table = self._then(table)
        return table.rename_columns(self._named(table.column_names))

    def arrow(self) -> "pa.Table":
        """The answer as an Arrow table; what Arrow or Parquet cannot hold (intervals, bits, unions, infinite dates) is DuckDB's
        text."""
        return self._table

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
        from milstore.notebook import answer_html

        return answer_html(self)


def connect_locked(store: Store, sql: str | None = None) -> duckdb.DuckDBPyConnection:
    """A connection of the lens from which everything but reading the store has been taken.

    With `sql` it is made for that statement alone, and `narrow` must say of which runs.
    """
    if sql is not None:
        con = _locked_database(store, os.getpid()).cursor()
        put_cohort(con, store, sql)
        return con
    con = connect(store)
    lock_down(con, store)
    return con


@lru_cache(maxsize=8)
def _locked_database(store: Store, _process: int) -> duckdb.DuckDBPyConnection:
    """The empty database that a process asks its questions in, one after another: making one takes longer than most
    answers. Each question has a cursor, with views and tables of its own. A forked process makes another, since
    DuckDB's threads are not forked.
    """
    con = connect_bare()
    lock_down(con, store)
    return con


def ask(
    store: Store,
    name: str,
    choice: Choice | None = None,
    values: Mapping[str, Any] | None = None,
    *,
    timeout: float = DEFAULT_TIMEOUT,
    con: duckdb.DuckDBPyConnection | None = None,
) -> Result:
    """Ask a question by its name.

    Args:
        store: the store.
        name: name of a file in `queries/`, of milstore or of the store.
        choice: which run or experiment should answer, and for which cases.
        values: the question's parameters.
        timeout: seconds it may take.
        con: a connection from `connect_locked`, for one who asks many questions: making one takes longer than most
            answers. The rows must be fetched before the connection is asked the next question.

    Raises:
        UsageError: the question, run, experiment, case or parameter does not exist or does not fit.
        StoreError: the store holds no finished run.
    """
    choice = choice or Choice()
    query = queries.load(name, store.queries)
    values = dict(values or {})
    if query.wants_case:
        if len(choice.cases) != 1:
            raise UsageError(f"query {name} is about one case: give --case once")
        values["case"] = normal_case_id(choice.cases[0])
    bound = query.bind(values)
    compared = _name_runs(store, query, bound)
    # What milstore asks itself looks only at the runs that were selected; a group's own SQL may look at any.
    narrowed = query.built_in and not mentions(query.sql, "out_of_fold")
    if con is None:
        con = connect_locked(store, query.sql if narrowed else None)
    else:
        widen(con)
    selection = select(con, store, choice, over_runs=query.over_runs, compared=compared)
    if narrowed:
        narrow(con, store, query.sql, selection.answering, selection.cases)
    with time_limit(con, timeout):
        if not query.built_in:
            check_foreign(con, query.sql)
        _check_header(con, query)
    return Result(
        _runner(con, with_derived(query.sql) if narrowed else query.sql, bound, timeout),
        analysis_function(query.then, bound) if query.then else None,
        title=selection.title,
        notes=list(selection.notes),
    )


def _name_runs(store: Store, query: queries.Query, bound: dict[str, Any]) -> tuple[str, ...]:
    """Put the whole id into each parameter that names a run, and give these ids: they are the runs that answer."""
    names = [parameter.name for parameter in query.parameters if parameter.kind == "run"]
    given = [name for name in names if bound[name] is not None]
    if given and given != names:
        raise UsageError(
            f"query {query.name} compares runs: give {' and '.join(f'--{name}' for name in names)}, or neither"
        )
    for name in given:
        bound[name] = find_run_id(store, bound[name])
    ids = tuple(bound[name] for name in given)
    if len(set(ids)) < len(ids):
        raise UsageError(f"{' and '.join(f'--{name}' for name in names)} are both run {ids[0]}: name two")
    return ids


def _runner(
    con: duckdb.DuckDBPyConnection, sql: str, bound: Mapping[str, Any], timeout: float
) -> Callable[[Fetch], Any]:
    """What runs the statement and fetches its rows, both within the time limit."""

    def run(fetch: Fetch) -> Any:
        try:
            with time_limit(con, timeout):
                return fetch(lambda put: execute(con, put(sql), bound))
        except duckdb.Error as error:
            raise UsageError(first_line(error)) from error

    return run


def _check_header(con: duckdb.DuckDBPyConnection, query: queries.Query) -> None:
    """DataError if the header's parameters are not those that DuckDB finds in the SQL."""
    where = f"queries/{query.name}.sql"
    try:
        statements = con.extract_statements(query.sql)
    except duckdb.Error as error:
        raise DataError(f"{where}: {first_line(error)}") from error
    if len(statements) != 1:
        raise DataError(f"{where} holds {len(statements)} statements: one question is one statement")
    declared, used = {p.name for p in query.parameters}, set(statements[0].named_parameters)
    if declared != used:
        differing = ", ".join(sorted(declared ^ used))
        raise DataError(f"{where}: header and SQL do not agree on the parameters ({differing})")


def analysis_function(name: str, bound: Mapping[str, Any] | None = None) -> Callable[..., Any]:
    """The function of `milstore.analysis` that a header names as module.function."""
    module, _, function = name.partition(".")
    found: Callable[..., Any] = getattr(importlib.import_module(f"milstore.analysis.{module}"), function)
    return found if bound is None else (lambda table: found(table, **bound))


def ask_sql(store: Store, sql: str, *, timeout: float = DEFAULT_TIMEOUT) -> Result:
    """Answer one statement of anybody's SQL in the sandbox. UsageError for one that is wrong or does more than read."""
    con = connect_locked(store)
    with time_limit(con, timeout):
        check_foreign(con, sql)
    return Result(_runner(con, sql, {}, timeout))
