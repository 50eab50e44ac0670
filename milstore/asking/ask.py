"""Asking: a question by its name, or SQL of one's own, and the answer."""

import importlib
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar

import duckdb

from milstore import queries
from milstore.asking.asked import Asked
from milstore.asking.checking import check_foreign, first_line, sql_error
from milstore.asking.partial import Needs
from milstore.asking.result import Result
from milstore.asking.sandbox import lock_down
from milstore.asking.scored import as_asked
from milstore.asking.selection import Choice, Selection, known_cases, select
from milstore.asking.time_limit import DEFAULT_TIMEOUT, time_limit
from milstore.asking.verifying import named_runs, verify_read
from milstore.asking.walled import Walled
from milstore.errors import DataError, MilstoreError, UsageError
from milstore.store.broken_files import broken, named_file, reading
from milstore.store.derived_views import mentions, with_derived
from milstore.store.paths import Store
from milstore.store.run_reader import find_run_id
from milstore.store.sql_text import set_variables, with_variables
from milstore.store.views import connect, connect_bare, narrow, put_cohort, view_statements, widen

T = TypeVar("T")
_CHOICE = ("run", "experiment", "split", "seed", "subset", "prediction")
"""What a choice says of the run that answers, beside its cases."""


def connect_locked(store: Store, sql: str | None = None) -> duckdb.DuckDBPyConnection:
    """A connection with the views of the store, which can do nothing but read the store.

    With `sql` it is made for that statement alone, and `narrow` must say of which runs.
    """
    if sql is not None:
        con = _locked_database(store, os.getpid()).cursor()
        put_cohort(con, store, sql)
        return con
    con = connect(store)
    lock_down(con, store)
    return con


def connect_walled(store: Store) -> Walled:
    """A connection like that of `connect_locked`, in a thread that has given up writing: for SQL that others wrote."""

    def make() -> duckdb.DuckDBPyConnection:
        con = connect_bare()
        _give_views(con, store)
        return con

    return Walled(make)


def _give_views(con: duckdb.DuckDBPyConnection, store: Store, tables: Collection[str] | None = None) -> None:
    """Give a connection the views, or those of them that these tables need, and take everything else from it."""
    generation = store.manifest()["generation"]
    try:
        con.execute(view_statements(con, store, tables))
    except duckdb.IOException:
        # A generation's files are kept until the one after the next: ingests in quick succession overtake us.
        if store.manifest()["generation"] == generation:
            raise
        _give_views(con, store, tables)
    else:
        lock_down(con, store)


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
    query = queries.load(name, store.queries)
    if choice is not None and choice.score is not None:
        query, values = as_asked(query, choice.score, values or {})
    return ask_query(store, query, choice, values, timeout=timeout, con=con)


def ask_query(
    store: Store,
    query: queries.Query,
    choice: Choice | None = None,
    values: Mapping[str, Any] | None = None,
    *,
    timeout: float = DEFAULT_TIMEOUT,
    con: duckdb.DuckDBPyConnection | None = None,
) -> Result:
    """Ask a question that was read, such as one of an export, which has no name. Arguments and errors are those of `ask`."""
    choice = choice or Choice()
    with reading(store):
        result = _ask(store, query, choice, values, timeout, con)
        own_word = "prediction" in [parameter.name for parameter in query.parameters]
        if choice.prediction is None or own_word:
            return result
        # It imports numpy, which no other answer needs.
        from milstore.asking.predicted import of_prediction

        def internal(experiment: str) -> Result:
            return _ask(store, query, Choice(experiment=experiment), values, timeout, None)

        # Beside some cases that are asked for, or a group of them, a whole internal test says nothing.
        return of_prediction(
            store, choice.prediction, query, result, None if choice.cases or choice.group else internal
        )


def _ask(
    store: Store,
    query: queries.Query,
    choice: Choice,
    values: Mapping[str, Any] | None,
    timeout: float,
    con: duckdb.DuckDBPyConnection | None,
) -> Result:
    """`ask`, with the errors of DuckDB as they come."""
    values = dict(values or {})
    choice = _own_words(query, choice, values)
    # What milstore asks itself looks only at the runs that were selected.
    narrowed = not mentions(query.sql, "out_of_fold")
    if query.built_in:
        con = _made_ready(con, store, query.sql if narrowed else None)
    if query.wants_case:
        if len(choice.cases) != 1:
            raise UsageError(f"query {query.name} is about one case: give --case once")
        (values["case"],) = known_cases(con or connect_bare(), store, choice.cases)
    bound = query.bind(values)
    compared = _name_runs(store, query, bound)

    def choose(con: duckdb.DuckDBPyConnection) -> Selection:
        return select(
            con,
            store,
            choice,
            over_runs=query.over_runs,
            over_tests=query.over_tests,
            over_repeats=query.over_repeats,
            over_experiments=query.over_experiments,
            compared=compared,
            needs_attention=query.needs_attention,
            needs_coverage=query.needs_coverage,
            needs=Needs(
                name=query.name,
                reads=query.reads_attention,
                of=query.needs,
                optional=not query.needs_attention,
                takes_scores=query.takes_scores,
                values=bound,
            ),
        )

    if not query.built_in or con is None:
        return _ask_foreign(store, query, bound, timeout, choose)
    selection = choose(con)
    if narrowed:
        narrow(con, store, query.sql, selection.answering, selection.cases, selection.hidden)
    told = verify_read(con, store, query.sql, selection.runs if narrowed else None)
    with time_limit(con, timeout):
        _check_header(con, query)
    return Result(
        _runner(store, con, with_derived(query.sql) if narrowed else query.sql, bound, timeout),
        analysis_function(query.then, bound) if query.then else None,
        analysis_function(query.told) if query.told else None,
        analysis_function(query.answer) if query.answer else None,
        title=selection.title,
        notes=[*selection.notes, *told],
        run_names=selection.run_names,
        shown=query.shown,
    )


