"""Finds and removes what dead writers left, and tells it from what a living process is writing.

A writer holds what it fills: a folder by a lock on it, the cohort's files by the cohort's lock, an unfinished run by its
lease. What is not held and has not been changed for a while is left over; it is looked at once more under the cohort's
lock before it is removed, so that nothing goes that somebody was about to name.
"""

import os
import shutil
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from milstore.errors import MilstoreError
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import locked_cohort
from milstore.store.derived import check_derived, derived_runs
from milstore.store.findings import LEFTOVER, NOTE, Finding
from milstore.store.lease import read_lease, run_id_of
from milstore.store.locks import is_in_work
from milstore.store.packs import entries_of
from milstore.store.paths import NO_RUN, SHARDS, Store, store_option
from milstore.store.removal import make_writable
from milstore.store.run_draft import LEASES
from milstore.store.run_writer import list_drafts
from milstore.store.training_lease import TRAINING, look, put_away, training_of

_DAY = 86400.0
_WEEK = 7 * _DAY
"""For so long the slices of an encoding that was stopped are kept: they may be hours of a GPU."""


def is_somebodys(path: Path) -> bool:
    """Whether a living writer holds a folder, or claims the unfinished run in it."""
    lease = read_lease(path)
    return is_in_work(path) or (lease is not None and not lease.is_stale())


def find_leftovers(store: Store, young: float) -> Iterator[Finding]:
    """What nobody owns: left over, or (changed within `young` seconds, or held) perhaps in use, which is a note."""
    yield from check_derived(store)
    yield from _of_runs(store)
    yield from _leases(store)
    manifest = store.manifest()
    wanted = {entry["file"] for entry in manifest["tables"].values()}
    wanted |= {*manifest.get("previous", ()), *manifest.get("earlier", ())}
    for path in (path for folder in _folders(store) for path in entries(folder)):
        if path.name.startswith(".") and path.name.endswith(".tmp"):
            yield from _unowned(store, path, "half-written by a writer that died", young)
        elif path.name.startswith(".") and path.name.endswith(SHARDS):
            what = "slices of an encoding that was stopped, with which the same command goes on"
            yield from _unowned(store, path, what, max(young, _WEEK))
        elif (
            path.suffix == ".parquet" and path.parent.name in ("cohort", "patches") and below(store, path) not in wanted
        ):
            yield from _unowned(store, path, "a cohort table that no generation names", young)
    read = _encoders_in_use(store)
    for pack in _packs(store):
        yield from _unowned(store, pack, "features that no encoder names", young, held=pack.parent.name in read)


def repair(store: Store, findings: Collection[Finding]) -> list[Finding]:
    """Remove the leftovers, and nothing else. Returns what was removed.

    Each is looked at again while nobody else can change the cohort: what was named since, or is somebody's, stays.

    Raises:
        StoreError: this user may not change the store.
    """
    found = [finding for finding in findings if finding.kind == LEFTOVER and finding.remove is not None]
    if not found:
        return []
    with locked_cohort(store):
        still = {finding.remove for finding in find_leftovers(store, young=0) if finding.kind == LEFTOVER}
        return [each for each in found if each.remove is not None and each.remove in still and _remove(each.remove)]


def _remove(path: Path) -> bool:
    """Remove it, and return whether that worked. What another user owns stays, and is found again."""
    try:
        if path.parent.name == LEASES and not path.name.startswith(".") and (seen := look(path)) is not None:
            # Whoever takes it over at this moment keeps it.
            if not seen.lease.is_stale():
                return False
            put_away(path, seen.lease.token)
            return True
        if path.is_dir() and not path.is_symlink():
            make_writable(path)
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def below(store: Store, path: Path) -> str:
    """A path relative to the store."""
    return path.relative_to(store.root).as_posix()


