"""What can be added to milstore as one file: models, formats, images and encoders, found by their names.

A built-in is found by its room's table, a user's own by its file (`./file.py:Class`), and any other name among the entry
points of the packages that are installed, which takes 40 to 100 ms and is done for no other.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
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


def first_line(docstring: str | None) -> str:
    """The line by which something is listed.

    >>> first_line("What it is.\\n\\nMore of it.")
    'What it is.'
    """
    return (docstring or "").strip().partition("\n")[0]
