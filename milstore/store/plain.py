"""A store is untrusted input: what is read from it must be a plain file, inside the store, and of bounded size.

A pipe would wait for ever, a device may do anything, and a link can lead anywhere. Only the folders in `ELSEWHERE`, at
the top of a store, may be links: a group may keep them on another disk.
"""

import errno
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from milstore.errors import StoreError

ELSEWHERE = ("runs", "features", "patches", "derived")
"""Folders at the top of a store that may lie elsewhere."""
LARGEST = 1 << 26
"""Bytes that a JSON file of a store may have: a run's holds the text of its model."""
DEEPEST = 64
"""How deep lists and objects of JSON may lie in one another. milstore writes five; DuckDB crashes at some thousands."""
_TEXTS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]")
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


class NotPlain(OSError):  # noqa: N818 - said like FileNotFound
    """Raised when a path is no plain file, or lies outside the store."""

    def __init__(self, path: str | Path, what: str) -> None:
        """`what` is the kind of thing it is, for the message."""
        super().__init__(errno.EINVAL, what, str(path))

    def __str__(self) -> str:
        return str(self.strerror)


def check_plain(path: str | Path, root: Path | None = None) -> os.stat_result:
    """Check a path before it is read, without opening it.

    Args:
        path: the file.
        root: the store, links resolved; without it the file must lie in its own folder.

    Raises:
        NotPlain: it is a pipe, a device, a socket or a folder, or a link that leads out of the store.
        OSError: there is none.
    """
    found = check_kind(path)
    _check_place(path, None, root)
    return found


def check_kind(path: str | Path) -> os.stat_result:
    """Raises NotPlain for a pipe, a device, a socket or a folder, wherever it lies, and OSError if there is nothing."""
    found = os.stat(path)  # noqa: PTH116 - of thousands of runs, making the paths takes long
    if not stat.S_ISREG(found.st_mode):
        raise NotPlain(path, f"it is {_KINDS.get(stat.S_IFMT(found.st_mode), 'no file')}, not a file")
    return found


def refuse_unless_plain(path: str | Path, root: Path) -> None:
    """Raises StoreError where `check_plain` refuses a file. A missing file is accepted."""
    try:
        check_plain(path, root)
    except NotPlain as error:
        raise unreadable(path, error) from error
    except OSError as error:
        if os.path.lexists(path):
            raise unreadable(path, error) from error


def unreadable(path: str | Path, error: Exception) -> StoreError:
    """The error that a file of a store cannot be read, why, and what to do."""
    why = getattr(error, "strerror", None) or " ".join(str(error).split())[:300] or type(error).__name__
    if isinstance(error, NotPlain):
        return StoreError(
            f"{path} cannot be read ({why}): remove it; then milstore doctor says how to put back what belongs there"
        )
    return StoreError(f"{path} cannot be read ({why}): run milstore doctor, which says how to repair it")


def plain_bytes(path: str | Path, root: Path | None = None, largest: int = LARGEST) -> bytes:
    """The bytes of a file of a store.

    Raises:
        NotPlain: see `check_plain`.
        OSError: it cannot be read.
        ValueError: it is larger than `largest` bytes.
    """
    # A device may do something when it is opened, so it is looked at before.
    check_kind(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise NotPlain(path, f"it is {_KINDS.get(stat.S_IFMT(found.st_mode), 'no file')}, not a file")
        _check_place(path, _place_of(descriptor, path), root)
        if found.st_size > largest:
            raise ValueError(f"it has {found.st_size} bytes, more than the {largest} that are read")
        return stream.read(largest + 1)


def _place_of(descriptor: int, path: str | Path) -> str:
    """The real path of an opened file, asked of the kernel in one call."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
    except OSError:
        return os.path.realpath(path)


def _check_place(path: str | Path, place: str | None, root: Path | None) -> None:
    """Raises NotPlain where a path leads out of the store; `place` is where it led when it was opened, if it was."""
    if root is not None and _is_straight(str(path), str(root)):
        return
    if root is None:
        if os.path.dirname(os.path.realpath(path)) != os.path.realpath(os.path.dirname(path) or "."):  # noqa: PTH120
            raise NotPlain(path, "it is a link that leads elsewhere")
        return
    if (place is not None and _is_inside(place, root)) or _is_inside(os.path.realpath(path), root):
        return
    raise NotPlain(path, f"it leads out of the store, to {os.path.realpath(path)}")


def _is_straight(path: str, root: str) -> bool:
    """Whether a path below the store has no link in it (but for folders that may be links). The common, fast case."""
    parts = path[len(root) + 1 :].split("/") if path.startswith(f"{root}/") else [".."]
    if ".." in parts:
        return False
    place = root
    for i, part in enumerate(parts):
        place = f"{place}/{part}"
        if stat.S_ISLNK(os.lstat(place).st_mode) and not (i == 0 and part in ELSEWHERE):
            return False
    return True


def _is_inside(place: str, root: Path) -> bool:
    if place.startswith(f"{root}/"):
        return True
    return any(place.startswith(f"{elsewhere}/") for elsewhere in linked_folders(root).values())


def linked_folders(root: Path) -> dict[str, str]:
    """The folders at the top of a store that lie elsewhere, and where."""
    return {name: os.path.realpath(root / name) for name in ELSEWHERE if (root / name).is_symlink()}


def is_inside(path: Path, root: Path) -> bool:
    """Whether a path, its links followed, lies in the store or in one of its folders that lie elsewhere."""
    return _is_inside(os.path.realpath(path), root)


# --- JSON -------------------------------------------------------------------------------------------------------------


def read_json(path: str | Path, root: Path | None = None, largest: int = LARGEST) -> Any:
    """What a JSON file of a store says. Every one is read by this function.

    Raises:
        NotPlain: see `check_plain`.
        OSError: it cannot be read.
        ValueError: it is too large, nested too deeply, or no JSON.
    """
    return parse_json(plain_bytes(path, root, largest))


def read_object(path: str | Path, root: Path | None = None, largest: int = LARGEST) -> dict[str, Any]:
    """The object that a JSON file of a store holds. Errors are those of `read_json`; ValueError, too, for no object."""
    found = read_json(path, root, largest)
    if not isinstance(found, dict):
        raise ValueError(f"it holds {_NAMES.get(type(found), 'no object')}, not an object")
    return found


_NAMES = {list: "a list", str: "a text", int: "a number", float: "a number", bool: "true or false", type(None): "null"}


def parse_json(text: str | bytes) -> Any:
    """Parse JSON of bounded depth. Raises ValueError if it is nested too deeply, or is not JSON."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    # With so few brackets none can lie too deep: the usual case, and the quick one.
    if data.count(b"[") + data.count(b"{") > DEEPEST and any(depth > DEEPEST for depth in _depths(data)):
        raise ValueError(f"it is nested deeper than {DEEPEST} levels")
    try:
        return json.loads(text)
    except RecursionError as error:  # pragma: no cover - what is that deep was refused above
        raise ValueError("it is nested too deeply") from error


def _depths(data: bytes) -> Iterator[int]:
    depth = 0
    for bracket in _BRACKETS.findall(_TEXTS.sub(b"", data)):
        depth += 1 if bracket in b"[{" else -1
        yield depth
