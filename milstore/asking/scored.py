"""Questions by a score: signed numbers that a run gave to patches and that are no attention, such as class activations."""

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

import duckdb

from milstore import queries
from milstore.errors import UsageError
from milstore.store.names import clip, named
from milstore.store.paths import Store
from milstore.store.views import rows_of_runs


def score_names(con: duckdb.DuckDBPyConnection, store: Store, run_ids: Iterable[str]) -> tuple[str, ...]:
    """Names of the scores that these runs have, in the order of the alphabet."""
    rows = rows_of_runs(store, list(run_ids), "scores")
    return tuple(name for (name,) in con.execute(f"select distinct name from {rows} order by name").fetchall())


def as_asked(query: queries.Query, score: str, values: Mapping[str, Any]) -> tuple[queries.Query, dict[str, Any]]:
    """A question as it is asked by a score, with its parameters.

    A parameter that is as usual for attention is left to what is usual for scores.

    Raises:
        UsageError: the question cannot be asked by a score, or not with one of these parameters.
    """
    refuse_others(query, score)
    asked = queries.by_score(query.name)
    usual = {parameter.name: parameter.default for parameter in query.parameters}
    takes = {parameter.name for parameter in asked.parameters}
    given = {
        name: value
        for name, value in values.items()
        if name not in usual or (value is not None and value != usual[name])
    }
    for name in given:
        if name in usual and name not in takes:
            raise UsageError(
                f"{query.name} by a score takes no --{name.replace('_', '-')}: a score is a signed number, and has no share"
            )
    return asked, {**given, "score": score}


def refuse_others(query: queries.Query, score: str) -> None:
    """UsageError, which names those that can, for a question that cannot be asked by a score."""
    if not query.takes_scores:
        raise UsageError(
            f"--by {clip(score)!r}: {query.name} cannot go by a score of patches; {named(queries.names_by_score())} can"
        )


def require_score(con: duckdb.DuckDBPyConnection, store: Store, run_ids: list[str], score: str) -> None:
    """UsageError if none of the runs that answer has a score."""
    names = score_names(con, store, run_ids)
    if score not in names:
        whose = f"run {run_ids[0]} has" if len(run_ids) == 1 else f"none of the runs {named(run_ids)} has"
        has = f"its scores are {named(names)}" if len(run_ids) == 1 else f"their scores are {named(names)}"
        what = f"score {clip(score)!r}: {has}" if names else "score of patches: leave out --by"
        raise UsageError(f"{whose} {'no ' if len(run_ids) == 1 else ''}{what}")


def instead_of_attention(con: duckdb.DuckDBPyConnection, store: Store, run_id: str, *, takes_scores: bool) -> str:
    """What a run without attention has instead, in words, and how it is asked; empty if it has nothing.

    Args:
        con: a connection with which the store may be read.
        store: the store.
        run_id: the run.
        takes_scores: whether the question that was asked can go by a score.
    """
    names = score_names(con, store, [run_id])
    if not names:
        return ""
    by = f"--by {shlex.quote(names[0])}"
    how = f"{by} asks by one" if takes_scores else f"milstore query top-patches --run {run_id} {by} asks by one"
    return f"; its scores ({named(names)}) are no attention: {how}"
