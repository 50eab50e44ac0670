"""milstore.duckdb: the store as people's shells, notebooks and other tools see it.

It is refreshed in place and in one transaction, so that an open shell, its write-ahead log and people's own tables
survive. Where somebody holds the file, the refresh is put off; the next command that can does it.
"""

import json
import os
from collections.abc import Collection
from contextlib import closing
from typing import Any

import duckdb

from milstore.schema import SCHEMA_VERSION
from milstore.schema.columns import DERIVED, columns, references, view_text
from milstore.store.files import write_json
from milstore.store.folder import Store
from milstore.store.lens import cohort_views, feature_views, identifier, literal, run_views

LARGEST_TABLE = 1_000_000
"""Rows up to which the patches are copied into a table; above, they stay a view over the Parquet file."""
_OWN = "milstore_catalog"


def wanted_stamp(store: Store) -> dict[str, Any]:
    """What a database that is up to date would be made from."""
    return {"fingerprint": store.manifest()["fingerprint"], "root": str(store.root), "version": SCHEMA_VERSION}


def is_behind(store: Store) -> bool:
    """Whether the database was made from another cohort, at another place or by another schema."""
    try:
        stamp = json.loads(_stamp_path(store).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True
    return bool(stamp != wanted_stamp(store)) or not store.database.is_file()


def _stamp_path(store: Store) -> Any:
    return store.manifest_path.parent / "catalog.json"


def made_from(store: Store) -> dict[str, Any] | None:
    """What the database itself says it was made from; None if it cannot be read, or is not milstore's."""
    if not store.database.is_file():
        return None
    try:
        with closing(duckdb.connect(str(store.database), read_only=True)) as con:
            rows = con.execute(f"select fingerprint, root, version from {_OWN}").fetchall()
    except duckdb.Error:
        return None
    return dict(zip(("fingerprint", "root", "version"), rows[0], strict=True)) if rows else None


def refresh(store: Store, anew: Collection[str] = ()) -> list[str]:
    """Bring milstore.duckdb up to date, if it is behind and nobody holds it. Returns what the user should know.

    Tables `anew` are copied again even if they hold what they held: the copy may be of a file that was damaged.
    """
    if not (anew or is_behind(store)) or not _may_write(store):
        return []
    stamp = wanted_stamp(store)
    try:
        # The oldest format that the shells in use can read.
        with closing(duckdb.connect(str(store.database), config={"storage_compatibility_version": "v1.2.0"})) as con:
            _rebuild(con, store, stamp, anew)
        write_json(_stamp_path(store), stamp)
    except (duckdb.IOException, PermissionError) as error:
        import logging

        logging.getLogger("milstore").debug("refresh put off: %s", error)
        return [f"{store.database.name} is in use elsewhere: it will be brought up to date by a later command"]
    except (duckdb.Error, OSError) as error:
        return [f"{store.database} could not be brought up to date ({str(error).splitlines()[0]}): run milstore doctor"]
    return []


def _may_write(store: Store) -> bool:
    """Whether this user may refresh; a colleague who only reads is not told of what is not theirs to do."""
    return os.access(store.database if store.database.exists() else store.root, os.W_OK)


def _rebuild(con: duckdb.DuckDBPyConnection, store: Store, stamp: dict[str, Any], anew: Collection[str]) -> None:
    manifest = store.manifest()
    copied = _copied(manifest)
    contents = {name: manifest["tables"].get(name, {}).get("content") for name in copied}
    kept = _kept(con, contents, stamp["version"]) & _untouched(con, manifest) - set(anew)
    # A table is made anew with what it refers to, for what others refer to cannot be dropped.
    while loose := {name for name in kept if not {to.table for to in references(name)} <= kept}:
        kept -= loose
    con.execute("begin transaction")
    _drop_own(con, kept)
    con.execute(view_text("catalog"))
    if "patches" in copied:
        con.execute(view_text("catalog_patches"))
    # One statement at a time: a batch is planned whole, before its first view exists.
    for view in [*cohort_views(store, manifest, leave_out=copied), *feature_views(store, manifest), *run_views(store)]:
        con.execute(view)
    for name in copied:
        if name in manifest["tables"] and name not in kept:
            chosen = ", ".join(identifier(column) for column in columns("cohort")[name])
            path = literal(f"{store.root}/{manifest['tables'][name]['file']}")
            con.execute(f"insert into {identifier(name)} ({chosen}) select {chosen} from read_parquet({path})")
    con.execute(view_text("view_comments"))
    con.execute(
        f"create or replace table {_OWN} (fingerprint varchar, root varchar, version integer, contents varchar)"
    )
    own = f"{literal(stamp['fingerprint'])}, {literal(stamp['root'])}, {stamp['version']}, {literal(json.dumps(contents))}"
    con.execute(f"insert into {_OWN} values ({own})")
    con.execute(f"comment on table {_OWN} is 'Which state of the store the tables of this file were made from.'")
    con.execute("commit")


def _copied(manifest: dict[str, Any]) -> list[str]:
    """The cohort's tables that are copied, in an order that satisfies their keys."""
    rows = manifest["tables"].get("patches", {"rows": 0})["rows"]
    return [name for name in columns("cohort") if name != "patches" or rows <= LARGEST_TABLE]


def _kept(con: duckdb.DuckDBPyConnection, contents: dict[str, str | None], version: int) -> set[str]:
    """The tables that need not be made anew, as an earlier refresh put the same into them.

    A large patch table takes longer to copy than all else that a refresh does, and most commands leave it as it was.
    """
    try:
        rows = con.execute(f"select contents from {_OWN} where version = {version}").fetchall()
    except duckdb.Error:
        return set()
    before = json.loads(rows[0][0]) if rows else {}
    return {name for name, content in contents.items() if name in before and before[name] == content}


def _untouched(con: duckdb.DuckDBPyConnection, manifest: dict[str, Any]) -> set[str]:
    """The tables that still have their columns, and as many rows as they got: a shell may have dropped or emptied one."""
    found: dict[str, list[str]] = {}
    for table, column in con.execute(
        "select table_name, column_name from duckdb_columns() where schema_name = 'main' "
        "and table_oid in (select table_oid from duckdb_tables()) order by table_name, column_index"
    ).fetchall():
        found.setdefault(table, []).append(column)

    def rows(name: str) -> int:
        count: int = con.execute(f"select count(*) from {identifier(name)}").fetchall()[0][0]
        return count

    return {
        name
        for name, wanted in columns("cohort").items()
        if found.get(name) == list(wanted) and rows(name) == manifest["tables"].get(name, {"rows": 0})["rows"]
    }


def _drop_own(con: duckdb.DuckDBPyConnection, kept: set[str]) -> None:
    """Drop what an earlier refresh made, but for the tables that are `kept`, and nothing of the user's."""
    present = con.execute("select table_name, table_type from information_schema.tables where table_schema = 'main'")
    kinds = dict(present.fetchall())
    ours = [*columns("run"), *columns("features"), *DERIVED, *reversed(columns("cohort"))]
    if kinds and _OWN not in kinds and set(ours) & set(kinds):
        raise duckdb.Error("it holds tables of these names that milstore did not make")
    # Views first: what they were made over may go.
    for name in sorted((n for n in ours if n in kinds and n not in kept), key=lambda n: kinds[n] != "VIEW"):
        con.execute(f"drop {'view' if kinds[name] == 'VIEW' else 'table'} {identifier(name)}")
