"""What is computed of a finished run later lies in `derived/run_id=<id>/`, with hashes of its own: a run's folder never changes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from milstore.errors import ConflictError, DataError, StoreError, UsageError
from milstore.store.findings import DAMAGE, LEFTOVER, NOTE, Finding
from milstore.store.io import sha256_of, sync_folder, write_json, write_whole
from milstore.store.paths import RUN_FOLDER, Store, store_option
from milstore.store.plain import read_object, unreadable

LISTING = "derived.json"
"""Names the files of the folder, each with its size and SHA-256."""
_LOOKS = 10
_AGAIN = "compute it again, or remove the file and its line in the listing"


def put_derived(store: Store, run_id: str, name: str, writer: Callable[[Path], None], *, replace: bool = False) -> Path:
    """Store a file of what was computed of a finished run. Returns its path. One process at a time may write of a run.

    Args:
        store: the store.
        run_id: the run.
        name: of the file, such as evidence.parquet.
        writer: writes it to a path.
        replace: put it in the place of one of that name.

    Raises:
        UsageError: there is no such finished run, or a file cannot be called so.
        ConflictError: there is one of that name, and not `replace`.
        StoreError: the disk refuses, or the listing cannot be read.
    """
    if not store.run_folder(run_id).is_dir():
        raise UsageError(f"there is no finished run {run_id!r}")
    if name in ("", LISTING) or name.startswith(".") or Path(name).name != name:
        raise UsageError(f"no derived file can be called {name!r}: give a plain name, such as evidence.parquet")
    folder, listed = store.derived_folder(run_id), read_listing(store, run_id)
    if name in listed and not replace:
        raise ConflictError(f"run {run_id} has a derived {name} already: nothing is overwritten unless it is replaced")
    path = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if listed.pop(name, None) is not None:
            # First out of the listing: a death between the two leaves a file that nobody names, never a wrong hash.
            write_json(folder / LISTING, {"files": listed})
        write_whole(path, writer)
        entry = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        write_json(folder / LISTING, {"files": {**listed, name: entry}})
        sync_folder(folder)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror or error})") from error
    return path


def read_listing(store: Store, run_id: str) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of each derived file of a run, by name; nothing if there is none. StoreError if it cannot be read."""
    path = store.derived_folder(run_id) / LISTING
    try:
        files = read_object(path, store.root)["files"]
        if not all({"bytes", "sha256"} <= entry.keys() for entry in files.values()):
            raise ValueError("it does not say what a file is")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise unreadable(path, error) from error
    return dict(files)


def derived_file(store: Store, run_id: str, name: str) -> Path | None:
    """A derived file of a run, if it has one of that name. DataError if it is not what was stored."""
    entry = read_listing(store, run_id).get(name)
    if entry is None:
        return None
    path = store.derived_folder(run_id) / name
    if wrong := _wrong(path, entry):
        raise DataError(f"{path} {wrong}: run milstore doctor")
    return path


def derived_runs(store: Store) -> list[str]:
    """The runs of which something was computed."""
    if not store.derived.is_dir():
        return []
    names = sorted(path.name for path in store.derived.iterdir() if path.is_dir())
    return [name.removeprefix(RUN_FOLDER) for name in names if name.startswith(RUN_FOLDER)]


def check_derived(store: Store) -> Iterator[Finding]:
    """What is wrong with derived files: not what was stored, unnamed, or of a run that is gone."""
    for run_id in derived_runs(store):
        folder = store.derived_folder(run_id)
        where = folder.relative_to(store.root).as_posix()
        if not store.run_folder(run_id).is_dir():
            what = "was computed of a run that is gone"
            yield Finding(
                kind=LEFTOVER,
                where=where,
                what=what,
                repair=f"milstore doctor --repair{store_option(store)} removes it",
                remove=folder,
            )
            continue
        for _ in range(_LOOKS):
            before = _listing_text(folder)
            found = list(_check_folder(store, run_id, folder, where))
            # What is put in its place, or deleted, while it is looked at is looked at again.
            if not found or _listing_text(folder) == before:
                break
        yield from found if store.run_folder(run_id).is_dir() else ()


def _listing_text(folder: Path) -> bytes | None:
    try:
        return (folder / LISTING).read_bytes()
    except OSError:
        return None


def _check_folder(store: Store, run_id: str, folder: Path, where: str) -> Iterator[Finding]:
    try:
        listed = read_listing(store, run_id)
    except StoreError as error:
        yield _finding(DAMAGE, f"{where}/{LISTING}", str(error), "remove the folder, and compute it again")
        return
    for name, entry in listed.items():
        try:
            wrong = _wrong(folder / name, entry)
        except OSError as error:
            wrong = f"cannot be read ({error.strerror})"
        if wrong:
            yield _finding(DAMAGE, f"{where}/{name}", wrong, _AGAIN)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        temporary = path.name.startswith(".") and path.name.endswith(".tmp")
        if path.name != LISTING and path.name not in listed and not temporary:
            yield _finding(NOTE, f"{where}/{path.name}", "a file that the listing does not name", "remove it by hand")


def _finding(kind: str, where: str, what: str, repair: str) -> Finding:
    return Finding(kind=kind, where=where, what=what, repair=repair)


def _wrong(path: Path, entry: dict[str, Any]) -> str:
    """What is wrong with a file; nothing if it is what was stored."""
    if not path.is_file():
        return "is missing"
    same = path.stat().st_size == entry["bytes"] and sha256_of(path) == entry["sha256"]
    return "" if same else "is not what was stored (SHA-256 differs)"
