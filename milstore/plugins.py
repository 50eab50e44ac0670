"""What can be added to milstore as one file: models, formats, images and encoders, found by their names.

A built-in is found by its room's table, a user's own by its file (`./file.py:Class`), and any other name among the entry
points of the packages that are installed, which takes 40 to 100 ms and is done for no other.
"""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from milstore.errors import UsageError
from milstore.userfile import SourceFile, is_path, load_file


@dataclass(frozen=True, slots=True)
class Found:
    """A class that was asked for by name, and where it came from."""

    name: str
    """What it was asked for by."""
    thing: Any
    """The class, or what stands in its place: whoever asked checks what it is."""
    where: str
    """Module and class; of a user's own file the class alone."""
    files: tuple[SourceFile, ...] = ()
    """The user's file, and every module that it imports from its own folder; none of what is installed."""

    @property
    def sha256(self) -> dict[str, str]:
        """SHA-256 of each of `files` by its name."""
        return {file.name: file.sha256 for file in self.files}


@dataclass(frozen=True, kw_only=True, slots=True)
class Registry:
    """A kind of thing that can be added."""

    kind: str
    """One of them, in words."""
    built_in: Mapping[str, str]
    """Module and class (`milstore.room.module:Class`) of each that comes with milstore, by name."""
    group: str
    """Of the entry points by which installed packages offer others."""

    def find(self, name: str, sha256: Mapping[str, str] | None = None) -> Found:
        """The class of this name. A user's file is executed, with all that the caller may do.

        Args:
            name: a built-in's, ./file.py:Class, or one that an installed package offers.
            sha256: what a user's files must have, by name; others are not executed. None for any.

        Raises:
            DataError: a file has another SHA-256.
            UsageError: there is none (the nearest is offered), or its file or package cannot be imported.
        """
        if name in self.built_in:
            module, class_name = self.built_in[name].split(":")
            return Found(name, getattr(importlib.import_module(module), class_name), self.built_in[name])
        if is_path(name):
            thing, files = load_file(self.kind, name, sha256)
            return Found(name, thing, getattr(thing, "__qualname__", name.rpartition(":")[2]), files)
        return self._offered(name)

    def refuse(self, name: str, reason: str) -> UsageError:
        """That what has this name is none of the kind."""
        return UsageError(f"{self.kind} {name}: {reason}")

    def _offered(self, name: str) -> Found:
        from importlib.metadata import entry_points

        offered = {point.name: point for point in entry_points(group=self.group)}
        if name not in offered:
            known = [*self.built_in, *sorted(offered)]
            near = get_close_matches(name, known, n=1, cutoff=0.5)
            others = f"there are {', '.join(known)}, and ./file.py:Class for your own"
            raise UsageError(f"there is no {self.kind} {name!r}: {f'did you mean {near[0]}?' if near else others}")
        point = offered[name]
        try:
            return Found(name, point.load(), point.value)
        except Exception as error:
            text = " ".join(str(error).split())
            raise self.refuse(name, f"{point.value} cannot be imported: {type(error).__name__}: {text}") from error

    def made(self, found: Found, methods: Sequence[str], attributes: Sequence[str] = ()) -> Any:
        """An instance of what was found, made without arguments.

        Raises:
            UsageError: it is no class, cannot be made, or lacks one of these methods or attributes.
        """
        if not isinstance(found.thing, type):
            raise self.refuse(found.name, "it is no class")
        try:
            instance = found.thing()
            missing = [name for name in methods if not callable(getattr(instance, name, None))]
            lacking = [name for name in attributes if not hasattr(instance, name)]
        except Exception as error:
            text = " ".join(str(error).split())
            raise self.refuse(found.name, f"it cannot be made: {type(error).__name__}: {text}") from error
        if missing or lacking:
            lacks = [*(f"{name}()" for name in missing), *lacking]
            raise self.refuse(found.name, f"it has no {', '.join(lacks)}")
        return instance


