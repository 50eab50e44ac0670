"""Verifies what is read: a file's SHA-256 is compared the first time that it is read.

What was found right is remembered by device, inode, size and times in a folder of the user's own, outside the store
(`$XDG_CACHE_HOME/milstore`); it may be deleted at any time. Damage that befalls a file after its first reading without
changing any of these is not seen here: `milstore doctor` reads everything, always.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from weakref import finalize

from milstore.errors import StoreError
from milstore.store.io import temporary_sibling
from milstore.store.paths import PACK, ROWS, Store
from milstore.store.plain import check_plain, read_json, read_object, refuse_unless_plain, unreadable
from milstore.store.run_reader import OWN_HASH, RUN_FILE, completed, stored_facts, with_own_hash

_MOST = 200_000
"""Files that are remembered; of more, those that were seen last."""
_AT_ONCE = 1 << 20
"""Bytes of newly verified files above which that is written down at once; of fewer, when the process ends."""
_LONG = 1.0
"""Seconds from which on it is said how long the comparing took."""
ADVICE = "run milstore doctor, which says how to repair it"
ADVICE_ASKING = f"{ADVICE} (--no-verify reads it all the same)"


@dataclass(frozen=True, slots=True)
class Expected:
    """A file, and what its content must hash to."""

    path: str
    sha256: str


def verify(store: Store, files: Iterable[Expected], *, advice: str = ADVICE) -> list[str]:
    """Compare those files with their stored hashes that were not compared before.

    For `store.verify` False only their kind is looked at: no pipe, no device, nothing out of the store.

    Returns:
        A line that says how long it took, where that is more than a second.

    Raises:
        StoreError: a file is another than was stored, or cannot be read; the first such is named.
    """
    if not store.verify:
        for file in files:
            refuse_unless_plain(file.path, store.root)
        return []
    begun, seen = time.monotonic(), _seen(store.root, cache_folder())
    try:
        for file in files:
            seen.check(file, advice=advice)
    finally:
        n_files, n_bytes = seen.remember()
    seconds = time.monotonic() - begun
    if seconds < _LONG:
        return []
    return [
        f"{n_files} files ({n_bytes / 1e9:.1f} GB) were compared with what was stored in {seconds:.0f} s, this first time"
    ]


def files_of_cohort(store: Store, tables: Collection[str] | None = None) -> Iterator[Expected]:
    """The files of the cohort's tables, or of these tables."""
    for name, entry in store.manifest()["tables"].items():
        if tables is None or name in tables:
            yield expected_of(store, entry)


def expected_of(store: Store, entry: Mapping[str, Any]) -> Expected:
    """The file that an entry of the cohort's manifest names. One that lacks its hash has no right content."""
    return _of(f"{store.root}/{entry['file']}", entry)


def _of(path: str, entry: Any) -> Expected:
    return Expected(path, str(entry.get("sha256")) if isinstance(entry, dict) else "None")


def files_of_runs(store: Store, run_ids: Iterable[str], tables: Collection[str]) -> Iterator[Expected]:
    """The files of these tables of finished runs. `runs` is `run.json`, which holds its own hash and is compared here.

    Raises:
        StoreError: a `run.json` cannot be read, or is not what was stored.
    """
    names = [f"{table}.parquet" for table in tables if table != "runs"]
    for run_id in run_ids:
        files = verified_run(store, run_id).get("files")
        if not isinstance(files, dict):
            path = store.run_folder(run_id) / RUN_FILE
            raise StoreError(
                f"{path} does not name the files of the run: run milstore doctor, which says how to repair it"
            )
        for name in names:
            file = f"{store.run_folder(run_id)}/{name}"
            # A file that the run does not name has no right content: somebody put it there.
            if name in files or os.path.lexists(file):
                yield _of(file, files.get(name))


def verified_run(store: Store, run_id: str) -> dict[str, Any]:
    """What `read_run` gives, of a `run.json` that is what was stored. Those of 0.1 need not hold their hash.

    StoreError if it cannot be read, or is another.
    """
    facts = stored_facts(store, run_id)
    expected = facts.get(OWN_HASH)
    if store.verify and expected is not None:
        path = f"{store.run_folder(run_id)}/{RUN_FILE}"
        seen = _seen(store.root, cache_folder())
        seen.check(Expected(path, str(expected)), lambda: with_own_hash(facts)[OWN_HASH], advice=ADVICE_ASKING)
    return completed(facts)


