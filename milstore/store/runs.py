"""Runs: a folder in `running/` while they train, one atomic rename into `runs/` when they are finished.

A finished run is never changed. Its `run.json` names every file with size, rows and SHA-256.
"""

import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milstore.errors import DataError, StoreError, UsageError
from milstore.schema.columns import columns
from milstore.store.files import sha256_of, sync_file, sync_folder, write_json, write_parquet, write_whole
from milstore.store.folder import NO_RUN, Store
from milstore.store.names import check_name, nearest

if TYPE_CHECKING:
    import pyarrow as pa

RUN_FILE = "run.json"
WEIGHTS = "weights.safetensors"
TABLES = ("epochs", "predictions", "probabilities", "attention", "coverage")
"""The tables of a run that are Parquet files."""
_DRAFT_FILE = "draft.json"
_EPOCHS_FILE = "epochs.jsonl"
_CHECKPOINT = "checkpoint.pt"


def mint_run_id(experiment: str, split: int, seed: int) -> str:
    """A run id that nobody has: `<experiment>-s<split>-<seed>-<utc time>-<4 hex>`."""
    check_name(experiment, "experiment")
    return f"{experiment}-s{split}-{seed}-{datetime.now(UTC):%Y%m%dt%H%M%S}-{secrets.token_hex(2)}"


@dataclass(frozen=True)
class RunDraft:
    """A run in training or interrupted: what is on the disk of it so far."""

    store: Store
    run_id: str
    facts: dict[str, Any]
    """What was known when it began, as plain JSON values."""

    @property
    def folder(self) -> Path:
        """Its folder, `running/<run_id>`."""
        return self.store.running / self.run_id

    @property
    def checkpoint_path(self) -> Path:
        """The last checkpoint; it need not exist."""
        return self.folder / _CHECKPOINT

    def write_checkpoint(self, writer: Callable[[Path], None]) -> None:
        """Put what `writer` writes in the place of the last checkpoint, whole or not at all."""
        write_whole(self.checkpoint_path, writer)

    def update_facts(self, **facts: Any) -> "RunDraft":
        """The draft with some facts changed, on disk too."""
        changed = {**self.facts, **facts}
        write_json(self.folder / _DRAFT_FILE, changed)
        return RunDraft(self.store, self.run_id, changed)

    def epochs(self) -> list[dict[str, Any]]:
        """The rows of the epochs that have ended, in order."""
        try:
            lines = (self.folder / _EPOCHS_FILE).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines]

    def append_epoch(self, row: dict[str, Any]) -> None:
        """Store the row of an epoch that has ended. Rows of that epoch and later ones, left by a death, go."""
        rows = [old for old in self.epochs() if old["epoch"] < row["epoch"]]
        text = "".join(json.dumps(each, allow_nan=False) + "\n" for each in [*rows, row])
        write_whole(self.folder / _EPOCHS_FILE, lambda path: _write_text(path, text))

    def commit(
        self,
        run: dict[str, Any],
        *,
        epochs: "pa.Table",
        predictions: "pa.Table",
        probabilities: "pa.Table",
        attention: "pa.Table",
        coverage: "pa.Table",
        weights: Callable[[Path], None] | None = None,
    ) -> Path:
        """Check everything, write it, and make the run a finished one. Returns its folder.

        Args:
            run: the columns of the table `runs`, without run_id; times as ISO texts in UTC.
            epochs: rows of the table of that name, and so on; attention may come without rank and n_patches.
            predictions: see epochs.
            probabilities: see epochs.
            attention: see epochs.
            coverage: see epochs.
            weights: writes the weights (safetensors) to a path; None for a run without weights.

        Raises:
            DataError: an invariant does not hold; nothing is stored.
            StoreError: the disk refuses; the draft stays as it is.
        """
        from milstore.store.attention import check_attention, check_predictions, patches_fingerprint
        from milstore.store.integrity import checked_table

        predictions, probabilities = check_predictions(predictions, probabilities)
        tables = {
            "epochs": checked_table("epochs", epochs),
            "predictions": predictions,
            "probabilities": probabilities,
            "attention": check_attention(attention),
            "coverage": checked_table("coverage", coverage),
        }
        if set(tables["attention"]["case_id"].unique().to_pylist()) != set(predictions["case_id"].to_pylist()):
            raise DataError("predictions and attention are not of the same cases")
        run = {**run, "patches_fingerprint": patches_fingerprint(tables["attention"])}
        try:
            return self._write(run, tables, weights)
        except OSError as error:
            raise StoreError(f"run {self.run_id} cannot be written: {error.strerror}; its draft is kept") from error

    def _write(
        self, run: dict[str, Any], tables: "dict[str, pa.Table]", weights: Callable[[Path], None] | None
    ) -> Path:
        staging = self.folder / "commit"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        files: dict[str, dict[str, Any]] = {}
        for name, table in tables.items():
            write_parquet(table, staging / f"{name}.parquet")
            files[f"{name}.parquet"] = {"rows": table.num_rows}
        if weights is not None:
            weights(staging / WEIGHTS)
            sync_file(staging / WEIGHTS)
            files[WEIGHTS] = {}
        for name, entry in files.items():
            entry["bytes"] = (staging / name).stat().st_size
            entry["sha256"] = sha256_of(staging / name)
        run["weights_sha256"] = files[WEIGHTS]["sha256"] if weights is not None else ""
        facts = {
            "run_id": self.run_id,
            **{name: _known(run, name) for name in columns("run")["runs"] if name != "run_id"},
        }
        write_json(staging / RUN_FILE, {**facts, "files": files})
        for path in staging.iterdir():
            path.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
        sync_folder(staging)
        final = self.store.run_folder(self.run_id)
        if final.exists():
            raise StoreError(f"run {self.run_id} is finished already: nothing is overwritten")
        staging.rename(final)
        sync_folder(self.store.runs)
        # After the rename: an ordinary user cannot move a folder that is read-only.
        final.chmod(0o555)
        shutil.rmtree(self.folder, ignore_errors=True)
        return final


