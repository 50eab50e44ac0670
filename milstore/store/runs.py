"""Runs: a folder in `running/` while they train, one atomic rename into `runs/` when they are finished.

A finished run is never changed. Its `run.json` names every file with size, rows and SHA-256. What is unfinished is the
business of `milstore.store.drafts`.
"""

import json
import os
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from milstore.errors import StoreError, UsageError
from milstore.store.drafts import RunDraft, begin_run, claim_draft, list_drafts, open_draft
from milstore.store.files import write_parquet, write_whole
from milstore.store.folder import NO_RUN, Store
from milstore.store.names import check_name, nearest

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

RUN_FILE = "run.json"
WEIGHTS = "weights.safetensors"
TABLES = ("epochs", "predictions", "probabilities", "attention", "coverage")
"""The tables of a run that are Parquet files."""


def mint_run_id(experiment: str, split: int, seed: int) -> str:
    """A run id that nobody has: `<experiment>-s<split>-<seed>-<utc time>-<4 hex>`."""
    import secrets

    check_name(experiment, "experiment")
    return f"{experiment}-s{split}-{seed}-{datetime.now(UTC):%Y%m%dt%H%M%S}-{secrets.token_hex(2)}"


def run_ids(store: Store) -> list[str]:
    """The finished runs, by id."""
    with os.scandir(store.runs) as entries:
        names = [entry.name.removeprefix("run_id=") for entry in entries if entry.name.startswith("run_id=")]
    return sorted(name for name in names if name != NO_RUN)


def find_run_id(store: Store, prefix: str) -> str:
    """The finished run whose id is `prefix`, or begins so. UsageError if there is none, or more than one."""
    ids = run_ids(store)
    if prefix in ids:
        return prefix
    found = [run_id for run_id in ids if run_id.startswith(prefix)] if prefix else []
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"run {prefix!r} is ambiguous: {nearest(prefix, found)}")
    raise UsageError(f"there is no finished run {prefix!r}: {nearest(prefix, ids)}")


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


def read_run(store: Store, run_id: str) -> dict[str, Any]:
    """Everything that a finished run's `run.json` says. StoreError if it cannot be read."""
    # Text, not a Path: of thousands of runs, making the paths takes longer than reading.
    path = f"{store.root}/runs/run_id={run_id}/{RUN_FILE}"
    try:
        with open(path, "rb") as stream:  # noqa: PTH123
            facts: dict[str, Any] = json.loads(stream.read())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({error}): run milstore doctor") from error
    return facts
