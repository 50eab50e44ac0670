"""What a question may consist of, by `allowed.txt` beside this file, which people read and edit.

It is a list of what is allowed. What a later DuckDB adds is refused until somebody has looked at it.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

REASONS = {
    "crashes": "it can end the whole process",
    "files": "it looks into files itself: the tables of docs/schema.md are the views to ask",
    "internal": "it is DuckDB's own, and tells nothing of a study",
    "pragma": "it is no function but a setting",
    "python": "it reaches for Python's objects",
    "settings": "it tells or makes settings",
    "state": "it changes what the next question sees",
    "text": "it takes a text for SQL, which cannot be looked through: ask the statement itself",
    "waits": "it does nothing but wait",
    "writes": "it writes",
}
"""The words that head the refused sections, and what they say."""
TWICE_GIVEN = {"aggregate", "array_aggr", "array_aggregate", "list_aggr", "list_aggregate"}
"""Functions whose second argument is the name of an aggregate."""
NAME_A_TABLE = {"histogram", "histogram_values", "query_table"}
"""Table functions whose first argument is the name of a table."""
TELL_OF_TABLES = ("duckdb_", "pragma_")
"""How the table functions begin that tell which tables, views and functions there are."""
SCHEMAS = {"", "main", "memory", "system", "temp"}
"""Schemas and catalogs in which a name may be looked for."""
SHOWN = {'"tables"', '"databases"', '"variables"', "__show_tables_expanded", ""}
"""What SHOW may be followed by, apart from a table."""
CALLED = ("scalar", "macro", "aggregate", "window")
"""Kinds of functions that stand in expressions."""


@cache
def sections() -> dict[str, dict[str, str]]:
    """For each kind (part, scalar, macro, aggregate, window, table, pragma, type, view) and name: `allowed`, or why not."""
    found: dict[str, dict[str, str]] = {}
    text = Path(__file__).with_name("allowed.txt").read_text(encoding="utf-8")
    for kind, word, names in _blocks(text):
        found.setdefault(kind, {}).update((" ".join(name.split()), word) for name in names.split(", "))
    return found


def _blocks(text: str) -> Iterator[tuple[str, str, str]]:
    for block in text.split("\n[")[1:]:
        head, names = block.split("]\n", 1)
        kind, word = head.split()
        yield kind, word, names.replace("\n", " ").strip().replace(",  ", ", ")


def verdict(name: str, *kinds: str) -> str:
    """`allowed`, the word that says why a name of one of these kinds is refused, or empty if no list has it.

    A name that is allowed as one kind and refused as another is refused.
    """
    words = set()
    for kind in kinds:
        listed = sections()[kind]
        patterns = (listed[each] for each in _patterns(kind) if name.startswith(each[:-1]))
        words |= {listed[name]} if name in listed else set(patterns)
    refused = sorted(words - {"allowed"})
    return refused[0] if refused else next(iter(words), "")


@cache
def _patterns(kind: str) -> tuple[str, ...]:
    return tuple(name for name in sections()[kind] if name.endswith("…"))
