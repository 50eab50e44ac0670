"""Makes a milstore.duckdb from the Parquet files and the schema alone."""

from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb

from milstore.processors import SMALL_TABLE
from milstore.schema.columns import DERIVED, MACROS, TABLE_MACROS, columns, view_text
from milstore.store.paths import Store
from milstore.store.shell_views import (
    STAMP_TABLE,
    cohort_shell_views,
    feature_shell_views,
    run_shell_views,
    unknown_tables,
)
from milstore.store.sql_text import escape_glob, identifier, literal
from milstore.store.views import chosen_columns, no_progress_bar

LARGEST_TABLE = 1_000_000
"""Rows up to which the patches are copied into a table; above, they stay a view over the Parquet file."""


def own_names(manifest: dict[str, Any]) -> set[str]:
    """Names of everything milstore puts into the file, in lower case: DuckDB ignores case in names."""
    groups = (name for group in ("cohort", "features", "run") for name in columns(group))
    return {
        name.lower() for name in (STAMP_TABLE, *DERIVED, *MACROS, *TABLE_MACROS, *groups, *unknown_tables(manifest))
    }


def own_tables() -> set[str]:
    """Names of what may be a table with rows of its own in the file that milstore makes."""
    return {STAMP_TABLE, *columns("cohort")}


def build(store: Store, path: Path, stamp: dict[str, Any]) -> None:
    """Make the file, which must not exist yet.

    Raises:
        duckdb.Error: a Parquet file is missing or damaged, or the disk is full.
    """
    manifest = store.manifest()
    # The oldest format that the shells in use can read.
    config: dict[str, Any] = {"storage_compatibility_version": "v1.2.0"}
    if _patches(manifest) <= SMALL_TABLE:
        config["threads"] = 1
    with closing(duckdb.connect(str(path), config=config)) as con:
        no_progress_bar(con)
        con.execute("begin transaction")
        _stamp(con, stamp)
        copied = _copied(manifest)
        con.execute(view_text("catalog"))
        if "patches" in copied:
            con.execute(view_text("catalog_patches"))
        # The views are tried when they are made: let them see the place at which the file will be opened.
        con.execute(f"set temp_directory = {literal(f'{store.database}.tmp')}")
        views = [
            *cohort_shell_views(manifest, leave_out=copied),
            *feature_shell_views(con, store, manifest),
            *run_shell_views(store),
        ]
        # One statement at a time: a batch is planned whole, before its first view exists.
        for view in views:
            con.execute(view)
        con.execute(view_text("view_comments"))
        # Nothing has been spilled so far, and what will be goes beside the new file.
        con.execute(f"set temp_directory = {literal(f'{path}.tmp')}")
        _rows(con, store, manifest, copied)
        con.execute("commit")


def _copied(manifest: dict[str, Any]) -> list[str]:
    """The cohort's tables that are copied, in an order that satisfies their keys."""
    large = _patches(manifest) > LARGEST_TABLE
    return [name for name in columns("cohort") if name != "patches" or not large]


def _patches(manifest: dict[str, Any]) -> int:
    """How many there are."""
    return int(manifest["tables"].get("patches", {"rows": 0})["rows"])


def _stamp(con: duckdb.DuckDBPyConnection, stamp: dict[str, Any]) -> None:
    con.execute(f"create table {STAMP_TABLE} (fingerprint varchar, version integer, layout integer)")
    row = f"{literal(stamp['fingerprint'])}, {int(stamp['version'])}, {int(stamp['layout'])}"
    con.execute(f"insert into {STAMP_TABLE} values ({row})")
    con.execute(f"comment on table {STAMP_TABLE} is 'Which state of the store the tables of this file were made from.'")


def _rows(con: duckdb.DuckDBPyConnection, store: Store, manifest: dict[str, Any], copied: list[str]) -> None:
    for name in copied:
        if name in manifest["tables"]:
            of = columns("cohort")[name]
            into, chosen = ", ".join(map(identifier, of)), chosen_columns(name, of, manifest["version"])
            path = literal(escape_glob(f"{store.root}/{manifest['tables'][name]['file']}"))
            rows = f"select {chosen} from read_parquet({path}, hive_partitioning = false)"
            con.execute(f"insert into {identifier(name)} ({into}) {rows}")
