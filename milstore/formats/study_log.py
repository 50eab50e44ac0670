"""The log of a job of the study's trainers: its options, where its split is from, and a line an epoch.

Lines end in a line feed, those of progress bars in a carriage return. Nothing in it is executed: the options stand there
as Python writes a dictionary, and are read as literals.
"""

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from milstore.errors import DataError
from milstore.formats.csv_table import file_size
from milstore.store.names import clip

LARGEST = 1 << 28
_HEAD = 1 << 16
"""Bytes of a log in which the name of its run folder stands."""
_CREATED = re.compile(r"Created run directory: (.+?)\s*$", re.M)
_EPOCH = re.compile(r"Epoch (\d+)/\d+ \(LR: ([-+.\w]+)\)")
_NUMBER = r"(-?(?:\d+\.?\d*(?:e[-+]?\d+)?|inf|nan))"
_LOSSES = {
    "train_loss": re.compile(rf"Train Loss: {_NUMBER}"),
    "train_ce": re.compile(rf"Train CE: {_NUMBER}"),
    "val_loss": re.compile(rf"Val Loss: {_NUMBER}"),
    "val_accuracy": re.compile(rf"Val Acc: {_NUMBER}"),
}
_SECONDS = re.compile(rf"Epoch Time: {_NUMBER}s")
_LOADED = re.compile(r"Checkpoint loaded(?:: (?P<path>.+?) \(epoch=| from epoch )(?P<epoch>\d+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class LogEpoch:
    """The log's values of one epoch; None for those that are missing. Losses are rounded to four decimals there."""

    learning_rate: float | None = None
    train_loss: float | None = None
    """What was made smaller: the mean cross-entropy, in the later form less a multiple of the entropy."""
    train_ce: float | None = None
    """The cross-entropy alone, where the log has both."""
    val_loss: float | None = None
    val_accuracy: float | None = None
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyLog:
    """The contents of a log."""

    path: Path
    job_id: str | None = None
    started_at: datetime | None = None
    """In UTC; None where the log has another zone."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The options of the job, as it printed them."""
    table: Mapping[str, Any] = field(default_factory=dict)
    """The table of training settings in the trainer's file, which the options override."""
    splits_from: str | None = None
    """Path of the split that was loaded; None where the trainer drew one."""
    epochs: Mapping[int, LogEpoch] = field(default_factory=dict)
    loaded: str | None = None
    """Path of the checkpoint that was evaluated, where it was not trained by this job; empty where that is not said."""
    loaded_epoch: int | None = None
    is_finished: bool = False
    """Whether the run came to its end."""


def find_log(folder: Path) -> Path | None:
    """The log that lies in a run's folder or beside it, and says that it began this folder; None if there is none.

    Of several, the last by name: jobs are numbered.
    """
    found = []
    for place in (folder, folder.parent):
        try:
            candidates = sorted(path for path in place.iterdir() if path.suffix in (".log", ".out", ".txt"))
        except OSError:
            continue
        found += [path for path in candidates if path.is_file() and _began(path) == folder.name]
    return found[-1] if found else None


def _began(path: Path) -> str | None:
    """Name of the run folder that a log says it began."""
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD).decode("utf-8", "replace")
    except OSError:
        return None
    created = _CREATED.search(head)
    return created[1].replace("\\", "/").rstrip("/").rpartition("/")[2] if created else None


def read_log(path: Path) -> StudyLog:
    """The contents of a log.

    Raises:
        DataError: it cannot be read, or is no log of these trainers.
    """
    if file_size(path, "the log of a run") > LARGEST:
        raise DataError(f"{path} is too large for the log of a run")
    try:
        lines = re.split(r"[\r\n]+", path.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    said = {key: _first(lines, f"{key}: ") for key in _SAID}
    if said["Arguments"] is None:
        raise DataError(f"{path} has no line 'Arguments: …': it is no log of the study's trainers")
    loaded = next((match for line in lines if (match := _LOADED.search(line))), None)
    return StudyLog(
        path=path,
        job_id=said["Job ID"],
        started_at=_time(said["Start time"]),
        options=_dictionary(path, "Arguments", said["Arguments"]),
        table=_dictionary(path, "Training config", said["Training config (may be overridden by arguments)"]),
        splits_from=said["Loading existing splits from"],
        epochs=_epochs(lines),
        loaded=None if loaded is None else loaded["path"] or "",
        loaded_epoch=None if loaded is None else int(loaded["epoch"]),
        is_finished=said["Results saved to"] is not None,
    )


_SAID = (
    "Job ID",
    "Start time",
    "Arguments",
    "Training config (may be overridden by arguments)",
    "Loading existing splits from",
    "Results saved to",
)


def _first(lines: Iterable[str], beginning: str) -> str | None:
    return next((line.removeprefix(beginning).strip() for line in lines if line.startswith(beginning)), None)


def _dictionary(path: Path, what: str, text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise DataError(f"{path} has in its line {what!r} no dictionary of settings: {clip(text)}")
    return found


def _time(text: str | None) -> datetime | None:
    # date of coreutils: Thu Nov 26 08:43:04 UTC 2026
    try:
        return datetime.strptime(text or "", "%a %b %d %H:%M:%S UTC %Y").replace(tzinfo=UTC)
    except ValueError:
        return None


def _epochs(lines: Iterable[str]) -> dict[int, LogEpoch]:
    """By their number; of one that stands there twice, what was said last."""
    found: dict[int, dict[str, float]] = {}
    of_epoch: dict[str, float] = {}
    for line in lines:
        if begun := _EPOCH.search(line):
            of_epoch = found[int(begun[1])] = {"learning_rate": float(begun[2])}
        if not found:
            continue
        if "Train Loss: " in line:
            of_epoch |= {name: float(match[1]) for name, how in _LOSSES.items() if (match := how.search(line))}
        elif seconds := _SECONDS.search(line):
            of_epoch["seconds"] = float(seconds[1])
    return {number: LogEpoch(**values) for number, values in sorted(found.items()) if "train_loss" in values}
