"""Checks unfinished runs, and says how each is continued or removed."""

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from milstore.store.damage import attempt, below
from milstore.store.findings import NOTE, Finding
from milstore.store.given import Given
from milstore.store.lease import read_lease, run_id_of
from milstore.store.leftovers import entries
from milstore.store.paths import Store, store_option
from milstore.store.plain import check_plain, plain_bytes, read_object
from milstore.store.run_draft import EPOCHS_FILE, RunDraft, epoch_of_line
from milstore.store.run_reader import (
    PREDICTION,
    RECORDED,
)


def check_drafts(store: Store) -> Iterator[Finding]:
    """Findings about each unfinished run."""
    for folder in entries(store.running):
        if folder.name.startswith(".") or not (folder / "draft.json").is_file():
            continue
        run_id = run_id_of(folder)
        if not store.run_folder(run_id).is_dir():
            found = list(_draft(store, folder, run_id))
            # What was finished, taken over or deleted while it was looked at is looked at no more.
            yield from found if folder.is_dir() else ()


def _draft(store: Store, folder: Path, run_id: str) -> Iterator[Finding]:
    """Findings about one unfinished run. It is never reported as a leftover."""
    where = store_option(store)
    remove = f"remove it by milstore runs delete {run_id}{where}"
    broken = list(
        attempt(folder / "draft.json", store, f"{remove}, and train that split again", lambda: _began(folder))
    )
    if broken:
        yield from broken
        return
    yield from attempt(folder / EPOCHS_FILE, store, f"{remove}, and train that split again", lambda: _epochs(folder))
    began = _began(folder)
    recorded = began.get("kind") == RECORDED
    if began.get("kind") == PREDICTION:
        yield Finding(
            kind=NOTE,
            where=below(store, folder),
            what=f"what a command that made prediction {began.get('experiment')} left behind, or is writing",
            repair=f"the same milstore predict command creates it again, or {remove}",
        )
        return
    if recorded:
        draft = RunDraft(store, run_id, began, folder)
        yield from attempt(folder, store, f"{remove}, and record it again", lambda: Given(draft).check())
    yield from attempt(
        folder / "checkpoint.pt", store, f"{remove}, and train that split again", lambda: _checkpoint(folder)
    )
    lease, error = read_lease(folder), began.get("error")
    if lease is not None and not lease.is_stale():
        return
    what = f"an unfinished run that nobody {'records' if recorded else 'trains'} at the moment"
    if error:
        what = f"failed: {error}"
    elif lease is not None:
        what = f"interrupted: {lease.owner} has not been heard of since {lease.heartbeat_text}"
    go_on = f"continue it with milstore train --resume {run_id}{where}, or {remove}"
    if recorded:
        go_on = f"record(…) of the same experiment, split and seed goes on with it, or {remove}"
    elif "config_version" not in _began(folder) and "config" in _began(folder):
        # Of 0.1, whose checkpoints do not go on here.
        go_on = f"train its split again by --fresh, and {remove}"
    yield Finding(kind=NOTE, where=below(store, folder), what=what, repair=go_on)


def _began(folder: Path) -> dict[str, Any]:
    """The facts that an unfinished run began with. ValueError if they are none."""
    return read_object(folder / "draft.json", folder.parents[1])


def _checkpoint(folder: Path) -> None:
    path = folder / "checkpoint.pt"
    if os.path.lexists(path):
        check_plain(path, folder.parents[1])
        try:
            with zipfile.ZipFile(path) as archive:
                wrong = archive.testzip()
        except zipfile.BadZipFile as error:
            raise ValueError(f"the checkpoint is damaged: {error}") from error
        if wrong is not None:
            raise ValueError("the checkpoint is damaged: a checksum in it does not fit")


def _epochs(folder: Path) -> None:
    path = folder / EPOCHS_FILE
    for line in plain_bytes(path, folder.parents[1]).decode().splitlines() if os.path.lexists(path) else []:
        epoch_of_line(line)
