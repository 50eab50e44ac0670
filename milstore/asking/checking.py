"""What may run, decided before it runs: one statement, every part of which is on a list of what is allowed.

DuckDB itself turns the text into a tree. What the tree does not show (the bodies of views and macros, a text that runs
as SQL, a function named by a text) either comes from milstore alone or is refused.
"""

import json
import re
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from typing import Any

import duckdb

from milstore.asking.allowed import (
    CALLED,
    NAME_A_TABLE,
    REASONS,
    SCHEMAS,
    SHOWN,
    TELL_OF_TABLES,
    TWICE_GIVEN,
    sections,
    verdict,
)
from milstore.errors import UsageError
from milstore.schema.columns import DERIVED, TABLE_MACROS, known_tables
from milstore.store.names import clip
from milstore.store.sql_text import literal

LONGEST = 100_000
"""Characters that a statement may have."""
_EXPLAIN = re.compile(r"[ \t\r\n]*explain[ \t\r\n]+(analyze[ \t\r\n]+)?", re.IGNORECASE)
_PLACE = re.compile(r"LINE [0-9]+: ")
_LONGEST_CANDIDATES = 400
_READS = "only statements that read are taken"
Node = dict[str, Any]


def check_foreign(
    con: duckdb.DuckDBPyConnection, sql: str, there: Collection[str] | None = None
) -> frozenset[str] | None:
    """UsageError unless the text is one statement that only reads (select, from, values, with, describe, explain …).

    Only the very text that was checked may be run.

    Args:
        con: a connection that takes the text apart.
        sql: the text.
        there: names of the tables that are there beside those of the schema; without it those of the connection.

    Returns:
        The tables that it asks, in lower case; None if it asks what tables there are.
    """
    if len(sql) > LONGEST:
        raise UsageError(f"the statement has {len(sql)} characters: at most {LONGEST} are taken")
    if "\0" in sql or not _is_text(sql):
        raise UsageError("the statement holds a character that is no text: take it out")
    try:
        statements = con.extract_statements(sql)
    except duckdb.Error as error:
        raise sql_error(error) from error
    kinds = [statement.type for statement in statements]
    if _is_open_pivot(kinds):
        raise UsageError(
            "PIVOT is not taken: name the columns as sum(…) filter (where …), or list them: PIVOT … IN (…)"
        )
    if len(kinds) != 1:
        raise UsageError(f"one statement is taken, these are {len(kinds)}: ask them one by one")
    if kinds == [duckdb.StatementType.EXPLAIN]:
        begin = _EXPLAIN.match(sql)
        if begin is None:
            raise UsageError(f"{_READS}: explain comes first, with no comment or option before the statement")
        # What is run is still the whole text: it is one statement, and explains one that reads.
        return _check_tree(con, sql[begin.end() :], there)
    if kinds == [duckdb.StatementType.SELECT]:
        return _check_tree(con, sql, there)
    raise UsageError(f"{_READS}: begin with select, from, with, describe or explain")


def _is_open_pivot(kinds: list[Any]) -> bool:
    """Whether it is a PIVOT without a list, which DuckDB 1 splits into making a type and selecting."""
    several = len(kinds) > 1 and duckdb.StatementType.CREATE in kinds and kinds[-1] == duckdb.StatementType.SELECT
    return several or [getattr(kind, "name", "") for kind in kinds] == ["MULTI"]


