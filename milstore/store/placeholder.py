"""The run folder without rows, so that views over all runs work before the first run."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from milstore.schema import SCHEMA_VERSION
from milstore.schema.arrow import empty
from milstore.store.findings import DAMAGE, Finding
from milstore.store.io import write_parquet, write_text, write_whole
from milstore.store.paths import NO_RUN, Store, store_option
from milstore.store.plain import check_plain
from milstore.store.run_reader import FURTHER, RUN_FILE, TABLES

_NOTHING = "[]\n"
"""What the placeholder's `run.json` says: that there is no run in it."""


def make_placeholder(store: Store) -> list[Path]:
    """Write whatever the placeholder lacks or has in another form: an empty file of every table that a run may have.

    Returns what was written.
    """
    folder = store.run_folder(NO_RUN)
    folder.mkdir(parents=True, exist_ok=True)
    made = [folder / f"{name}.parquet" for name in (*TABLES, *FURTHER) if _wrong(folder / f"{name}.parquet", name)]
    for path in made:
        write_whole(path, partial(write_parquet, empty(path.stem)))
    if _wrong_facts(folder / RUN_FILE):
        write_text(folder / RUN_FILE, _NOTHING)
        made.append(folder / RUN_FILE)
    return made


def check_placeholder(store: Store) -> Iterator[Finding]:
    """What the placeholder lacks, or has in another form than views over all runs need."""
    folder = store.run_folder(NO_RUN)
    # A store of an earlier version lacks the tables that runs have had since.
    tables = (*TABLES, *(FURTHER if store.manifest()["version"] == SCHEMA_VERSION else ()))
    found = {folder / f"{name}.parquet": _wrong(folder / f"{name}.parquet", name) for name in tables}
    found[folder / RUN_FILE] = _wrong_facts(folder / RUN_FILE)
    for path, wrong in found.items():
        if wrong:
            yield Finding(
                kind=DAMAGE,
                where=path.relative_to(store.root).as_posix(),
                what=f"views over all runs need this file, and it {wrong}",
                repair=f"put it back by milstore init{store_option(store)}",
            )


def _wrong(path: Path, name: str) -> str:
    """What is wrong with an empty table; nothing if it is one."""
    try:
        check_plain(path, path.parents[2].resolve())
        # Wholly, for a damaged page of a file that says that it has no row is found by reading alone.
        table = pq.ParquetFile(path).read()
    except FileNotFoundError:
        return "is missing"
    except (OSError, pa.ArrowException) as error:
        return f"cannot be read ({' '.join(str(error).split())[:200]})"
    if table.num_rows:
        return f"has {table.num_rows} rows, where there is to be none"
    return "" if set(table.column_names) <= set(empty(name).column_names) else "is of another table"


def _wrong_facts(path: Path) -> str:
    try:
        check_plain(path, path.parents[2].resolve())
        return "" if path.read_text(encoding="utf-8") == _NOTHING else "does not say that it holds no run"
    except FileNotFoundError:
        return "is missing"
    except (OSError, ValueError) as error:
        return f"cannot be read ({error})"