def files_of_packs(store: Store, folders: Iterable[str]) -> Iterator[Expected]:
    """The files of packs that say which patches have features; the vectors are compared case by case when they are read.

    Raises:
        StoreError: what a pack says of itself cannot be read.
    """
    for folder in folders:
        path = store.root / folder / PACK
        try:
            hashes = read_object(path, store.root)["sha256"]
            yield Expected(f"{store.root}/{folder}/{ROWS}", str(hashes[ROWS]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise unreadable(path, error) from error


def cache_folder() -> Path:
    """Path of the record of verified files. It need not exist, and may be deleted."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if Path(home).is_absolute() else Path.home() / ".cache") / "milstore"


@lru_cache(maxsize=8)
def _seen(root: Path, cache: Path) -> "_Seen":
    """What this process has verified of a store's files."""
    return _Seen(root, cache / f"verified-{hashlib.sha256(str(root).encode()).hexdigest()[:16]}.json")


class _Seen:
    """The files of a store that were compared before, by device and inode."""

    def __init__(self, root: Path, path: Path) -> None:
        self._root = root
        self._path = path
        self._known = _load(path)
        self._new: dict[str, list[Any]] = {}
        self._unsaved: dict[str, list[Any]] = {}
        # At the end of the process at the latest.
        finalize(self, _save, path, self._unsaved)

    def check(self, file: Expected, hash_now: Callable[[], str] | None = None, *, advice: str) -> None:
        """StoreError if the file is another than was stored. `hash_now` where its hash is not that of all its bytes."""
        try:
            before = os.stat(file.path)  # noqa: PTH116
            key, facts = _key(before), _facts(before, file.sha256)
            if self._known.get(key) == facts:
                return
            check_plain(file.path, self._root)
            found = hash_now() if hash_now else _sha256(file.path)
            after = os.stat(file.path)  # noqa: PTH116
        except OSError as error:
            raise unreadable(file.path, error) from error
        if found != file.sha256:
            raise StoreError(f"{file.path} is not what was stored (its SHA-256 differs): {advice}")
        # One that changed meanwhile is looked at again the next time.
        if _facts(after, file.sha256) == facts:
            self._known[key] = self._new[key] = facts

    def remember(self) -> tuple[int, int]:
        """Remember newly verified files: their number and bytes. Those of many bytes are written down at once."""
        new, self._new = self._new, {}
        self._unsaved |= new
        if sum(facts[0] for facts in self._unsaved.values()) > _AT_ONCE:
            _save(self._path, self._unsaved)
        return len(new), sum(facts[0] for facts in new.values())


def _save(path: Path, unsaved: dict[str, list[Any]]) -> None:
    """Record verified files. If the record cannot be written, they are verified again later."""
    if not unsaved:
        return
    # Others may have remembered files of theirs since.
    known = [*(_load(path) | unsaved).items()][-_MOST:]
    unsaved.clear()
    temporary = temporary_sibling(path)
    # Not brought to the disk: what a power cut takes of it is found out again.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary.write_text(json.dumps(dict(known), separators=(",", ":")), encoding="utf-8")
        temporary.replace(path)
    with suppress(OSError):
        temporary.unlink(missing_ok=True)


def _load(path: Path) -> dict[str, list[Any]]:
    try:
        known = read_json(path)
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _key(stat: os.stat_result) -> str:
    return f"{stat.st_dev}:{stat.st_ino}"


def _facts(stat: os.stat_result, sha256: str) -> list[Any]:
    # The time of the last change of the inode, too: a copy may be given the old time of its content.
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, sha256]


def _sha256(path: str) -> str:
    with open(path, "rb") as stream:  # noqa: PTH123 - a text, not a Path: of many files, making the paths takes long
        return hashlib.file_digest(stream, "sha256").hexdigest()
