"""The views of milstore.duckdb, which find the Parquet files beside the very file that was opened.

DuckDB tells where that is in one way only: `temp_directory` is the path of the opened file with `.tmp` after it, and is
put into a view when the view is used. So a store that was moved, copied or linked answers for itself. Where a file is
attached to another, or `temp_directory` was set, the place is not known: then a view fails, and its message says what
to do, since it must never answer from another store.
"""

from collections.abc import Collection
from typing import Any

import duckdb

from milstore.schema.columns import Columns, columns, derived_texts
from milstore.store.paths import NO_RUN, RUN_FOLDER, Store
from milstore.store.run_reader import FURTHER, RUN_FILE
from milstore.store.sql_text import escape_glob, identifier, literal
from milstore.store.views import IS_RUN, RUN_OF_FILE, chosen_columns, pack_folders, runs_columns

STAMP_TABLE = "milstore_catalog"
"""The table that says what the tables of a milstore.duckdb were made from."""
_FOLDER = r"""(
    case
        when parse_filename(current_setting('temp_directory')) = 'milstore.duckdb.tmp'
            then regexp_replace(
                regexp_replace(current_setting('temp_directory'), '[^/]*$', ''), '([*?\[])', '[\1]', 'g'
            )
        else '/{open milstore.duckdb itself, without ATTACH; if temp_directory was set: reset temp_directory}/'
    end
)"""
"""SQL for the folder of the opened file, as a pattern that fits it alone: empty, or with a slash at its end."""
_ONE_STORE = f"""(
    select case when count(distinct database_oid) = 1 then true else error('more than one store is open: open each by itself') end
    from duckdb_tables()
    where schema_name = 'main' and table_name = {literal(STAMP_TABLE)}
)"""
"""SQL that is true, or an error if stores are attached to one another: the views of all would answer for the first."""


def cohort_shell_views(manifest: dict[str, Any], leave_out: Collection[str]) -> list[str]:
    """Views over tables of the cohort: those not left out, and those of the store's own that the schema does not know."""
    entries, known = manifest["tables"], columns("cohort")
    views = [
        _view(name, chosen_columns(name, of, manifest["version"]), _parquet([entries[name]["file"]]))
        if name in entries
        else _view(name, _chosen(of), _nothing(of))
        for name, of in known.items()
        if name not in leave_out
    ]
    return [*views, *(_view(name, "*", _parquet([entries[name]["file"]])) for name in unknown_tables(manifest))]


def unknown_tables(manifest: dict[str, Any]) -> list[str]:
    """Tables of the store's own that the schema does not know."""
    return [name for name in manifest["tables"] if name not in columns("cohort")]


def feature_shell_views(con: duckdb.DuckDBPyConnection, store: Store, manifest: dict[str, Any]) -> list[str]:
    """Which patches have features, over the packs that the cohort names."""
    of = columns("features")["features"]
    folders = pack_folders(con, store, manifest)
    if not folders:
        return [_view("features", _chosen(of), _nothing(of))]
    return [_view("features", _chosen(of), _parquet([f"{folder}/rows.parquet" for folder in folders]))]


def run_shell_views(store: Store) -> list[str]:
    """The runs' tables, over every finished run there is when they are asked, and what is derived from them."""
    views = []
    for name, of in columns("run").items():
        if name in FURTHER and not (store.run_folder(NO_RUN) / f"{name}.parquet").is_file():
            # A store of version 1, in which a pattern would fit nothing, which is an error.
            views.append(_view(name, _chosen(of), _nothing(of)))
            continue
        own = [column for column in of if column != "run_id"]
        rest = runs_columns(own) if name == "runs" else ", ".join(map(identifier, own))
        views.append(_view(name, f"{RUN_OF_FILE} as run_id, {rest}", _runs(name, of), f"{IS_RUN} and "))
    return [*views, *derived_texts()]


def _runs(name: str, of: Columns) -> str:
    options = "hive_partitioning = false, filename = true"
    if name != "runs":
        return f"read_parquet({_of_all_runs(f'{name}.parquet')}, {options})"
    struct = ", ".join(f"{identifier(column)}: {literal(kind)}" for column, kind in of.items() if column != "run_id")
    return f"read_json({_of_all_runs(RUN_FILE)}, columns = {{{struct}}}, format = 'auto', {options})"


def _of_all_runs(file: str) -> str:
    """SQL for the files of every run: the placeholder's first, since DuckDB takes the columns from the first file."""
    placeholder, runs = _beside(f"runs/{RUN_FOLDER}{NO_RUN}/{file}"), f"runs/{RUN_FOLDER}*/{file}"
    return f"[{placeholder}, {_beside(runs, pattern=True)}]"


def _beside(path: str, *, pattern: bool = False) -> str:
    """SQL for a path below the folder of the opened file."""
    return f"{_FOLDER} || {literal(path if pattern else escape_glob(path))}"


def _parquet(files: list[str]) -> str:
    return f"read_parquet([{', '.join(_beside(file) for file in files)}], hive_partitioning = false)"


def _chosen(of: Columns) -> str:
    return ", ".join(identifier(column) for column in of)


def _nothing(of: Columns) -> str:
    return f"(select {', '.join(f'null::{kind} as {identifier(column)}' for column, kind in of.items())} where false)"


def _view(name: str, chosen: str, source: str, condition: str = "") -> str:
    return f"create view {identifier(name)} as select {chosen} from {source} where {condition}{_ONE_STORE};"