def _made_ready(con: duckdb.DuckDBPyConnection | None, store: Store, sql: str | None) -> duckdb.DuckDBPyConnection:
    """A connection for a question of milstore's own."""
    if con is None:
        return connect_locked(store, sql)
    widen(con)
    return con


def _own_words(query: queries.Query, choice: Choice, values: dict[str, Any]) -> Choice:
    """The choice without the words that are the question's own parameters, such as `seed`: these go into the values."""
    own = [parameter.name for parameter in query.parameters if parameter.name in _CHOICE]
    for name in own:
        if getattr(choice, name) is not None:
            values.setdefault(name, getattr(choice, name))
    without: dict[str, Any] = dict.fromkeys(own)
    return replace(choice, **without) if own else choice


def _ask_foreign(
    store: Store,
    query: queries.Query,
    bound: Mapping[str, Any],
    timeout: float,
    choose: Callable[[duckdb.DuckDBPyConnection], Selection],
) -> Result:
    """The answer to a group's own question, which may look at any run, and is run like any foreign SQL."""
    walled = connect_walled(store)
    # Checked is what will run: the text with variables in the place of its parameters.
    text = with_variables(query.sql, bound)

    def prepare(con: duckdb.DuckDBPyConnection) -> Selection:
        selection = choose(con)
        _check_header(con, query)
        check_foreign(con, text)
        told = verify_read(con, store, text, None)
        set_variables(con, bound)
        return replace(selection, notes=[*selection.notes, *told])

    selection = _prepare(walled, timeout, prepare)
    return Result(
        _walled_runner(store, walled, text, timeout),
        title=selection.title,
        notes=list(selection.notes),
        run_names=selection.run_names,
        shown=query.shown,
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


def _runner(store: Store, con: duckdb.DuckDBPyConnection, sql: str, bound: Mapping[str, Any], timeout: float) -> Asked:
    """The statement of a question of milstore's own."""

    def text(con: duckdb.DuckDBPyConnection, put: Callable[[str], str]) -> str:
        set_variables(con, bound)
        return with_variables(put(sql), bound)

    return Asked(con, timeout, lambda work: work(con), text, lambda error: _refused(store, error, own=True))


def _prepare(walled: Walled, timeout: float, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
    """Prepare a connection for a question. The connection is closed if this fails."""
    try:
        with time_limit(walled, timeout):
            return walled.do(work)
    except BaseException:
        walled.close()
        raise


def _walled_runner(store: Store, walled: Walled, text: str, timeout: float) -> Asked:
    """A statement that was checked and is run unchanged, in a thread that cannot write files."""

    def checked(con: duckdb.DuckDBPyConnection, put: Callable[[str], str]) -> str:
        # Fetching may ask for some columns as text: what runs then is another text, and is checked too.
        if put(text) != text:
            check_foreign(con, put(text))
        return put(text)

    return Asked(walled, timeout, walled.do, checked, lambda error: _refused(store, error, own=False))


def _refused(store: Store, error: duckdb.Error, *, own: bool) -> MilstoreError:
    """The error that is raised in place of one of DuckDB: it names the file, where a broken one is the cause."""
    # A question of milstore's own fits every store whose files are whole.
    if named_file(store, str(error)) is not None or (
        own and isinstance(error, duckdb.BinderException | duckdb.ConversionException)
    ):
        return broken(store, error)
    return UsageError(first_line(error)) if own else sql_error(error)


def _check_header(con: duckdb.DuckDBPyConnection, query: queries.Query) -> None:
    """DataError if the header's parameters are not those that DuckDB finds in the SQL."""
    where = f"queries/{query.name}.sql"
    try:
        statements = con.extract_statements(query.sql)
    except duckdb.Error as error:
        said = sql_error(error)
        refused = DataError(f"{where}: {said}")
        for note in getattr(said, "__notes__", ()):
            refused.add_note(note)
        raise refused from error
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

    def prepare(con: duckdb.DuckDBPyConnection) -> list[str]:
        tables = check_foreign(con, sql, store.manifest()["tables"])
        # Before the views, which DuckDB tries when they are made.
        told = verify_read(con, store, sql, named_runs(store, sql))
        # Making all views takes longer than most answers.
        _give_views(con, store, tables)
        return told

    walled = Walled(connect_bare)
    with reading(store):
        told = _prepare(walled, timeout, prepare)
    return Result(_walled_runner(store, walled, sql, timeout), notes=told)