def _is_text(sql: str) -> bool:
    try:
        sql.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_tree(con: duckdb.DuckDBPyConnection, sql: str, there: Collection[str] | None) -> frozenset[str] | None:
    serialised = con.execute(f"select json_serialize_sql({literal(sql)})").fetchall()[0][0]
    try:
        tree = json.loads(serialised)
    except RecursionError:
        raise UsageError("the statement is nested too deeply: take it apart with a common table expression") from None
    if tree.get("error"):
        if tree.get("error_type") == "parser":
            raise UsageError(clip(" ".join(str(tree.get("error_message")).split()), 300))
        raise UsageError(f"{_READS}: begin with select, from, with, describe or explain")
    nodes = list(_nodes(tree["statements"]))
    if len(tree["statements"]) != 1 or not all(_is_known_kind(node) for node in nodes):
        raise UsageError(f"{_READS}: a part of this one does more")
    # The function of a table function is a node of its own.
    in_from = {id(node["function"]) for node in nodes if node.get("type") == "TABLE_FUNCTION"}
    tables = list(_tables(nodes))
    tells = any(node.get("type") == "SHOW_REF" and node.get("table_name") for node in nodes)
    for node in nodes:
        _check_type(node)
        if id(node) in in_from:
            tables += _check_table_function(node)
            tells |= _plain(str(node["function_name"])).startswith(TELL_OF_TABLES)
        elif "function_name" in node:
            _check_call(node, CALLED)
    _check_tables(con, tables, nodes, there)
    asked = frozenset(map(_plain, tables))
    return None if tells or asked & sections()["view"].keys() else asked


