"""Reads STAMP's cross-validations: a folder per split with a table of predictions of its test patients.

There is no attention in them: STAMP writes it as pictures alone.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from milstore.errors import DataError
from milstore.formats.csv_table import TextTable, read_csv
from milstore.store.names import clip, named

PREDICTIONS = "patient-preds.csv"
SPLITS = "splits.json"
_SPLIT = re.compile(r"split-(\d{1,9})")
_SUM = 1e-4
"""What the probabilities of a patient may be off 1 by."""
_MISSING = ("", "nan", "none")


@dataclass(frozen=True, kw_only=True, slots=True)
class StampFolder:
    """A cross-validation of STAMP's."""

    root: Path
    """The folder with a folder a split."""
    splits: Path | None
    """The patients of each split; None if that file is not there."""
    predictions: dict[int, Path]
    """By the number of the split, from 0."""
    unfinished: Sequence[str]
    """Folders of splits without predictions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StampPatient:
    """The model's prediction of a patient."""

    patient: str
    line: int
    true: str | None
    """Its class by name; None where the table does not say it."""
    probability: dict[str, float]
    """By the name of the class."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StampPredictions:
    """One table of predictions."""

    path: Path
    label_column: str
    """What the user calls the label."""
    classes: Sequence[str]
    patients: Sequence[StampPatient]


def read_stamp_folder(folder: Path) -> StampFolder:
    """A cross-validation in a folder: that with `crossval/` in it, that itself, or one of its split-0, split-1, …

    Raises:
        DataError: there is none.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder} {'is no folder' if folder.exists() else 'does not exist'}: name STAMP's output folder"
        )
    folder = folder if folder.name else folder.absolute()
    only = _SPLIT.fullmatch(folder.name)
    root = folder.parent if only else folder / "crossval" if (folder / "crossval").is_dir() else folder
    found = {int(match[1]): path for path in root.iterdir() if path.is_dir() and (match := _SPLIT.fullmatch(path.name))}
    if only:
        found = {int(only[1]): folder}
    done = {number: path / PREDICTIONS for number, path in sorted(found.items()) if (path / PREDICTIONS).is_file()}
    if not done:
        what = f"{named(path.name for path in found.values())} without {PREDICTIONS}" if found else "no folder split-0"
        raise DataError(f"{root} has {what}: name the folder in which STAMP's crossval wrote {SPLITS} and split-0")
    return StampFolder(
        root=root,
        splits=root / SPLITS if (root / SPLITS).is_file() else None,
        predictions=done,
        unfinished=[found[number].name for number in sorted(found.keys() - done.keys())],
    )


def read_patient_predictions(path: Path) -> StampPredictions:
    """The predictions of a split: a patient, its class, `pred`, and `<label>_<class>` of each class.

    Rows may be in any order.

    Raises:
        DataError: it is no such table, says of a patient what cannot be, or has a patient twice.
    """
    table = read_csv(path, "STAMP's predictions", ["pred", "loss"], drop_repeats=True)
    label, classes = _label_column(table)
    patient = next(iter(table.columns))
    columns = [table.column(f"{label}_{name}") for name in classes]
    found: dict[str, StampPatient] = {}
    for row, (text, line) in enumerate(zip(table.column(patient), table.lines, strict=True)):
        where = f"{path}, line {line},"
        said = {name: _probability(where, name, column[row]) for name, column in zip(classes, columns, strict=True)}
        if abs(sum(said.values()) - 1) > _SUM:
            raise DataError(f"{where} has probabilities of {clip(text)} that sum to {sum(said.values()):.4g}, not 1")
        _check_chosen(where, said, table, row)
        true = table.column(label)[row]
        if text in found:
            raise DataError(f"{where} has patient {clip(text)} again (line {found[text].line}): keep one")
        found[text] = StampPatient(
            patient=text, line=line, true=None if true.lower() in _MISSING else true, probability=said
        )
    if not found:
        raise DataError(f"{path} has no row: it must name patients")
    return StampPredictions(path=path, label_column=label, classes=classes, patients=list(found.values()))


def _label_column(table: TextTable) -> tuple[str, list[str]]:
    """The column of the label, by those of its classes' probabilities that begin with its name; and the classes."""
    names = list(table.columns)
    others = names[1:]
    of = {name: [each.removeprefix(f"{name}_") for each in others if each.startswith(f"{name}_")] for name in others}
    fitting = {name: classes for name, classes in of.items() if len(classes) > 1}
    if "pred" not in names or len(fitting) != 1:
        raise DataError(
            f"{table.path} has the columns {named(map(clip, names))}: it needs a patient, a label, pred, and label_class for "
            "two or more classes, as STAMP writes of a classification"
        )
    return next(iter(fitting.items()))


def _probability(where: str, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise DataError(
            f"{where} has {clip(text, 30)!r} as the probability of {clip(name)}: it must lie between 0 and 1"
        )
    return value


def _check_chosen(where: str, said: dict[str, float], table: TextTable, row: int) -> None:
    """Raises DataError if the predicted class is not the most probable one."""
    chosen = table.column("pred")[row]
    if chosen not in said or said[chosen] < max(said.values()):
        highest = max(said, key=lambda name: said[name])
        raise DataError(f"{where} has pred {clip(chosen)!r}, and {clip(highest)} is the most probable: it is damaged")