_LOOKED_AT = 3
"""Files of an ending whose content is looked at for their format: one of them may be damaged."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Formats:
    """The formats of one kind of file: classes with `endings` and `recognises(path)`, and what reads a file."""

    registry: Registry
    ways: tuple[tuple[str, ...], ...]
    """What reads a file: all methods of one of these."""
    files: str
    """The kind of file, in words."""

    def find(self, name: str) -> Any:
        """The format of this name, made once a process unless its file changes.

        Raises:
            UsageError: there is none, or what has the name is no format of this kind.
        """
        stamp = None
        if is_path(name):
            path = Path(name.rpartition(":")[0])
            stamp = path.stat().st_mtime_ns if path.is_file() else None
        return _made_once(self, name, stamp)

    def make(self, name: str) -> Any:
        """The same, made again."""
        found = self.registry.find(name)
        instance = self.registry.made(found, ("recognises",), ("endings",))
        if not any(all(callable(getattr(instance, each, None)) for each in way) for way in self.ways):
            needed = " or ".join(" and ".join(f"{each}()" for each in way) for way in self.ways)
            raise self.registry.refuse(name, f"to read {self.files} it needs {needed}")
        endings = instance.endings
        fits = isinstance(endings, tuple | list) and all(
            isinstance(each, str) and each == each.lower().strip(".") for each in endings
        )
        if not fits or not endings:
            advice = 'its endings must be a list such as ("h5",): lower case, without the dot'
            raise self.registry.refuse(name, advice)
        return instance

    def endings(self, names: Iterable[str] | None = None) -> list[str]:
        """The endings of the files of some formats, or of all built-in ones, each once."""
        formats = map(self.find, self.registry.built_in if names is None else names)
        return list(dict.fromkeys(ending for each in formats for ending in each.endings))

    def folders(self, names: Iterable[str] | None = None) -> list[str]:
        """Those of the endings whose files are folders, such as zarr."""
        own = [each for each in self.registry.built_in if is_folder(self.find(each))] if names is None else names
        return self.endings(each for each in own if is_folder(self.find(each)))

    def recognised(self, paths: Sequence[Path]) -> str | None:
        """Name of the built-in format of files that are alike: that of one's content, else of the first one's ending."""
        for path in paths:
            for name in self.registry.built_in:
                if recognises(self.find(name), path):
                    return name
        ending = paths[0].suffix[1:].lower()
        return next((name for name in self.registry.built_in if ending in self.find(name).endings), None)

    def by_ending(self, root: Path, files: Iterable[str]) -> dict[str, str]:
        """The format of the files of each ending, by the content of a few of them."""
        alike: dict[str, list[str]] = {}
        for file in sorted(files):
            alike.setdefault(file.rpartition(".")[2].lower(), []).append(file)
        found = {ending: self.recognised([root / each for each in of[:_LOOKED_AT]]) for ending, of in alike.items()}
        return {ending: name for ending, name in found.items() if name is not None}

    def listed(self) -> list[tuple[str, str, str]]:
        """Every built-in format: its name, its endings, and what it is."""
        formats = {name: self.find(name) for name in self.registry.built_in}
        return [
            (name, ", ".join(f".{each}" for each in found.endings), first_line(type(found).__doc__))
            for name, found in formats.items()
        ]


@cache
def _made_once(formats: Formats, name: str, stamp: int | None) -> Any:  # noqa: ARG001 - a changed file is another
    return formats.make(name)


def is_folder(fmt: Any) -> bool:
    """Whether what a format calls a file is a folder, with its ending and all that lies in it."""
    return bool(getattr(fmt, "is_folder", False))


def recognises(fmt: Any, path: Path) -> bool:
    """Whether a format recognises a file. What cannot be looked at is not of it: reading it says why."""
    try:
        # A pipe in its place would keep us for ever.
        there = path.is_dir() if is_folder(fmt) else path.is_file()
        return there and bool(fmt.recognises(path))
    except Exception:
        return False


def format_name(format_of: Mapping[str, str], file: str) -> str:
    """The format of a file, of the formats of each ending; that of "" is of all others."""
    return format_of.get(file.rpartition(".")[2].lower()) or format_of[""]


def first_line(docstring: str | None) -> str:
    """The line by which something is listed.

    >>> first_line("What it is.\\n\\nMore of it.")
    'What it is.'
    """
    return (docstring or "").strip().partition("\n")[0]
