"""Runs statements that write, with no check of SQL at all, in a process that is forked for it.

Each statement has a process of its own, since some end it.
"""

import os
import shutil
import sys
from pathlib import Path

import milstore.asking.ask
from milstore.asking import wall
from milstore.errors import MilstoreError
from milstore.store import Store, open_store

WRITING = [
    "copy (select 1 as a) to '{root}/new.csv'",
    "copy (select 1 as a) to '{root}/cohort/manifest.json' (format json)",
    "copy (select 1 as a, 2 as b) to '{root}/parts' (format parquet, partition_by (a))",
    "/* ääääääää */ explain analyze copy (select 1 as a) to '{root}/new.parquet'",
    "export database '{root}/dump'",
    "attach '{root}/new.db' as x; create table x.t as select 1 as a; checkpoint x",
    "attach '{root}/milstore.duckdb' as x; create table x.t as select 1 as a; detach x",
    "attach '{root}/new.db' as x; begin; create table x.t (a int); insert into x.t values (1); commit",
    "call enable_logging(level := 'debug', storage := 'file', storage_path := '{root}/runs'); select 1",
    "call enable_logging(storage_path := '{root}'); select write_log('x', level := 'error'); call truncate_duckdb_logs()",
    "call enable_profiling(save_location := '{root}/profile.txt'); select 1",
    "from enable_profiling(save_location := '{root}/cohort/profile.txt'); select 1",
]
SINCE_2_LOCKED = 4
"""How many of them DuckDB 2 refuses by itself, since the configuration is locked: the last four."""


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file and folder below, with its mode and bytes."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    }


def ask(store: Store, sql: str) -> None:
    """Ask as `milstore sql` does, and let go of the answer, which closes the connection."""
    try:
        milstore.asking.ask.ask_sql(store, sql.replace("{root}", str(store.root)), timeout=20).rows()
    except MilstoreError as error:
        sys.stderr.write(f"{error}\n")


def changed(whole: Path, folder: Path, which: str) -> dict[str, list[str]]:
    """For each statement the files and folders that it made, changed or removed in a copy of a store.

    Which wall is there is `usual`, `landlock`, `seccomp` or `none`.
    """
    milstore.asking.ask.check_foreign = lambda con, sql, there=None: None
    if which != "usual":
        wall.give_up_writing = {"none": lambda: wall.NONE, "landlock": wall.landlock, "seccomp": wall.seccomp}[which]
    found: dict[str, list[str]] = {}
    for i, sql in enumerate(WRITING):
        # As long as nothing is changed, the same store will do.
        if not found or list(found.values())[-1]:
            place = folder / str(i)
            shutil.copytree(whole, place / "three")
            (place / "neighbour").mkdir()
            (place / "neighbour" / "note.txt").write_text("mine", encoding="utf-8")
            before = everything(place)
        child = os.fork()
        if not child:
            ask(open_store(place / "three"), sql)
            os._exit(0)
        os.waitpid(child, 0)
        after = everything(place)
        found[sql] = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    return found
