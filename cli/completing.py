"""Shell completion of options: the runs, experiments, cases and stains of the store."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import typer

from milstore.errors import MilstoreError
from milstore.store.paths import Store, default_root, open_store

Offer = Callable[[typer.Context, str], list[str]]


def _offers(names: Callable[[Store], Iterable[str]]) -> Offer:
    """A completion function for these names.

    Nothing where there is no store, or one that cannot be read: nobody wants an error in the middle of a line.
    """

    def offer(ctx: typer.Context, incomplete: str) -> list[str]:
        try:
            known = list(names(open_store(_root(ctx))))
        except (MilstoreError, OSError, ValueError):
            return []
        return [name for name in known if name.startswith(incomplete)]

    return offer


def _root(ctx: Any) -> Path:
    """The folder of the store that the line names before the word."""
    while ctx is not None:
        if ctx.params.get("store"):
            return Path(ctx.params["store"])
        ctx = ctx.parent
    return default_root()


def _finished(store: Store) -> list[str]:
    from milstore.store.run_reader import run_ids

    return run_ids(store)


def _unfinished(store: Store) -> list[str]:
    from milstore.store.run_writer import list_drafts

    return [draft.run_id for draft in list_drafts(store)]


def _experiments(store: Store) -> list[str]:
    from milstore.store.run_reader import PREDICTION, read_run, run_ids

    facts = [read_run(store, run_id) for run_id in run_ids(store)]
    return sorted({str(run.get("experiment")) for run in facts if run.get("kind") != PREDICTION})


def _predictions(store: Store) -> list[str]:
    from milstore.store.prediction_runs import predictions

    return list(predictions(store))


def _column(table: str, column: str, order: str) -> Callable[[Store], list[str]]:
    def names(store: Store) -> list[str]:
        import duckdb

        from milstore.store.views import connect_bare, rows_of_cohort

        con = connect_bare()
        try:
            found = con.execute(f"select {column} from {rows_of_cohort(store, table)} order by {order}").fetchall()
        except duckdb.Error:
            return []
        finally:
            con.close()
        return [name for (name,) in found]

    return names


def groupings(ctx: typer.Context, incomplete: str) -> list[str]:
    """What a question may be asked by: attributes of cases, and scores of the runs that the line names before the word."""
    attributes = _offers(_column("case_attributes", "distinct name", "name"))(ctx, incomplete)
    return attributes + [
        name for name in _offers(lambda store: _scores(store, ctx))(ctx, incomplete) if name not in attributes
    ]


def _scores(store: Store, ctx: typer.Context) -> Iterable[str]:
    from milstore import queries
    from milstore.asking.by_name import scores_of_choice
    from milstore.asking.selection import Choice

    query = queries.load(ctx.info_name or "", store.queries)
    if not query.takes_scores:
        return ()
    run, experiment, split, seed, prediction = map(ctx.params.get, ("run", "experiment", "split", "seed", "prediction"))
    choice = Choice(run=run, experiment=experiment, split=split, seed=seed, prediction=prediction)
    return scores_of_choice(store, query, choice)


finished_runs = _offers(_finished)
unfinished_runs = _offers(_unfinished)
all_runs = _offers(lambda store: [*_finished(store), *_unfinished(store)])
experiments = _offers(_experiments)
predictions = _offers(_predictions)
cases = _offers(_column("cases", "case_id", "case_order"))
stains = _offers(_column("stains", "stain", "stain_order"))
