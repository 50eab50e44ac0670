"""The views of the store: an in-memory DuckDB connection in which each table of the schema is a view over Parquet files.

It takes no lock and waits for nobody. The cohort's views are of one generation; a run's are over all finished runs.
"""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import duckdb

from milstore.schema import SCHEMA_VERSION
from milstore.schema.columns import MACROS, TABLE_MACROS, Columns, columns, columns_of_version, derived_texts, view_text
from milstore.store.derived_views import mentions, needed_views, table_macro, whole_text
from milstore.store.paths import NO_RUN, ROWS, RUN_FOLDER, Store
from milstore.store.plain import refuse_unless_plain
from milstore.store.run_reader import FURTHER, RUN_FILE, RUN_ID, run_ids
from milstore.store.sql_text import escape_glob, identifier, literal, path_literal

_MEANT = {("patches", "unit"): "case when x is not null then 'slice' end"}
"""SQL of columns that had a meaning before they were there: version 1 knew coordinates on slices alone."""
_IMPORTED = """contains(config, '"imported": true')"""
_RUNS_OF_VERSION_1 = {
    "config_version": "coalesce(config_version, 1)",
    "schema_version": "coalesce(schema_version, 1)",
    "model": f"case when schema_version is null and not {_IMPORTED} then 'hierarchical' else model end",
    "kind": f"coalesce(kind, case when {_IMPORTED} then 'imported' else 'training' end)",
    "attention": "coalesce(attention, 'levels')",
}
"""SQL of what runs of version 1 do not say, as `read_run` reads it."""
# By its name, not by DuckDB's keys of folders: a folder above the store that is called `split=2` would be one too. These
# functions, unlike a regular expression, let DuckDB leave out the files of other runs soon.
_OWN_FOLDER = "parse_filename(parse_dirpath(filename, 'forward_slash'), false, 'forward_slash')"
RUN_OF_FILE = f"substr({_OWN_FOLDER}, {len(RUN_FOLDER) + 1})"
"""SQL for the run that a row is of, from the folder that its file lies in (`filename = true`)."""
IS_RUN = f"regexp_full_match({RUN_OF_FILE}, '{RUN_ID.pattern}')"
"""SQL for whether that folder is a run's. DuckDB does not open the files of others."""


def connect(store: Store, tables: Collection[str] | None = None) -> duckdb.DuckDBPyConnection:
    """A connection in which every table of the schema is a view, or those that a statement over some tables needs."""
    con = connect_bare()
    con.execute(view_statements(con, store, tables))
    return con


def connect_bare() -> duckdb.DuckDBPyConnection:
    """A connection in which nothing is, and without a progress bar, which DuckDB draws on stdout, where the data goes."""
    con = duckdb.connect()
    # What stands at the end of a file is read once a process, unless the file was replaced: DuckDB looks.
    con.execute("set parquet_metadata_cache = true")
    no_progress_bar(con)
    return con


def no_progress_bar(con: duckdb.DuckDBPyConnection) -> None:
    """Let a connection draw nothing on stdout, where the data goes."""
    # In a notebook there is none, and to say so is an error.
    if con.execute("select current_setting('enable_progress_bar')").fetchall() == [(True,)]:
        con.execute("set enable_progress_bar = false")


def put_cohort(con: duckdb.DuckDBPyConnection, store: Store, sql: str) -> None:
    """Give a connection what one statement needs: `cases`, and the macros and tables of the cohort that the text mentions.

    `narrow` puts in the runs that answer. Looking for all runs takes time where there are thousands.
    """
    manifest = store.manifest()
    sql = whole_text(sql)
    needless = {name for name in columns("cohort") if name != "cases" and not mentions(sql, name)}
    views = cohort_views(store, manifest, needless, kind="temp view")
    if mentions(sql, "features"):
        views += feature_views(con, store, manifest, kind="temp view")
    views += [view_text(name).replace("or replace", "or replace temp", 1) for name in MACROS if mentions(sql, name)]
    con.execute("\n".join(views))


