"""The files below a folder, found fast and safely."""

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from milstore.errors import DataError
from milstore.store.names import clip
from milstore.store.paths import real_path


@dataclass(frozen=True, slots=True)
class Found:
    """Files of a folder and its sub-folders."""

    root: Path
    """The folder: absolute, links resolved."""
    files: list[str]
    """Paths below the root, in no order."""
    stems: list[str]
    """Their names without the extension."""
    links_out: list[str] = field(default_factory=list)
    """Links that lead out of the root and were not followed."""


def find_files(
    folder: str | Path, extensions: Collection[str], *, follow_links: bool = False, as_files: Collection[str] = ()
) -> Found:
    """All files of these extensions (lower case, without the dot; any case of letters is found) below a folder.

    A folder with one of the extensions `as_files`, such as zarr, is a file like others, and what lies in it is its own.
    Links that lead out of the folder are followed only with `follow_links`; loops of links are walked once.

    Raises:
        DataError: the folder is missing or a sub-folder cannot be read.
    """
    root = real_path(folder)
    if not root.is_dir():
        raise DataError(f"{folder} {'is no folder' if root.exists() else 'does not exist'}: name a folder")
    found = Found(root, [], [])
    wanted = frozenset(extensions)
    seen = {_identity(root)}
    folders = [""]
    while folders:
        inside = folders.pop()
        for entry in _entries(root, inside):
            name = entry.name
            stem, _, extension = name.rpartition(".")
            fits = bool(stem) and extension.lower() in wanted
            if fits and entry.is_file(follow_symlinks=False):
                kind = "file"
            else:
                kind = _kind(entry)
                if kind == "folder" and fits and extension.lower() in as_files:
                    kind = "file"
                if not (kind == "folder" or (kind == "file" and fits)):
                    continue
                if not _is_ours(found, entry, follow_links=follow_links):
                    continue
            if kind == "file":
                found.files.append(inside + name)
                found.stems.append(stem)
            elif _first_time(seen, entry.path):
                folders.append(f"{inside}{name}/")
    return found


def _entries(root: Path, inside: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(f"{root}/{inside}") as entries:
            return list(entries)
    except OSError as error:
        raise DataError(f"{clip(f'{root}/{inside}', 300)} cannot be read: {error.strerror}") from error


def _kind(entry: os.DirEntry[str]) -> str:
    """`file`, `folder` or `other`; the last for a link that leads nowhere, or to itself."""
    try:
        return "folder" if entry.is_dir() else "file" if entry.is_file() else "other"
    except OSError:
        return "other"


def _identity(path: str | Path) -> tuple[int, int]:
    try:
        status = os.stat(path)  # noqa: PTH116 - entries of scandir are texts
    except OSError as error:
        raise DataError(f"{clip(str(path), 300)} cannot be read: {error.strerror}") from error
    return status.st_dev, status.st_ino


def _first_time(seen: set[tuple[int, int]], folder: str) -> bool:
    identity = _identity(folder)
    if identity in seen:
        return False
    seen.add(identity)
    return True


def _is_ours(found: Found, entry: os.DirEntry[str], *, follow_links: bool) -> bool:
    """Whether an entry may be read; a link that leads out of the root is noted and refused."""
    if not entry.is_symlink():
        return True
    target = Path(os.path.realpath(entry.path))  # of links that point to each other, one of themselves
    outside = not target.is_relative_to(found.root)
    if outside and not follow_links:
        found.links_out.append(str(Path(entry.path).relative_to(found.root)))
        return False
    if target.is_dir():
        return outside  # what lies inside is walked at its own place
    # A link to a file of its own name in here is that file once more.
    return outside or target.name != entry.name