def _known(run: dict[str, Any], name: str) -> Any:
    if name not in run:
        raise DataError(f"the run says nothing of {name}")
    return run[name]


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def begin_run(store: Store, run_id: str, facts: dict[str, Any]) -> RunDraft:
    """Make the folder of a new run. StoreError if the run exists or the disk refuses."""
    check = store.run_folder(run_id)
    draft = RunDraft(store, run_id, facts)
    try:
        if check.exists():
            raise StoreError(f"run {run_id} is finished already: nothing is overwritten")
        draft.folder.mkdir(parents=True)
        write_json(draft.folder / _DRAFT_FILE, facts)
        sync_folder(store.running)
    except FileExistsError as error:
        raise StoreError(f"run {run_id} has begun already: continue it with --resume {run_id}") from error
    except OSError as error:
        raise StoreError(f"run {run_id} cannot begin in {store.running}: {error.strerror}") from error
    return draft


def open_draft(store: Store, run_id: str) -> RunDraft:
    """An unfinished run. UsageError if there is none of that id."""
    try:
        facts = json.loads((store.running / run_id / _DRAFT_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        if store.run_folder(run_id).is_dir():
            raise UsageError(f"run {run_id} is finished: there is nothing to continue") from None
        raise UsageError(f"there is no unfinished run {run_id}: {nearest(run_id, _draft_ids(store))}") from None
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{store.running / run_id / _DRAFT_FILE} cannot be read ({error}): run milstore doctor"
        ) from error
    return RunDraft(store, run_id, facts)


def list_drafts(store: Store) -> list[RunDraft]:
    """The unfinished runs, by id."""
    return [open_draft(store, run_id) for run_id in _draft_ids(store)]


def _draft_ids(store: Store) -> list[str]:
    if not store.running.is_dir():
        return []
    return sorted(p.name for p in store.running.iterdir() if (p / _DRAFT_FILE).is_file())


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


def read_run(store: Store, run_id: str) -> dict[str, Any]:
    """Everything that a finished run's `run.json` says. StoreError if it cannot be read."""
    path = store.run_folder(run_id) / RUN_FILE
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({error}): run milstore doctor") from error
    return facts
