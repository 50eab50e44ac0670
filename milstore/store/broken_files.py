"""Finds the file of a store that caused an error of DuckDB or pyarrow, and what repairs it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from milstore.errors import StoreError
from milstore.schema.columns import columns, columns_of_version
from milstore.store.names import clip
from milstore.store.paths import NO_RUN, Store
from milstore.store.plain import unreadable
from milstore.store.run_reader import run_ids
from milstore.store.verified import files_of_cohort, files_of_runs, verify

_RUN_TABLES = ("epochs", "predictions", "probabilities", "attention", "coverage", "scores")
_REPAIR = "run milstore doctor, which says how to repair it"


@contextmanager
def reading(store: Store) -> Iterator[None]:
    """Within this block, an error in reading a file of the store is raised with the file's name and what repairs it.

    Raises:
        StoreError: a file cannot be read, in place of the error of the library that read it.
    """
    try:
        yield
    except Exception as error:
        # By its name: most questions load no pyarrow.
        if isinstance(error, duckdb.Error) or type(error).__module__.startswith("pyarrow"):
            raise broken(store, error) from error
        raise


def broken(store: Store, error: Exception) -> StoreError:
    """The error that names the broken file behind an error of DuckDB or pyarrow."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    why = clip(lines[0] if lines else type(error).__name__, 300)
    if (path := named_file(store, str(error))) is not None:
        return StoreError(f"{path} cannot be read ({why.replace(path, 'the file')}): {_REPAIR}")
    # The error does not say which: one that is another than was stored is found by its hash.
    try:
        verify(store, files_of_cohort(store))
        verify(store, files_of_runs(store, run_ids(store), _RUN_TABLES))
    except StoreError as found:
        return found
    if (misfit := _misfit(store)) is not None:
        return misfit
    return StoreError(f"the files of {store.root} cannot be read as those of a store ({why}): {_REPAIR}")


def _misfit(store: Store) -> StoreError | None:
    """The error for a Parquet file that lacks columns of its table, whatever its hash."""
    import pyarrow.parquet as pq
    from pyarrow.types import is_nested

    for path, wanted in _parquet_files(store):
        try:
            schema = pq.read_schema(path)
        except (OSError, pa_error()) as error:
            return unreadable(path, error)
        missing = [name for name in wanted if name not in schema.names or is_nested(schema.field(name).type)]
        if missing:
            return StoreError(f"{path} cannot be read (it lacks the column {missing[0]} of its table): {_REPAIR}")
    return None


def pa_error() -> type[Exception]:
    """What pyarrow raises."""
    import pyarrow as pa

    error: type[Exception] = pa.ArrowException
    return error


def _parquet_files(store: Store) -> Iterator[tuple[Path, list[str]]]:
    """Each Parquet file of the store that is there, and the columns that it must have."""
    manifest = store.manifest()
    for name, of in columns_of_version("cohort", manifest["version"]).items():
        if name in manifest["tables"]:
            yield store.root / manifest["tables"][name]["file"], list(of)
    for path in sorted((store.root / "features").glob("*/*/rows.parquet")):
        yield path, ["case_id", "stain", "slice_idx", "patch_idx"]
    for run_id in (NO_RUN, *run_ids(store)):
        for table in _RUN_TABLES:
            path = store.run_folder(run_id) / f"{table}.parquet"
            if path.is_file():
                yield path, [name for name in columns("run")[table] if name != "run_id"]


def named_file(store: Store, text: str) -> str | None:
    """The first file of the store that a text names, if it names one."""
    found = re.search(re.escape(f"{store.root}/") + r"""[^"'\n]*?\.(?:parquet|json|npy)""", text)
    return found.group() if found else None