def narrow(
    con: duckdb.DuckDBPyConnection,
    store: Store,
    sql: str,
    run_ids: Sequence[str],
    case_ids: Sequence[str] = (),
    without_attention: Collection[str] = (),
) -> None:
    """Let a statement that mentions tables of runs see these runs alone, by temporary views over their files.

    With `case_ids` it sees these cases alone. DuckDB would find runs and cases by itself, but only after looking into
    every run's folder, and not through every kind of statement. Attention of the runs `without_attention` is not seen.
    """
    views = []
    whole = whole_text(sql)
    for name, of in columns("run").items():
        if mentions(whole, name):
            of_runs = [run_id for run_id in run_ids if name != "attention" or run_id not in without_attention]
            source = rows_of_runs(store, of_runs, name)
            if case_ids and "case_id" in of:
                source = f"{source} where case_id in ({', '.join(literal(case) for case in case_ids)})"
            views.append(_view(name, of, source, kind="temp view"))
    # Tables must be there when such a macro is made.
    views += [table_macro(name) for name in TABLE_MACROS if mentions(sql, name)]
    if views:
        con.execute("\n".join(views))


def widen(con: duckdb.DuckDBPyConnection) -> None:
    """Take away what `narrow` did."""
    views = [f"drop view if exists temp.{identifier(name)};" for name in columns("run")]
    macros = [f"drop macro table if exists temp.{identifier(name)};" for name in TABLE_MACROS]
    con.execute("\n".join([*macros, *views]))


def _listed(store: Store, run_ids: Sequence[str], table: str) -> str:
    """The files of a table of some runs; of a table that not every run has, those that are there."""
    if table in FURTHER:
        run_ids = [run_id for run_id in run_ids if (store.run_folder(run_id) / _file(table)).is_file()]
    paths = [f"{store.run_folder(run_id)}/{_file(table)}" for run_id in run_ids]
    for path in paths:
        refuse_unless_plain(path, store.root)
    return f"[{', '.join(map(path_literal, paths))}]"


def rows_of_runs(store: Store, run_ids: Sequence[str], table: str) -> str:
    """SQL for the rows of a table of some runs."""
    files, of = _listed(store, run_ids, table), columns("run")[table]
    return _run_source(table, of, files) if files != "[]" else _nothing(of)


def rows_of_cohort(store: Store, table: str) -> str:
    """SQL for the rows of a table of the cohort."""
    entry = store.manifest()["tables"].get(table)
    return _nothing(columns("cohort")[table]) if entry is None else _parquet(store, entry["file"])


def view_statements(con: duckdb.DuckDBPyConnection, store: Store, tables: Collection[str] | None = None) -> str:
    """SQL that makes all views; with `tables`, those alone that a statement over these tables needs.

    Args:
        con: a connection with which the store may be read.
        store: the store.
        tables: names of tables in lower case. Others than the schema's are taken for the statement's own.
    """
    manifest = store.manifest()
    if tables is None:
        return "\n".join([*cohort_views(store, manifest), *feature_views(con, store, manifest), *run_views(store)])
    text = whole_text(" ".join(sorted(tables)))
    needless = {name for name in columns("cohort") if not mentions(text, name)}
    views = cohort_views(store, manifest, needless)
    if mentions(text, "features"):
        views += feature_views(con, store, manifest)
    views += [_run_view(store, name) for name in columns("run") if mentions(text, name)]
    return "\n".join([*views, *map(view_text, (*MACROS, *needed_views(text)))])


def cohort_views(
    store: Store, manifest: dict[str, Any], leave_out: Collection[str] = (), *, kind: str = "view"
) -> list[str]:
    """The cohort's tables, and tables of the store's own that the schema does not know."""
    known = columns("cohort")
    entries = manifest["tables"]
    version = manifest["version"]
    views = [
        _view(name, of, _parquet(store, entries[name]["file"]), kind, version)
        if name in entries
        else _view(name, of, _nothing(of), kind)
        for name, of in known.items()
        if name not in leave_out
    ]
    views += [
        f"create or replace {kind} {identifier(name)} as select * from {_parquet(store, entry['file'])};"
        for name, entry in entries.items()
        if name not in known
    ]
    return views


def feature_views(
    con: duckdb.DuckDBPyConnection, store: Store, manifest: dict[str, Any], *, kind: str = "view"
) -> list[str]:
    """Which patches have features, over the packs that the cohort names."""
    of = columns("features")["features"]
    folders = pack_folders(con, store, manifest)
    if not folders:
        return [_view("features", of, _nothing(of), kind)]
    paths = [f"{store.root}/{folder}/{ROWS}" for folder in folders]
    for path in paths:
        refuse_unless_plain(path, store.root)
    files = ", ".join(map(path_literal, paths))
    return [_view("features", of, f"read_parquet([{files}], hive_partitioning = false)", kind)]


