"""The run folder without rows, so that views over all runs work before the first run."""

from functools import partial

from milstore.schema.arrow import empty
from milstore.store.io import write_parquet, write_text, write_whole
from milstore.store.paths import NO_RUN, Store
from milstore.store.run_reader import FURTHER, RUN_FILE, TABLES


def make_placeholder(store: Store) -> None:
    """Write whatever the placeholder lacks: an empty file of every table that a run may have."""
    folder = store.run_folder(NO_RUN)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*TABLES, *FURTHER):
        if not (folder / f"{name}.parquet").is_file():
            write_whole(folder / f"{name}.parquet", partial(write_parquet, empty(name)))
    if not (folder / RUN_FILE).is_file():
        write_text(folder / RUN_FILE, "[]\n")
