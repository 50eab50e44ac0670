"""Which formats there are of each kind of file, and which one a file is of.

A line in `BUILT_IN` is all that a new file in this folder needs. Where nobody names a format, the first one that
recognises the file's content reads it; where none does, that of the file's ending, which says what is wrong with it.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from milstore.plugins import Found, Registry, first_line

BUILT_IN: dict[str, dict[str, str]] = {
    "features": {
        "pt": "milstore.formats.pt_vector:PtVector",
        "npy": "milstore.formats.npy_vector:NpyVector",
        "pt-slice": "milstore.formats.pt_slice:PtSlice",
        "npz": "milstore.formats.npz_slice:NpzSlice",
        "h5": "milstore.formats.h5_slice:H5Slice",
        "parquet": "milstore.formats.parquet_slice:ParquetSlice",
    },
    "tables": {
        "parquet": "milstore.formats.parquet_table:ParquetTable",
        "csv": "milstore.formats.csv_arrow:CsvArrow",
    },
    "labels": {"csv": "milstore.formats.csv_table:CsvTable"},
    "splits": {
        "npz": "milstore.formats.npz_splits:NpzSplits",
        "split-table": "milstore.formats.split_table:SplitTable",
        "fold-table": "milstore.formats.fold_table:FoldTable",
    },
    "runs": {
        "tables": "milstore.formats.run_table:RunTable",
        "study": "milstore.formats.study_run:StudyRun",
    },
}
"""By the kind of file: module and class of each format that comes with milstore."""
METHODS: dict[str, tuple[tuple[str, ...], ...]] = {
    "features": (("vector",), ("layout", "vectors")),
    "tables": (("read",),),
    "labels": (("read",),),
    "splits": (("read",),),
    "runs": (("predictions", "attention"),),
}
"""What a format of each kind can do, besides `recognises`: all of one of these."""
ENTRY_POINTS = "milstore.formats"
"""Groups of entry points by which installed packages offer formats: this, a dot, and the kind, such as features."""
APART = {"pt": "milstore.formats.pt_load", "pt-slice": "milstore.formats.pt_load"}
"""Formats that are read in processes of their own, since it takes torch, and the module that these import."""


def registry_of(kind: str) -> Registry:
    """The formats of a kind."""
    return Registry(kind="format", built_in=BUILT_IN[kind], group=f"{ENTRY_POINTS}.{kind}")


@cache
def find_format(kind: str, name: str) -> Any:
    """The format of this name, made once a process: a built-in's, ./file.py:Class, or one that a package offers.

    Raises:
        UsageError: there is none, or what has the name is no format of this kind.
    """
    registry = registry_of(kind)
    return _made(registry, registry.find(name), kind)


def _made(registry: Registry, found: Found, kind: str) -> Any:
    ways = METHODS[kind]
    instance = registry.made(found, ("recognises",), ("endings",))
    if not any(all(callable(getattr(instance, each, None)) for each in way) for way in ways):
        needed = " or ".join(" and ".join(f"{each}()" for each in way) for way in ways)
        raise registry.refuse(found.name, f"to read {kind} it needs {needed}")
    endings = instance.endings
    if isinstance(endings, str) or not all(
        isinstance(each, str) and each == each.lower().strip(".") for each in endings
    ):
        raise registry.refuse(found.name, 'its endings must be a list such as ("h5",): lower case, without the dot')
    return instance


def endings_of(kind: str, names: Iterable[str] | None = None) -> list[str]:
    """The endings of the files of some formats, or of all built-in ones, each once."""
    formats = (find_format(kind, name) for name in (BUILT_IN[kind] if names is None else names))
    return list(dict.fromkeys(ending for each in formats for ending in each.endings))


def recognised(kind: str, paths: Sequence[Path]) -> str | None:
    """Name of the built-in format of files that are alike: that of one's content, else of the first one's ending."""
    for path in paths:
        for name in BUILT_IN[kind]:
            if recognises(find_format(kind, name), path):
                return name
    ending = paths[0].suffix[1:].lower()
    return next((name for name in BUILT_IN[kind] if ending in find_format(kind, name).endings), None)


def recognises(fmt: Any, path: Path) -> bool:
    """Whether a format recognises a file. What cannot be looked at is not of it: reading it says why."""
    try:
        return bool(fmt.recognises(path))
    except Exception:
        return False


def listed() -> list[tuple[str, str, str, str]]:
    """Every built-in format: its kind, name, endings and what it is."""
    return [
        (kind, name, ", ".join(f".{each}" for each in found.endings), first_line(type(found).__doc__))
        for kind, names in BUILT_IN.items()
        for name in names
        for found in [find_format(kind, name)]
    ]
