"""Which file of a store is behind an error of DuckDB or of pyarrow, and what repairs it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from milstore.errors import StoreError
from milstore.store.names import clip
from milstore.store.paths import Store
from milstore.store.run_reader import run_ids
from milstore.store.verified import files_of_cohort, files_of_runs, verify

_RUN_TABLES = ("epochs", "predictions", "probabilities", "attention", "coverage", "scores")
_REPAIR = "run milstore doctor, which says how to repair it"


@contextmanager
def reading(store: Store) -> Iterator[None]:
    """In this block only files of the store are read: what goes wrong with one is said with its name and what repairs it.

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
    return StoreError(f"the files of {store.root} cannot be read as those of a store ({why}): {_REPAIR}")


def named_file(store: Store, text: str) -> str | None:
    """The first file of the store that a text names, if it names one."""
    found = re.search(re.escape(f"{store.root}/") + r"""[^"'\n]*?\.(?:parquet|json|npy)""", text)
    return found.group() if found else None