def _nodes(tree: Any) -> Iterator[Node]:
    """Every part of the tree."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, dict):
            yield node
            waiting.extend(node.values())


def _is_known_kind(node: Node) -> bool:
    kind = node.get("type")
    return not isinstance(kind, str) or verdict(kind, "part") == "allowed"


def _refuse(name: str, word: str) -> None:
    name = clip(name, 80)
    if word:
        raise UsageError(f"{name} is not taken: {REASONS[word]}")
    function = name.removesuffix("(…)")
    known = [each for kind in CALLED for each, listed in sections()[kind].items() if listed == "allowed"]
    close = get_close_matches(function, known, n=3, cutoff=0.7) if function != name else []
    hint = f"; did you mean {' or '.join(f'{each}(…)' for each in close)}?" if close else ""
    raise UsageError(f"{name} is not taken: it is on no list of what a question may use{hint}")


def _check_call(node: Node, kinds: Collection[str]) -> str:
    """UsageError unless the function that is called is allowed. Returns its name."""
    name = _plain(str(node.get("function_name", "")))
    word = verdict(name, *kinds)
    if word != "allowed":
        _refuse(f"{name}(…)", word)
    if not {_plain(node.get("schema") or ""), _plain(node.get("catalog") or "")} <= {*SCHEMAS, "pg_catalog"}:
        _refuse(f"{node.get('catalog') or ''}.{node.get('schema') or ''}.{name}(…)", "")
    if node.get("export_state"):
        _refuse(f"{name}(…) export_state", "crashes")
    if name in TWICE_GIVEN:
        first, second, *_ = [*_arguments(node), None, None]
        aggregate = _text(second) if first is not None and second is not None else None
        if aggregate is None or verdict(_plain(aggregate), "aggregate") != "allowed":
            raise UsageError(f"{name}(…) is taken with the name of an aggregate as a text: {name}(x, 'sum')")
    return name


def _check_table_function(node: Node) -> list[str]:
    """UsageError unless the table function is allowed. Returns the tables that it is given by name."""
    name = _check_call(node, ["table"])
    if name in TABLE_MACROS:
        # It asks what its own text asks.
        return [name]
    if name not in NAME_A_TABLE:
        return []
    given = _arguments(node)
    first = given[0] if given else None
    named = _texts(first) if first is not None else None
    if named is None:
        raise UsageError(f"{name}(…) is taken with the name of a table as a text: {name}('cases')")
    return named


def _arguments(node: Node) -> list[Node | None]:
    """What a function is given, in order; None for what is given by name."""
    if "arguments" in node:
        return [None if each.get("name") else each["expression"] for each in node["arguments"]]
    return [None if each.get("alias") else each for each in node.get("children", [])]


def _text(node: Node) -> str | None:
    """The text that stands there as it is, and not as something to be computed."""
    if node.get("type") != "VALUE_CONSTANT":
        return None
    written = node.get("literal")
    if isinstance(written, dict):
        return written.get("text") if written.get("kind") == "STRING" else None
    value = node.get("value", {})
    return value.get("value") if value.get("type", {}).get("id") == "VARCHAR" and not value.get("is_null") else None


def _texts(node: Node) -> list[str] | None:
    """One text, a list of texts, or a column's name where a table's is meant. None for anything else."""
    if node.get("type") == "FUNCTION" and node.get("function_name") == "list_value":
        texts = [None if each is None else _text(each) for each in _arguments(node)]
        return [each for each in texts if each is not None] if None not in texts else None
    if node.get("type") == "COLUMN_REF" and len(node.get("column_names", [])) == 1:
        return [str(node["column_names"][0])]
    text = _text(node)
    return None if text is None else [text]


def _check_type(node: Node) -> None:
    """UsageError for a type that is not allowed: as DuckDB 1 writes it, or as DuckDB 2 does."""
    for name in (
        node.get("id") if "type_info" in node else None,
        node.get("name") if node.get("type") in ("UNBOUND_TYPE_INFO", "USER_TYPE_INFO") else None,
        node.get("type_name") if node.get("type") == "TYPE" else None,
    ):
        if isinstance(name, str) and (word := verdict(_plain(name), "type")) != "allowed":
            _refuse(f"type {name}", word)


def _tables(nodes: list[Node]) -> Iterator[str]:
    """Names of the tables that are asked, with their schema where that is not one of the usual."""
    for node in nodes:
        shown = node.get("type") == "SHOW_REF"
        if node.get("type") != "BASE_TABLE" and not shown:
            continue
        name = node.get("table_name") or ""
        if shown and name in SHOWN:
            continue
        places = [node.get("catalog_name") or "", node.get("schema_name") or ""]
        yield ".".join([*(each for each in places if _plain(each) not in SCHEMAS), name])


def _check_tables(
    con: duckdb.DuckDBPyConnection, tables: list[str], nodes: list[Node], there: Collection[str] | None
) -> None:
    """UsageError for a table that is neither here nor made by the statement itself: such a name can be that of a file."""
    made = {_plain(str(each["key"])) for node in nodes for each in node.get("cte_map", {}).get("map", [])}
    made |= {_plain(str(node["cte_name"])) for node in nodes if node.get("cte_name")}
    known = {*known_tables(), *DERIVED, *TABLE_MACROS, *sections()["view"], *made}
    missing = [name for name in tables if _plain(name) not in known]
    if missing:
        known |= set(map(_plain, _tables_of(con) if there is None else there))
    for name in missing:
        if _plain(name) not in known:
            close = get_close_matches(_plain(name), sorted({*known} - {*sections()["view"]}), n=3, cutoff=0.6)
            hint = f"did you mean {' or '.join(close)}? " if close else ""
            raise UsageError(
                f"table {clip(name, 80)!r} does not exist: {hint}milstore sql 'show tables' names those that do"
            )


def _tables_of(con: duckdb.DuckDBPyConnection) -> list[str]:
    found = con.execute(
        "select view_name from duckdb_views() where not internal union all select table_name from duckdb_tables()"
    )
    return [name for (name,) in found.fetchall()]


def _plain(name: str) -> str:
    """A name as DuckDB compares names: the case of ASCII letters does not count."""
    return name.lower() if name.isascii() else name


def sql_error(error: Exception) -> UsageError:
    """What is wrong with a statement, with DuckDB's candidates, in one line; its place in the text is a note of the error."""
    lines = str(error).splitlines()
    place = next((i for i, line in enumerate(lines) if _PLACE.match(line)), len(lines))
    candidates = [line.strip() for line in lines[1:place] if line.strip()]
    # A heading and what stands under it, such as the functions of a name.
    more = "; ".join(candidates).replace(":; ", ": ")
    refused = UsageError(" ".join([first_line(error), *([clip(more, _LONGEST_CANDIDATES)] if more else [])]))
    if place < len(lines):
        refused.add_note("\n".join(lines[place:]))
    return refused


def first_line(error: Exception) -> str:
    """The line of a DuckDB error that says what is wrong, without the text of the statement."""
    # A question that refuses its parameters by error('…') says all that is to be said.
    lines = [line.strip().removeprefix("Invalid Input Error: ") for line in str(error).splitlines() if line.strip()]
    return clip(lines[0] if lines else type(error).__name__, 300)
