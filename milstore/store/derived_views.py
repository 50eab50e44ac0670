"""The views and macros over the schema's tables that a statement needs: found in its text, and brought along with it."""

import re
from functools import lru_cache

import duckdb

from milstore.schema.columns import DERIVED, TABLE_MACROS, view_text
from milstore.store.sql_text import QUESTIONS, WORD


def mentions(sql: str, name: str) -> bool:
    """Whether a text holds a name as a word."""
    return re.search(rf"\b{re.escape(name)}\b", sql) is not None


@lru_cache(maxsize=QUESTIONS)
def with_derived(sql: str) -> str:
    """A statement that brings what of `DERIVED` it needs, as steps of its own: for a connection that has none of it.

    A view would have to be planned when it is made, and again when it is asked.
    """
    steps = ", ".join(f"{name} as ({_body(name)})" for name in needed_views(sql) if name in DERIVED)
    if not steps:
        return sql
    start, word = _first_word(sql)
    if word != "with":
        return f"{sql[:start]}with {steps} {sql[start:]}"
    return f"{sql[:start]}with {steps}, {sql[start + len(word) :]}"


def _first_word(sql: str) -> tuple[int, str]:
    """Where the statement begins behind its comments, and its first word, in lower case."""
    text = sql.encode()
    start = next((at for at, kind in duckdb.tokenize(sql) if kind != duckdb.token_type.comment), len(text))
    found = WORD.match(text, start)
    return len(text[:start].decode()), found.group().decode().lower() if found else ""


def _body(name: str) -> str:
    """The statement of a derived view, or of a macro that gives rows."""
    begin = " as table\n" if name in TABLE_MACROS else f"view {name} as\n"
    return view_text(name).partition(begin)[2].rstrip().rstrip(";")


@lru_cache(maxsize=QUESTIONS)
def whole_text(sql: str) -> str:
    """The text with the statements of all views and macros that it needs: what this mentions is all that it asks."""
    return "\n".join([sql, *map(_body, needed_views(sql))])


def needed_views(sql: str) -> list[str]:
    """Which views of `DERIVED`, and macros over them, a text mentions, itself or by what it mentions, in the order in
    which they can be made.
    """
    needed: set[str] = set()
    order = (*DERIVED, *TABLE_MACROS)
    # What is made later may be defined over what is made sooner, never the other way.
    for name in reversed(order):
        if any(mentions(text, name) for text in (sql, *map(_body, needed))):
            needed.add(name)
    return [name for name in order if name in needed]


def table_macro(name: str) -> str:
    """SQL that makes a macro that gives rows, for a connection that has none of `DERIVED`."""
    head, begin, _ = view_text(name).partition(" as table\n")
    return f"{head.replace('or replace', 'or replace temp', 1)}{begin}{with_derived(_body(name))};"
