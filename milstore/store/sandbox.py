"""The sandbox in which questions run: one statement that only reads, no file but the store's, bounded memory and time.

An in-memory DuckDB connection cannot be opened read-only, so what may run is decided before it runs: DuckDB itself
turns the text into a tree, and only trees of query nodes pass.
"""

import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

import duckdb

from milstore.deadline import last_resort
from milstore.errors import UsageError
from milstore.store.folder import Store
from milstore.store.lens import literal, path_literal
from milstore.store.names import clip

DEFAULT_TIMEOUT = 60.0
"""Seconds a question may take."""
MEMORY_LIMIT = "8GB"
_LONGEST = 1_000_000
_RUN_TEXTS = {"query": "write it as a subquery", "json_execute_serialized_sql": "ask the statement itself"}
"""Functions that run a text as SQL, which the tree of the statement does not show."""
_QUERY_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}


def lock_down(con: duckdb.DuckDBPyConnection, store: Store) -> None:
    """Take from a connection of the lens everything but reading the store. It cannot be given back."""
    con.execute(
        f"""
        set allowed_directories = [{literal(f"{store.root}/")}, {path_literal(f"{store.root}/")}];
        set autoinstall_known_extensions = false;
        set autoload_known_extensions = false;
        set python_enable_replacements = false;
        set memory_limit = {literal(MEMORY_LIMIT)};
        set max_temp_directory_size = '0KB';
        set enable_external_access = false;
        set lock_configuration = true;
        """
    )


def check_foreign(con: duckdb.DuckDBPyConnection, sql: str) -> None:
    """UsageError unless the text is one statement that only reads (select, from, values, with, describe, explain …)."""
    if len(sql) > _LONGEST:
        raise UsageError(f"the statement has {len(sql)} characters: at most {_LONGEST} are taken")
    try:
        statements = con.extract_statements(sql)
    except duckdb.Error as error:
        raise UsageError(first_line(error)) from error
    kinds = {statement.type for statement in statements}
    if (
        duckdb.StatementType.CREATE in kinds
        and len(statements) > 1
        and statements[-1].type == duckdb.StatementType.SELECT
    ):
        # DuckDB splits a PIVOT into making a type and selecting.
        raise UsageError(
            "PIVOT is not taken: name the columns as sum(…) filter (where …), or list them: PIVOT … IN (…)"
        )
    if len(statements) != 1:
        raise UsageError(f"one statement is taken, these are {len(statements)}: ask them one by one")
    if statements[0].type == duckdb.StatementType.EXPLAIN:
        _check_tree(con, _explained(sql))
    else:
        _check_tree(con, sql)


def _explained(sql: str) -> str:
    """What an EXPLAIN explains: the text after the words in front."""
    tokens = [start for start, kind in duckdb.tokenize(sql) if kind != duckdb.token_type.comment]
    for start in tokens:
        rest = sql[start:]
        if rest.split(None, 1)[0].lower() not in ("explain", "analyze"):
            return rest
    return ""


def _check_tree(con: duckdb.DuckDBPyConnection, sql: str) -> None:
    serialised = con.execute(f"select json_serialize_sql({literal(sql)})").fetchall()[0][0]
    tree = json.loads(serialised)
    if tree.get("error"):
        if tree.get("error_type") == "parser":
            raise UsageError(clip(" ".join(str(tree.get("error_message")).split()), 300))
        raise UsageError("only statements that read are taken: begin with select, from, with, describe or explain")
    hidden = next((name for name in _functions(tree["statements"]) if name in _RUN_TEXTS), None)
    if hidden is not None:
        raise UsageError(f"{hidden}(…) runs a text as SQL, which is not taken: {_RUN_TEXTS[hidden]}")
    if len(tree["statements"]) != 1 or not _reads_only(tree["statements"]):
        raise UsageError("only statements that read are taken: a part of this one does more")


def _reads_only(tree: Any) -> bool:
    """Whether every query node below is one that reads."""
    kinds = (node.get("type") for node in _nodes(tree))
    return all(
        kind in _QUERY_NODES for kind in kinds if isinstance(kind, str) and kind.endswith(("_NODE", "_STATEMENT"))
    )


def _functions(tree: Any) -> Iterator[str]:
    """Names of the functions that are called below, in lower case."""
    return (str(node["function_name"]).lower() for node in _nodes(tree) if "function_name" in node)


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


@contextlib.contextmanager
def time_limit(con: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    """Interrupt what the connection does in the block after some seconds. UsageError then.

    Raises:
        UsageError: the time is over.
        KeyboardInterrupt: Ctrl-C, while DuckDB was at work.
    """
    over = threading.Event()
    message = f"the question took longer than {seconds:g} s: narrow it, or raise --timeout"

    def stop() -> None:
        over.set()
        con.interrupt()

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    last = last_resort(seconds, message)
    try:
        yield
    except duckdb.Error as error:
        # Interrupted between two fetches, DuckDB speaks of a closed result.
        if over.is_set():
            raise UsageError(message) from error
        raise
    except RuntimeError as error:
        # What DuckDB makes of Ctrl-C: its threads go on, and closing the connection would wait for them.
        if str(error) == "Query interrupted":
            con.interrupt()
            raise KeyboardInterrupt from error
        raise
    finally:
        for each in (timer, last):
            if each is not None:
                each.cancel()
                # A thread that is still ending when the interpreter ends can take the process with it.
                each.join()


def first_line(error: Exception) -> str:
    """The line of a DuckDB error that says what is wrong, without the text of the statement."""
    # A question that refuses its parameters by error('…') says all that is to be said.
    lines = [line.strip().removeprefix("Invalid Input Error: ") for line in str(error).splitlines() if line.strip()]
    return clip(lines[0] if lines else type(error).__name__, 300)
