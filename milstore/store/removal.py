"""Deleting runs, finished or not. What would go can be listed first, and readers see a run whole or not at all."""

import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from milstore.errors import StoreError, UsageError
from milstore.store.io import sync_folder, temporary_sibling
from milstore.store.lease import run_id_of
from milstore.store.locks import in_work
from milstore.store.paths import Store
from milstore.store.run_draft import LEASES, RunDraft
from milstore.store.run_reader import one_run_id, run_ids
from milstore.store.run_writer import claim_draft

_LEAST = 4
"""Letters of an id by which a run is found to be deleted: fewer are too soon typed by mistake."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Removable:
    """A run that can be deleted."""

    run_id: str
    folder: Path
    finished: bool
    n_files: int
    n_bytes: int


def removable(store: Store, text: str) -> Removable:
    """What deleting a run would remove; given by its id or a unique part of it.

    Raises UsageError if none or several fit.

    An unfinished run need not be readable: one that is damaged is deleted too.
    """
    unfinished = {
        run_id_of(path): path
        for path in sorted(store.running.iterdir() if store.running.is_dir() else [])
        if path.is_dir() and not path.name.startswith(".") and path.name != LEASES
    }
    known = dict.fromkeys([*run_ids(store), *unfinished])
    if text not in known and len(text) < _LEAST:
        raise UsageError(f"there is no run {text!r}: to delete one, give its id or {_LEAST} letters of it or more")
    run_id = one_run_id(text, known, "run")
    final = store.run_folder(run_id)
    folder = final if final.is_dir() else unfinished[run_id]
    folders = [folder, store.derived_folder(run_id)] if folder == final else [folder]
    files = [path for each in folders for path in each.rglob("*") if path.is_file() and not path.is_symlink()]
    return Removable(
        run_id=run_id,
        folder=folder,
        finished=folder == final,
        n_files=len(files),
        n_bytes=sum(path.stat().st_size for path in files),
    )


def delete_run(store: Store, run: Removable) -> None:
    """Delete a run for good.

    Raises:
        ConflictError: a living process trains it.
        UsageError: it was finished since.
        StoreError: it is somebody else's, or the disk refuses.
    """
    _refuse_somebody_elses(run)
    if not run.finished:
        # Claimed, so that a trainer that was only suspended finds nothing to write to.
        draft, _ = claim_draft(RunDraft(store, run.run_id, {}, run.folder))
        draft.remove()
        return
    # Not beside the runs, where whoever reads all of them would come upon it.
    gone = temporary_sibling(store.running / run.folder.name)
    try:
        with in_work(run.folder):
            _move(run.folder, gone)
            sync_folder(store.runs)
            sync_folder(store.running)
            make_writable(gone)
            shutil.rmtree(gone)
        # Last: of a run that is gone, doctor finds it as left over.
        shutil.rmtree(store.derived_folder(run.run_id), ignore_errors=True)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not gone.exists() and not run.folder.exists():
            # The doctor's --repair removed it meanwhile.
            return
        if run.folder.is_dir():
            raise StoreError(f"run {run.run_id} cannot be deleted: {run.folder}: {error.strerror}") from error
        raise StoreError(
            f"run {run.run_id} is deleted, but its files are still in {gone} ({error.strerror}): "
            "milstore doctor --repair --older-than 0 removes them"
        ) from error


def _move(folder: Path, to: Path) -> None:
    """Rename the folder of a committed run into another folder."""
    to.parent.mkdir(exist_ok=True)
    mode = stat.S_IMODE(folder.stat().st_mode)
    # An ordinary user cannot move a folder that is read-only out of its folder.
    folder.chmod(mode | stat.S_IWUSR)
    try:
        folder.rename(to)
    except OSError:
        folder.chmod(mode)
        raise


def make_writable(folder: Path) -> None:
    """Let the owner of a folder, as of a committed run, remove what is in it."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)


def _refuse_somebody_elses(run: Removable) -> None:
    try:
        owner = run.folder.stat().st_uid
    except OSError as error:
        raise UsageError(f"there is no run {run.run_id!r} any more") from error
    if os.geteuid() not in (0, owner):
        raise StoreError(f"run {run.run_id} is another user's ({_user(owner)}): only its owner can delete it")


def _user(number: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
