"""The lens: an in-memory DuckDB connection with the schema's views over the store's Parquet files.

It takes no lock and waits for nobody. The cohort's views are of one generation; a run's are over all finished runs.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import duckdb

from milstore.schema.columns import Columns, columns, view_text
from milstore.store.folder import Store
from milstore.store.runs import RUN_FILE


def connect(store: Store) -> duckdb.DuckDBPyConnection:
    """A connection in which every table of the schema is a view."""
    con = duckdb.connect()
    con.execute(view_statements(store))
    return con


def view_statements(store: Store) -> str:
    """SQL that makes all views."""
    manifest = store.manifest()
    return "\n".join([*cohort_views(store, manifest), *feature_views(store, manifest), *run_views(store)])


def cohort_views(store: Store, manifest: dict[str, Any], leave_out: Collection[str] = ()) -> list[str]:
    """The cohort's tables, and tables of the store's own that the schema does not know."""
    known = columns("cohort")
    entries = manifest["tables"]
    views = [
        _view(name, of, _parquet(store, entries[name]["file"]) if name in entries else _nothing(of))
        for name, of in known.items()
        if name not in leave_out
    ]
    views += [
        f"create or replace view {identifier(name)} as select * from {_parquet(store, entry['file'])};"
        for name, entry in entries.items()
        if name not in known
    ]
    return views


def feature_views(store: Store, manifest: dict[str, Any]) -> list[str]:
    """Which patches have features, over the packs that the cohort names."""
    of = columns("features")["features"]
    entry = manifest["tables"].get("encoders")
    if entry is None or not entry["rows"]:
        return [_view("features", of, _nothing(of))]
    folders = duckdb.sql(f"select folder from {_parquet(store, entry['file'])} order by encoder").fetchall()
    files = ", ".join(literal(f"{store.root}/{folder}/rows.parquet") for (folder,) in folders)
    return [_view("features", of, f"read_parquet([{files}], hive_partitioning = false)")]


def run_views(store: Store) -> list[str]:
    """The runs' tables, over every finished run there is when they are asked, and what is derived from them."""
    views = []
    for name, of in columns("run").items():
        if name == "runs":
            struct = ", ".join(f"{identifier(column)}: {literal(kind)}" for column, kind in of.items())
            # A path is data, but a glob in it would be a pattern.
            source = f"read_json({_glob(store, RUN_FILE)}, columns = {{{struct}}}, format = 'auto', hive_partitioning = true, hive_types = {{run_id: varchar}})"
        else:
            source = f"read_parquet({_glob(store, name + '.parquet')}, hive_partitioning = true, hive_types = {{run_id: varchar}})"
        views.append(_view(name, of, source))
    return [*views, view_text("out_of_fold")]


def _glob(store: Store, file: str) -> str:
    return literal(f"{escape_glob(str(store.runs))}/*/{file}")


def escape_glob(path: str) -> str:
    """The path with everything that DuckDB would take for a pattern put into brackets.

    >>> escape_glob("/a[1]/b*")
    '/a[[]1]/b[*]'
    """
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in path)


def _view(name: str, of: Columns, source: str) -> str:
    chosen = ", ".join(identifier(column) for column in of)
    return f"create or replace view {identifier(name)} as select {chosen} from {source};"


def _parquet(store: Store, file: str) -> str:
    return f"read_parquet({literal(escape_glob(f'{store.root}/{file}'))}, hive_partitioning = false)"


def _nothing(of: Columns) -> str:
    return f"(select {', '.join(f'null::{kind} as {identifier(column)}' for column, kind in of.items())} where false)"


def identifier(name: str) -> str:
    """A name quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text quoted for SQL, which knows no character 0."""
    return "'" + text.replace("'", "''").replace("\0", "") + "'"


def value(item: str | float | bool | Iterable[str] | None) -> str:
    """A value as SQL writes it, for `execute name(parameter := value)`.

    duckdb's own binding of Python objects imports pandas, which takes longer than most questions.

    >>> value("o'x"), value(5.0), value(True), value(None), value(["46"])
    ("'o''x'", '5.0::double', 'true', 'null', "['46']::varchar[]")
    """
    if item is None:
        return "null"
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, int):
        return str(item)
    if isinstance(item, float):
        return f"{item!r}::double" if math.isfinite(item) else f"'{item}'::double"
    if isinstance(item, str):
        return literal(item)
    return f"[{', '.join(literal(text) for text in item)}]::varchar[]"


def execute(
    con: duckdb.DuckDBPyConnection, sql: str, values: Mapping[str, str | float | bool | Iterable[str] | None]
) -> duckdb.DuckDBPyConnection:
    """Run a statement with named parameters, which are bound and never become part of its text."""
    if not values:
        return con.execute(sql)
    con.execute(f"prepare question as {sql}")
    bound = ", ".join(f"{identifier(name)} := {value(item)}" for name, item in values.items())
    return con.execute(f"execute question({bound})")
