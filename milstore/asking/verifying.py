"""Before a question is asked: the files that it will read are compared with what was stored."""

from collections.abc import Iterable, Iterator, Sequence

import duckdb

from milstore.schema.columns import columns
from milstore.store.derived_views import mentions, whole_text
from milstore.store.paths import Store
from milstore.store.run_reader import run_ids
from milstore.store.verified import ADVICE_ASKING, Expected, files_of_cohort, files_of_packs, files_of_runs, verify
from milstore.store.views import pack_folders

_ALWAYS = ("runs", "predictions")
"""What is read of each run to tell which answers."""


def verify_read(con: duckdb.DuckDBPyConnection, store: Store, sql: str, runs: Iterable[str] | None) -> list[str]:
    """Compare the files of all tables that a statement mentions, by itself or through views.

    Args:
        con: a connection with which the store may be read.
        store: the store; only the kind of each file is looked at if its `verify` is False.
        sql: the statement.
        runs: the runs whose tables it reads; None for all.

    Returns:
        A line that says how long it took, where that is long.

    Raises:
        StoreError: a file is another than was stored, or cannot be read.
    """
    return verify(store, _files(con, store, whole_text(sql), runs), advice=ADVICE_ASKING)


def _files(con: duckdb.DuckDBPyConnection, store: Store, text: str, runs: Iterable[str] | None) -> Iterator[Expected]:
    manifest = store.manifest()
    needed = {"cases", *(("encoders", "packs") if mentions(text, "features") else ())}
    yield from files_of_cohort(store, [name for name in manifest["tables"] if name in needed or mentions(text, name)])
    if mentions(text, "features"):
        yield from files_of_packs(store, pack_folders(con, store, manifest))
    tables = [name for name in columns("run") if mentions(text, name)]
    if tables:
        yield from files_of_runs(store, run_ids(store) if runs is None else runs, {*tables, *_ALWAYS})


def named_runs(store: Store, sql: str) -> Sequence[str] | None:
    """The runs whose ids a statement names; None if it names none, and so may read them all."""
    return [run_id for run_id in run_ids(store) if run_id in sql] or None