def pack_folders(con: duckdb.DuckDBPyConnection, store: Store, manifest: dict[str, Any]) -> list[str]:
    """The folders, below the store, of all packs of all encoders."""
    encoders, packs = manifest["tables"].get("encoders"), manifest["tables"].get("packs")
    if encoders is None or not encoders["rows"]:
        return []
    sql = f"select folder from {_parquet(store, encoders['file'])} order by encoder"
    if packs is not None:
        # An encoder of which the packs say nothing has the one that its own row names.
        sql = (
            f"select coalesce(packs.folder, encoders.folder) from {_parquet(store, encoders['file'])} as encoders "
            f"left join {_parquet(store, packs['file'])} as packs using (encoder) order by encoder, pack"
        )
    return [folder for (folder,) in con.execute(sql).fetchall()]


def run_views(store: Store) -> list[str]:
    """The runs' tables, over every finished run there is when they are asked, and what is derived from them."""
    return [*(_run_view(store, name) for name in columns("run")), *derived_texts()]


def _run_view(store: Store, name: str) -> str:
    of = columns("run")[name]
    return _view(name, of, _all_runs(store, name, of) if _is_there(store, name) else _nothing(of))


def _is_there(store: Store, table: str) -> bool:
    """Whether any run has a table. A pattern that matches nothing is an error, and stores of version 1 lack some."""
    if table not in FURTHER or (store.run_folder(NO_RUN) / _file(table)).is_file():
        return True
    return any((store.run_folder(run_id) / _file(table)).is_file() for run_id in run_ids(store))


def _file(table: str) -> str:
    return RUN_FILE if table == "runs" else f"{table}.parquet"


def _all_runs(store: Store, table: str, of: Columns) -> str:
    """SQL for the rows of a table of every finished run, and of nothing else that lies among them."""
    for run_id in (NO_RUN, *run_ids(store)):
        refuse_unless_plain(f"{store.run_folder(run_id)}/{_file(table)}", store.root)
    files = [literal(f"{escape_glob(str(store.runs))}/{RUN_FOLDER}*/{_file(table)}")]
    placeholder = f"{store.run_folder(NO_RUN)}/{_file(table)}"
    if Path(placeholder).is_file():
        # DuckDB takes the columns from the first file, which must not be a stranger's.
        files.insert(0, path_literal(placeholder))
    return _run_source(table, of, f"[{', '.join(files)}]", f" where {IS_RUN}")


def _run_source(table: str, of: Columns, files: str, where: str = "") -> str:
    """SQL for the rows of a table of runs from these files, with the run that each is of."""
    own = {column: kind for column, kind in of.items() if column != "run_id"}
    options = "hive_partitioning = false, filename = true"
    if table == "runs":
        struct = ", ".join(f"{identifier(column)}: {literal(kind)}" for column, kind in own.items())
        read = f"read_json({files}, columns = {{{struct}}}, format = 'auto', {options})"
        chosen = runs_columns(own)
    else:
        read = f"read_parquet({files}, {options})"
        chosen = ", ".join(map(identifier, own))
    return f"(select {RUN_OF_FILE} as run_id, {chosen} from {read}{where})"


def runs_columns(of: Iterable[str]) -> str:
    """SQL for the columns of `runs` from what `run.json` says: a run of version 1 is completed, as `read_run` does."""
    return ", ".join(
        f"{_RUNS_OF_VERSION_1[name]} as {name}" if name in _RUNS_OF_VERSION_1 else identifier(name) for name in of
    )


def chosen_columns(name: str, of: Columns, version: int = SCHEMA_VERSION) -> str:
    """SQL for the columns that a table has now, over rows that a version of the schema wrote.

    A column that a version lacked is null, but for those that had a meaning before they were there.
    """
    held = of if version == SCHEMA_VERSION else columns_of_version("cohort", version).get(name, {})
    return ", ".join(
        identifier(column)
        if column in held
        else f"({_MEANT.get((name, column), 'null')})::{kind} as {identifier(column)}"
        for column, kind in of.items()
    )


def _view(name: str, of: Columns, source: str, kind: str = "view", version: int = SCHEMA_VERSION) -> str:
    chosen = chosen_columns(name, of, version)
    return f"create or replace {kind} {identifier(name)} as select {chosen} from {source};"


def _parquet(store: Store, file: str) -> str:
    # DuckDB opens whatever it is given, and would wait for a pipe.
    refuse_unless_plain(f"{store.root}/{file}", store.root)
    return f"read_parquet({path_literal(f'{store.root}/{file}')}, hive_partitioning = false)"


def _nothing(of: Columns) -> str:
    return f"(select {', '.join(f'null::{kind} as {identifier(column)}' for column, kind in of.items())} where false)"
