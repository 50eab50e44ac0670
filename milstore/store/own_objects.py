"""What users created in milstore.duckdb: when it is rebuilt, their tables are copied and the rest is saved as SQL text.

A view, a macro or a default is a program, and who wrote it is not known: it is written down beside the file, and nothing
but a person runs it again.
"""

import os
from pathlib import Path

import duckdb

from milstore.store.catalog_build import own_names, own_tables
from milstore.store.database_lock import PutOff, check_plain
from milstore.store.foreign_database import (
    NEW,
    BaseTable,
    Name,
    base_table,
    carry,
    definitions,
    table_names,
    view_names,
)
from milstore.store.io import sync_file, sync_folder
from milstore.store.names import named
from milstore.store.paths import Store
from milstore.store.shell_views import STAMP_TABLE
from milstore.store.sql_text import identifier

OWN_SQL = "milstore.own.sql"
"""File beside milstore.duckdb."""
_LARGEST_SQL = 16 << 20
_HEAD = """\
-- What people made in milstore.duckdb beside tables, as it was when the file was made again. milstore runs none of it.
-- Read it first: whoever could write to the store could write it. Then run it in a duckdb shell: .read milstore.own.sql
-- Default values of the parameters of macros are not in it.
"""


def keep_own(con: duckdb.DuckDBPyConnection, store: Store, scratch: Path) -> list[str]:
    """Copy users' own tables to the new file, and save the rest as text. Returns messages for the user.

    Args:
        con: from `attached`; afterwards the new file is whole and closed.
        store: the store.
        scratch: folder for files that are not whole yet.

    Raises:
        PutOff: a table cannot be read, or the file of SQL cannot be written.
        duckdb.Error: a table cannot be read or written.
    """
    ours = own_names(store.manifest())
    tables = [base_table(con, name) for name in table_names(con) if not _is_in(name, ours)]
    for table in tables:
        carry(con, table)
    kept, words = _texts(con, tables, ours)
    con.execute(f"detach {NEW}")
    if not kept:
        return []
    path = store.root / OWN_SQL
    _append(path, kept, scratch)
    return [
        f"{store.database.name} was made again with your tables; what is no table ({named(words)}) is in {path.name}: "
        "read it, and run it again in a duckdb shell"
    ]


def _is_in(name: Name, ours: set[str]) -> bool:
    return name[0] == "main" and name[1].lower() in ours


def check_names(con: duckdb.DuckDBPyConnection, store: Store) -> None:
    """Raises PutOff if an object that milstore did not make has one of milstore's names."""
    ours = own_names(store.manifest())
    tables = [name for name in table_names(con) if _is_in(name, ours)]
    if ("main", STAMP_TABLE) in tables:
        strange = [name for _, name in tables if name not in own_tables()]
    else:
        strange = [name for _, name in [*tables, *(name for name in view_names(con) if _is_in(name, ours))]]
    if strange:
        raise PutOff(
            f"cannot be brought up to date: it holds tables of these names that milstore did not make ({named(strange)}): "
            "rename them, or move the file away"
        )


def _texts(con: duckdb.DuckDBPyConnection, tables: list[BaseTable], ours: set[str]) -> tuple[list[str], list[str]]:
    """The texts to be kept, and what they are of."""
    texts, words, schemas = [], [], set()
    for kind, name, sql in definitions(con):
        if kind not in ("view", "macro") or not _is_in(name, ours):
            texts.append(sql)
            words.append(f"{kind} {name[1]}")
            schemas.add(name[0])
    for table in tables:
        if table.more_than_rows:
            text = f"table {'.'.join(table.name)} was more than its rows: {table.sql}"
            texts.append("\n".join(f"-- {line}" for line in text.splitlines()))
            words.append(f"defaults, checks or keys of {table.name[1]}")
    made = [f"create schema if not exists {identifier(schema)};" for schema in sorted(schemas - {"main"})]
    return [*made, *texts], words


def _append(path: Path, texts: list[str], scratch: Path) -> None:
    """Add the texts that are not there yet: what an earlier refresh wrote may not have been run again."""
    before = ""
    if os.path.lexists(path):
        try:
            check_plain(path)
        except PutOff as reason:
            raise PutOff(f"cannot be brought up to date: {path.name} beside it {reason}") from reason
        if path.stat().st_size > _LARGEST_SQL:
            raise PutOff(f"cannot be brought up to date: {path.name} beside it is too large: move it away")
        before = path.read_bytes().decode("utf-8", "surrogateescape")
    new = [text for text in texts if f"\n{text}\n" not in before]
    if new:
        whole = (before or _HEAD) + "".join(f"\n{text}\n" for text in new)
        made = scratch / path.name
        made.write_bytes(whole.encode("utf-8", "surrogateescape"))
        sync_file(made)
        made.replace(path)
        sync_folder(path.parent)
