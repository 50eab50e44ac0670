"""Unfinished runs: begun, taken over by a process, opened and listed."""

import secrets
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from milstore.errors import ConflictError, StoreError, UsageError
from milstore.store.io import sync_folder, temporary_sibling, write_json
from milstore.store.lease import TAKEN, is_gone, lease_file, refuse_if_alive, run_id_of, write_lease
from milstore.store.locks import in_work
from milstore.store.names import check_name
from milstore.store.paths import Store
from milstore.store.run_draft import DRAFT_FILE, RunDraft, draft_folder, draft_folders, read_draft
from milstore.store.run_reader import RUN_ID, one_run_id

_LOOKS = 20
"""How often `running/` is read again because a folder was renamed while it was read."""


def mint_run_id(experiment: str, split: int | None, seed: int | None) -> str:
    """A new, unique run id: `<experiment>-s<split>-<seed>-<utc time>-<4 hex>`; parts that are None are left out."""
    check_name(experiment, "experiment")
    place = [*([] if split is None else [f"s{split}"]), *([] if seed is None else [str(seed)])]
    return "-".join([experiment, *place, f"{datetime.now(UTC):%Y%m%dt%H%M%S}", secrets.token_hex(2)])


def begin_run(store: Store, run_id: str, facts: dict[str, Any], *, token: str | None = None) -> RunDraft:
    """Make the folder of a new run. Raises UsageError for an invalid id, StoreError if it exists or the disk refuses.

    Args:
        store: the store.
        run_id: a new one, from `mint_run_id`.
        facts: what is known of it, as plain JSON values.
        token: claims the run for this process from its first moment.
    """
    if not RUN_ID.fullmatch(run_id):
        raise UsageError(f"no run can be called {run_id!r}: use a-z, 0-9, '_', '.', '-', a letter or digit first")
    folder = store.running / run_id
    if store.run_folder(run_id).exists():
        raise StoreError(f"run {run_id} is finished already: nothing is overwritten")
    if draft_folder(store, run_id) is not None:
        raise StoreError(f"run {run_id} has begun already: continue it with --resume {run_id}")
    temporary = temporary_sibling(folder)
    try:
        # Aside first: a run that can be seen has its facts and its lease.
        temporary.mkdir(parents=True)
        with in_work(temporary):
            write_json(temporary / DRAFT_FILE, facts)
            if token is not None:
                write_lease(temporary, token)
            temporary.rename(folder)
        sync_folder(store.running)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise StoreError(f"run {run_id} cannot begin in {store.running}: {error.strerror}") from error
    return RunDraft(store, run_id, facts, folder)


def claim_draft(draft: RunDraft, *, watched: bool = False) -> tuple[RunDraft, str]:
    """Take an unfinished run over for this process. Returns the draft under its new name, and the token of the claim.

    Whoever wrote to it before, and only seems to be dead, can write to it no more. `watched` is whether a claim that is old
    was seen not to be renewed already.

    Raises:
        ConflictError: a living process trains it, or another took it a moment ago.
        UsageError: it is finished.
        StoreError: the disk refuses.
    """
    refuse_if_alive(draft.folder, watched=watched)
    token = secrets.token_hex(4)
    folder = draft.folder.with_name(f"{draft.run_id}{TAKEN}{token}")
    claimed = replace(draft, folder=folder)
    try:
        write_lease(draft.folder, token, lease_file(folder).name)
        draft.folder.rename(folder)
        sync_folder(draft.store.running)
        # Only now can nobody else commit it any more.
        if draft.store.run_folder(draft.run_id).is_dir():
            claimed.remove()
            raise UsageError(_finished(draft.run_id))
        for path in folder.iterdir():
            stale_lease = path.name.startswith("lease") and path != lease_file(folder)
            if stale_lease or (path.name.startswith(".") and path.name.endswith(".tmp")):
                path.unlink(missing_ok=True)
    except FileNotFoundError as error:
        if draft.store.run_folder(draft.run_id).is_dir():
            raise UsageError(_finished(draft.run_id)) from error
        raise ConflictError(
            f"run {draft.run_id} was taken over by another process a moment ago: leave it that"
        ) from error
    except OSError as error:
        raise StoreError(f"run {draft.run_id} cannot be continued: {draft.folder}: {error.strerror}") from error
    return claimed, token


def _finished(run_id: str) -> str:
    return f"run {run_id} is finished: there is nothing to continue"


def open_draft(store: Store, run_id: str) -> RunDraft:
    """An unfinished run, by its id or a part that no other unfinished run has. UsageError if it is none or several."""
    if store.run_folder(run_id).is_dir():
        raise UsageError(_finished(run_id))
    found = _drafts(store, run_id)
    if not found:
        drafts = {draft.run_id: draft for draft in list_drafts(store)}
        return drafts[one_run_id(run_id, drafts, "unfinished run")]
    return found[0]


def list_drafts(store: Store) -> list[RunDraft]:
    """The unfinished runs, by id. What the training of a finished run left behind is none."""
    return _drafts(store, None)


def _drafts(store: Store, wanted: str | None) -> list[RunDraft]:
    """The unfinished runs, or one of them, by id."""
    for _ in range(_LOOKS):
        found, complete = {}, True
        for folder in draft_folders(store):
            run_id = run_id_of(folder)
            if (wanted is not None and run_id != wanted) or store.run_folder(run_id).is_dir():
                continue
            draft = read_draft(store, folder)
            if draft is not None:
                found[run_id] = draft
            elif is_gone(folder):
                # Taken over or committed since it was listed: under its new name it must not be missed.
                complete = False
        if complete:
            break
    return [found[run_id] for run_id in sorted(found)]