def entries(folder: Path) -> list[Path]:
    """The entries of a folder; none if it is no folder, or is gone."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _of_runs(store: Store) -> Iterator[Finding]:
    """Folders of `running/` that are no unfinished run."""
    for folder in entries(store.running):
        if folder.name.startswith(".") or folder.name == LEASES:
            continue
        finished = store.run_folder(run_id_of(folder)).is_dir()
        if (not finished and (folder / "draft.json").is_file()) or is_somebodys(folder) or not os.path.lexists(folder):
            continue
        what = (
            "the run is finished, and this is what its training left"
            if finished
            else "a run that died before it had begun"
        )
        yield _leftover(store, folder, what)


def _leases(store: Store) -> Iterator[Finding]:
    """Leases of trainings that ended long ago, and of which nothing is left to go on with."""
    try:
        going_on = [{name: draft.facts.get(name) for name in TRAINING} for draft in list_drafts(store)]
    except MilstoreError:
        # A draft that cannot be read is found as damaged.
        return
    for path in entries(store.running / LEASES):
        if path.name.startswith(".") or training_of(path) in going_on:
            continue
        seen = look(path)
        # On another host's death no single look can tell: a day without a renewal does.
        if seen is not None and (seen.lease.is_gone() or (not seen.lease.is_here and seen.lease.age > _DAY)):
            yield _leftover(store, path, "the lease of a training that died")


def _folders(store: Store) -> list[Path]:
    """Where writers put files aside before they rename them."""
    launches = [path for path in entries(store.root / "logs") if path.is_dir()]
    # Of unfinished runs, and of leases.
    drafts = [path for path in entries(store.running) if path.is_dir()]
    derived = [store.derived_folder(run_id) for run_id in derived_runs(store)]
    slides = [path for path in entries(store.root / "tiles") if path.is_dir()]
    own = [store.root, store.manifest_path.parent, store.root / "patches", store.root / "features", store.runs]
    return [*own, store.run_folder(NO_RUN), store.running, *drafts, *derived, *slides, *launches]


def _encoders_in_use(store: Store) -> set[str]:
    """Encoders whose features a living training may read, also those of before they were replaced."""
    try:
        drafts = list_drafts(store)
    except MilstoreError:
        # A draft that cannot be read is found as damaged.
        return set()
    living = [draft for draft in drafts if (lease := read_lease(draft.folder)) is not None and not lease.is_stale()]
    return {str(draft.facts.get("encoder")) for draft in living}


def _packs(store: Store) -> Iterator[Path]:
    """Packs of features that no encoder names."""
    try:
        cohort = read_cohort(store)
        rows, packs = cohort.table("encoders").to_pylist(), cohort.table("packs")
        named = {entry.folder for row in rows for entry in entries_of(row, packs)}
    except MilstoreError:
        # The table that names them is broken, which is found elsewhere: nothing can be said to be left over.
        return
    for encoder in entries(store.root / "features"):
        if encoder.is_dir() and not encoder.name.startswith("."):
            yield from (pack for pack in entries(encoder) if pack.is_dir() and below(store, pack) not in named)


def _unowned(store: Store, path: Path, what: str, young: float, *, held: bool = False) -> Iterator[Finding]:
    try:
        changed = max(entry.lstat().st_mtime for entry in [path, *(path.rglob("*") if path.is_dir() else [])])
    except OSError:
        # Gone while it was looked at: somebody is at work.
        return
    if held or time.time() - changed < young or is_somebodys(path) or _is_in_draft(store, path):
        yield Finding(
            kind=NOTE,
            where=below(store, path),
            what=f"{what}, or in use",
            repair=f"look again in an hour: milstore doctor{store_option(store)}",
        )
    else:
        yield _leftover(store, path, what)


def _is_in_draft(store: Store, path: Path) -> bool:
    """Whether a file lies in an unfinished run that somebody trains."""
    return path.parent.parent == store.running and is_somebodys(path.parent)


def _leftover(store: Store, path: Path, what: str) -> Finding:
    return Finding(
        kind=LEFTOVER,
        where=below(store, path),
        what=what,
        repair=f"milstore doctor --repair{store_option(store)} removes it",
        remove=path,
    )
