"""What tables there are to ask, and their columns with what they mean: for the shell."""

import re

from milstore.asking.ask import ask_sql
from milstore.asking.given_rows import answer_of
from milstore.asking.result import Result
from milstore.errors import UsageError
from milstore.schema.columns import DERIVED, columns, known_tables, view_text
from milstore.store.names import nearest
from milstore.store.paths import Store
from milstore.store.sql_text import identifier

TABLES, SCHEMA = ".tables", ".schema"
DOT_COMMANDS = {
    TABLES: "the tables that can be asked, and what each holds",
    SCHEMA: "the columns of a table (.schema runs), or of all",
}
"""Lines that a shell answers although they are no SQL."""
_COMMENT = re.compile(
    r"comment on (?:table|view|column) (?P<table>\w+)(?:\.\"(?P<column>\w+)\")? is '(?P<text>(?:[^']|'')*)';"
)
_TEXTS = ("catalog", "catalog_patches", "view_comments")


def answer_dot(store: Store, line: str) -> Result:
    """The answer to `.tables`, `.schema` or `.schema TABLE`. UsageError for anything else that begins with a dot."""
    command, *names = line.split()
    if command == TABLES and not names:
        meanings = _meanings()
        own = [name for name in store.manifest()["tables"] if name not in known_tables()]
        rows = [(name, meanings.get((name, ""), "")) for name in (*known_tables(), *DERIVED, *own)]
        return answer_of(["table", "what it holds"], rows)
    if command == SCHEMA and len(names) < 2:
        return _schema(store, names[0].lower() if names else None)
    if command in DOT_COMMANDS:
        raise UsageError(f"{command} is not taken with {' '.join(names)!r}: write {TABLES}, {SCHEMA} or {SCHEMA} runs")
    told = "; ".join(f"{name} tells {what}" for name, what in DOT_COMMANDS.items())
    raise UsageError(f"there is no {command!r} here: {told}; everything else is SQL")


def _schema(store: Store, wanted: str | None) -> Result:
    """The columns of a table, or of all."""
    known = {name: of for group in ("cohort", "features", "run") for name, of in columns(group).items()}
    others = [*DERIVED, *(name for name in store.manifest()["tables"] if name not in known)]
    if wanted is not None and wanted not in (*known, *others):
        raise UsageError(f"there is no table {wanted!r}: {nearest(wanted, [*known, *others])}")
    meanings = _meanings()
    # What is defined over tables has their columns.
    usual = {column: text for (_, column), text in meanings.items()}
    rows: list[tuple[str, ...]] = []
    for name in [wanted] if wanted else [*known, *others]:
        # Columns of what is defined over tables are told by DuckDB.
        of = known.get(name) or {row[0]: row[1] for row in ask_sql(store, f"describe {identifier(name)}").rows()}
        rows += [
            (name, column, kind.lower(), meanings.get((name, column), usual.get(column, "")))
            for column, kind in of.items()
        ]
    if wanted:
        return answer_of(["column", "type", "meaning"], [row[1:] for row in rows])
    return answer_of(["table", "column", "type", "meaning"], rows)


def _meanings() -> dict[tuple[str, str], str]:
    """What the schema says of each table and column: by their names, a table's own with an empty column."""
    found = {}
    for text in map(view_text, _TEXTS):
        for each in _COMMENT.finditer(text):
            found[each["table"], each["column"] or ""] = each["text"].replace("''", "'")
    return found
