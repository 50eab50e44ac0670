"""Runs: a folder in `running/` while they train, one atomic rename into `runs/` when they are finished.

A finished run is never changed. Its `run.json` names every file with size, rows and SHA-256. What is unfinished is the
business of `milstore.store.run_writer`.
"""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from milstore.store.io import write_parquet, write_whole
from milstore.store.names import check_name
from milstore.store.paths import NO_RUN, Store
from milstore.store.run_reader import RUN_FILE, TABLES, WEIGHTS, find_run_id, read_run, run_ids
from milstore.store.run_writer import RunDraft, begin_run, claim_draft, list_drafts, open_draft

__all__ = [
    "RUN_FILE",
    "TABLES",
    "WEIGHTS",
    "RunDraft",
    "begin_run",
    "claim_draft",
    "find_run_id",
    "list_drafts",
    "make_placeholder",
    "mint_run_id",
    "open_draft",
    "read_run",
    "run_ids",
]


def mint_run_id(experiment: str, split: int, seed: int) -> str:
    """A run id that nobody has: `<experiment>-s<split>-<seed>-<utc time>-<4 hex>`."""
    import secrets

    check_name(experiment, "experiment")
    return f"{experiment}-s{split}-{seed}-{datetime.now(UTC):%Y%m%dt%H%M%S}-{secrets.token_hex(2)}"


def make_placeholder(store: Store) -> None:
    """The run folder without rows, so that views over all runs work before the first run."""
    from milstore.schema.arrow import empty

    folder = store.run_folder(NO_RUN)
    folder.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        write_whole(folder / f"{name}.parquet", partial(write_parquet, empty(name)))
    write_whole(folder / RUN_FILE, lambda path: _write_text(path, "[]\n"))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
