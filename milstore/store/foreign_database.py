"""Reads an untrusted DuckDB file as data: none of its SQL is run.

It is attached read-only to an empty database, under a name of ours, so that no name in it hides one of DuckDB's. Only
columns that are stored are read: a view, a macro, a generated column, a default or a check is never more than a text.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from milstore.store.database_lock import PutOff
from milstore.store.sql_text import identifier, literal
from milstore.store.views import no_progress_bar

OLD, NEW = "foreign_file", "new_file"
"""Names under which the file is attached, and the one that gets its tables."""
_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*\"""")
_MORE_THAN_ROWS = re.compile(r"\b(DEFAULT|CHECK|UNIQUE|FOREIGN KEY|REFERENCES|GENERATED ALWAYS AS)\b")
_PIECES = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\w+|.""", re.DOTALL)
_GENERATED = "GENERATED"
"""A keyword: a column's name is never written so without quotes."""

Name = tuple[str, str]
"""Schema and name."""


@dataclass(frozen=True)
class BaseTable:
    """A table of the file, and the columns of it that are stored."""

    name: Name
    stored: list[str]
    sql: str
    """How DuckDB writes it down."""
    comment: str | None

    @property
    def more_than_rows(self) -> bool:
        """Whether it has a default, a check, a key or a generated column that its rows do not show."""
        return _MORE_THAN_ROWS.search(_QUOTED.sub("q", self.sql)) is not None


