"""The tools whose output folders can be ingested as runs, and the importer of each: `milstore ingest run FOLDER --from tool`.

A line in `BUILT_IN` is all that a new tool needs, with a function of its own that takes the same and reports the same.
"""

import importlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from milstore.errors import UsageError
from milstore.ingest.imported import RunReport
from milstore.store import Store
from milstore.store.names import clip, nearest

BUILT_IN = {
    "study": "milstore.ingest.study_import:import_study_run",
    "clam": "milstore.ingest.clam_import:import_clam_runs",
    "stamp": "milstore.ingest.stamp_import:import_stamp_runs",
    "slideflow": "milstore.ingest.slideflow_import:import_slideflow_runs",
}
"""By the tool: module and function."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderOptions:
    """The options for a run that a tool wrote; None where the folder itself gives the value."""

    experiment: str | None = None
    """Name of the runs that share its configuration."""
    split_set: str | None = None
    split: int | None = None
    seed: int | None = None
    encoder: str | None = None
    """Name of what made the features."""
    weights: Path | None = None
    """A file of weights, which are evaluated on the store's features."""
    log: Path | None = None
    """The run's log."""
    code_version: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    """Further settings."""
    labels_of_run: bool = False
    """Keep the run's own labels where the store has others."""
    classes: Mapping[str, str] | None = None
    """The store's class of each number that the tool gave to classes, where these are not the store's."""
    heat_maps_of: int | None = None
    """The fold whose model made the heat maps, where that cannot be told from what they say."""


_OF_TOOLS = {"weights": "--weights", "log": "--log", "classes": "--classes", "heat_maps_of": "--heat-maps-of"}
"""Options that only some tools' folders have a use for."""


def refuse_options(options: FolderOptions, tool: str, used: Collection[str]) -> None:
    """Raises UsageError for an option that does not apply to this tool's folders."""
    lost = [flag for name, flag in _OF_TOOLS.items() if name not in used and getattr(options, name) is not None]
    if lost:
        raise UsageError(f"{lost[0]} says nothing of a folder of {tool}: leave it out with --from {tool}")


def parse_classes(text: str) -> dict[str, str]:
    """Read `0=benign,1=high-grade` into the class of each number. UsageError if it is not of this form."""
    pairs = [tuple(piece.strip() for piece in part.partition("=")) for part in text.split(",")]
    if not all(number.isdecimal() and name for number, _, name in pairs) or len({p[0] for p in pairs}) < len(pairs):
        raise UsageError(
            f"--classes {clip(text)!r} cannot be read: write the class of each number once: 0=benign,1=high-grade"
        )
    return {str(int(number)): name for number, _, name in pairs}


Importer = Callable[[Store, Path, FolderOptions], RunReport]


def ingest_run_folder(store: Store, folder: Path, tool: str, options: FolderOptions | None = None) -> RunReport:
    """Ingest the runs in a folder that a tool wrote.

    Args:
        store: the store, with the cases and patches that the run is of.
        folder: the run's folder.
        tool: what wrote it, one of BUILT_IN.
        options: what the folder does not say, or the user says otherwise.

    Raises:
        UsageError: there is no such tool, or it is not certain what is meant.
        DataError: the folder is incomplete, of another form, or contradicts the store.
        ConflictError: the experiment stands for another configuration.
    """
    if tool not in BUILT_IN:
        raise UsageError(f"--from {clip(tool)!r}: no runs of this tool can be read; {nearest(tool, BUILT_IN)}")
    module, function = BUILT_IN[tool].split(":")
    importer: Importer = getattr(importlib.import_module(module), function)
    return importer(store, folder, options or FolderOptions())
