"""SQL as text: names and values quoted, paths that DuckDB takes for themselves, and parameters that become variables."""

import math
import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from pathlib import Path

import duckdb

WORD = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*")
"""A name in the bytes of a statement."""
_OF_PATTERNS = re.compile(r"[*?\[]")
QUESTIONS = 64
"""Statements of which is kept what was found in their text: the questions there are, which a report or a notebook asks often."""


def path_literal(path: str | Path) -> str:
    """A path quoted for SQL, with which DuckDB finds this very file: the way in which every path is given to it."""
    return literal(escape_glob(str(path)))


def escape_glob(path: str) -> str:
    """The path with everything that DuckDB would take for a pattern put into brackets.

    >>> escape_glob("/a[1]/b*")
    '/a[[]1]/b[*]'
    """
    return _OF_PATTERNS.sub(r"[\g<0>]", path)


def identifier(name: str) -> str:
    """A name quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text quoted for SQL, which knows no character 0."""
    return "'" + text.replace("'", "''").replace("\0", "") + "'"


def value(item: str | float | bool | Iterable[str] | None) -> str:
    """A value as SQL writes it.

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
    """Run a statement with named parameters, which never become part of its text.

    They are variables of the connection: unlike those of a prepared statement, their values are known when the
    statement is planned, so that `rank <= …` can leave out what it need not read.
    """
    set_variables(con, values)
    return con.execute(with_variables(sql, values))


def set_variables(
    con: duckdb.DuckDBPyConnection, values: Mapping[str, str | float | bool | Iterable[str] | None]
) -> None:
    """Put the values of a statement's parameters where `with_variables` makes it look for them."""
    if values:
        con.execute("\n".join(f"set variable {identifier(name)} = {value(item)};" for name, item in values.items()))


def with_variables(sql: str, names: Collection[str]) -> str:
    """The statement with variables in the place of its named parameters.

    >>> with_variables("select $pct, '$pct' -- $pct", ["pct"])
    "select getvariable('pct'), '$pct' -- $pct"
    """
    return _with_variables(sql, frozenset(names))


@lru_cache(maxsize=QUESTIONS)
def _with_variables(sql: str, names: frozenset[str]) -> str:
    kinds = (duckdb.token_type.identifier, duckdb.token_type.keyword)
    words = [start for start, kind in duckdb.tokenize(sql) if kind in kinds]
    # Where a token starts is told in bytes.
    text = sql.encode()
    for start in reversed(words):
        found = WORD.match(text, start)
        name = found.group().decode() if found else ""
        if name in names and text[start - 1 : start] == b"$":
            text = text[: start - 1] + f"getvariable({literal(name)})".encode() + text[start + len(name) :]
    return text.decode()