@contextmanager
def attached(path: Path, new: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to which the file is attached read-only, and that can open nothing else.

    Args:
        path: the file.
        new: another file, of ours, to which tables can be carried.

    Raises:
        duckdb.Error: it is no DuckDB file, is damaged, or is of a version that is not known.
    """
    config: dict[str, Any] = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
    # What is looked up is little: threads of their own would take longer than all of it.
    con = duckdb.connect(config=config if new else {**config, "threads": 1})
    try:
        con.execute("set python_enable_replacements = false")
        no_progress_bar(con)
        if new is None:
            con.execute("set max_temp_directory_size = '0KB'")
        else:
            con.execute(f"set temp_directory = {literal(str(new.parent))}")
            con.execute(f"attach {literal(str(new))} as {NEW} (type duckdb)")
        con.execute(f"attach {literal(str(path))} as {OLD} (type duckdb, read_only)")
        con.execute("set enable_external_access = false; set lock_configuration = true")
        yield con
    finally:
        con.close()


def table_names(con: duckdb.DuckDBPyConnection) -> list[Name]:
    """The tables of the file that hold rows."""
    return _rows(con, "schema_name, table_name", "duckdb_tables()", "not internal and not temporary")


def view_names(con: duckdb.DuckDBPyConnection) -> list[Name]:
    """The views of the file."""
    return _rows(con, "schema_name, view_name", "duckdb_views()", "not internal and not temporary")


def base_table(con: duckdb.DuckDBPyConnection, name: Name) -> BaseTable:
    """What is to be known of a table of the file."""
    of = f"schema_name = {literal(name[0])} and table_name = {literal(name[1])}"
    ((sql, count, comment),) = _rows(con, "sql, column_count, comment", "duckdb_tables()", of)
    return BaseTable(name, stored_columns(sql, count), sql, comment)


def stored_columns(sql: str, count: int) -> list[str]:
    """Those of a table's columns that are not generated, by how DuckDB writes the table down.

    Listing columns in another way would have DuckDB work out those of views, or of what is generated.

    >>> stored_columns("CREATE TABLE t(a INTEGER, b INTEGER GENERATED ALWAYS AS((a + 1)), CHECK((a > 0)));", 2)
    ['a']
    """
    parts: list[list[str]] = [[]]
    depth = 0
    for piece in _PIECES.findall(sql):
        depth += (piece == "(") - (piece == ")")
        if depth == 1 and piece == ",":
            parts.append([])
        elif depth == 1 and piece not in ("(", ")") and not piece.isspace():
            parts[-1].append(piece)
    # The columns come first, then what holds for several of them.
    columns = [part for part in parts[:count] if part]
    if len(columns) < count:
        raise PutOff("holds a table that cannot be read: move it away, and a later command creates it again")
    return [_unquoted(part[0]) for part in columns if _GENERATED not in part]


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def first_row(con: duckdb.DuckDBPyConnection, table: str, wanted: list[str]) -> dict[str, Any] | None:
    """The first row of a table in the schema main; None if there is no such table, column or row, or it is a view."""
    if ("main", table) not in table_names(con):
        return None
    found = base_table(con, ("main", table))
    if not set(wanted) <= set(found.stored):
        return None
    chosen = ", ".join(f"t.{identifier(column)}" for column in wanted)
    rows = con.execute(f"select {chosen} from {_full(found.name)} as t limit 1").fetchall()
    return dict(zip(wanted, rows[0], strict=True)) if rows else None


def carry(con: duckdb.DuckDBPyConnection, table: BaseTable) -> None:
    """Put a table's rows into the new file, with its primary key and which columns are never null."""
    target = _full(table.name, NEW)
    con.execute(f"create schema if not exists {NEW}.{identifier(table.name[0])}")
    chosen = ", ".join(f"t.{identifier(column)}" for column in table.stored)
    con.execute(f"create table {target} as select {chosen} from {_full(table.name)} as t")
    of = f"schema_name = {literal(table.name[0])} and table_name = {literal(table.name[1])}"
    # Null is refused first: with an index, a column is not altered any more.
    keys = sorted(_rows(con, "constraint_type, constraint_column_names", "duckdb_constraints()", of))
    for kind, columns in keys:
        names = [identifier(column) for column in columns]
        if kind == "NOT NULL":
            con.execute(f"alter table {target} alter column {names[0]} set not null")
        elif kind == "PRIMARY KEY":
            con.execute(f"alter table {target} add primary key ({', '.join(names)})")
    if table.comment is not None:
        con.execute(f"comment on table {target} is {literal(table.comment)}")


def definitions(con: duckdb.DuckDBPyConnection) -> Iterator[tuple[str, Name, str]]:
    """What the file holds besides tables: kind, name, and the SQL that defines it.

    The SQL is untrusted: do not run it.
    """
    for schema, name, labels in _rows(con, "schema_name, type_name, labels", "duckdb_types()", "not internal"):
        if labels:
            listed = ", ".join(literal(label) for label in labels)
            yield "type", (schema, name), f"create type if not exists {_short((schema, name))} as enum ({listed});"
    for schema, name, sql in _rows(con, "schema_name, sequence_name, sql", "duckdb_sequences()", "not temporary"):
        yield "sequence", (schema, name), _again(sql, "CREATE SEQUENCE", "CREATE SEQUENCE IF NOT EXISTS")
    yield from _macros(con)
    for schema, name, sql in _rows(con, "schema_name, view_name, sql", "duckdb_views()", "not internal"):
        yield "view", (schema, name), _again(sql, "CREATE VIEW", "CREATE OR REPLACE VIEW")
    for schema, name, sql in _rows(con, "schema_name, index_name, sql", "duckdb_indexes()", "sql is not null"):
        unique = "UNIQUE " if sql.startswith("CREATE UNIQUE") else ""
        yield "index", (schema, name), _again(sql, f"CREATE {unique}INDEX", f"CREATE {unique}INDEX IF NOT EXISTS")


def _macros(con: duckdb.DuckDBPyConnection) -> Iterator[tuple[str, Name, str]]:
    """A macro may have several forms, each with parameters of its own."""
    forms: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    what = "schema_name, function_name, function_type, parameters, parameter_types, macro_definition"
    macros = "not internal and function_type in ('macro', 'table_macro')"
    for schema, name, kind, parameters, types, body in _rows(con, what, "duckdb_functions()", macros):
        typed = [
            f"{identifier(parameter)}{f' {of}' if of else ''}" for parameter, of in zip(parameters, types, strict=True)
        ]
        forms[schema, name, kind].append(f"({', '.join(typed)}) as {'table ' if kind == 'table_macro' else ''}{body}")
    for (schema, name, _), texts in forms.items():
        yield "macro", (schema, name), f"create or replace macro {_short((schema, name))}{', '.join(texts)};"


def _again(sql: str, words: str, instead: str) -> str:
    """The statement, changed so that it can be run where the object exists already."""
    return instead + sql.removeprefix(words) if sql.startswith(words) else sql


def _rows(con: duckdb.DuckDBPyConnection, what: str, listing: str, condition: str) -> list[Any]:
    return con.execute(
        f"select {what} from {listing} where database_name = {literal(OLD)} and {condition} order by all"
    ).fetchall()


def _full(name: Name, database: str = OLD) -> str:
    return f"{database}.{identifier(name[0])}.{identifier(name[1])}"


def _short(name: Name) -> str:
    return identifier(name[1]) if name[0] == "main" else f"{identifier(name[0])}.{identifier(name[1])}"
