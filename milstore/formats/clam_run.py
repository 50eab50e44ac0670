"""Reads the folder of a CLAM experiment: predictions of slides that were not trained on, and heat maps.

    eval_results/EVAL_<code>/fold_<k>.csv                    slide_id, Y, Y_hat, p_0, p_1, …, of the slides of fold k
    heatmaps/heatmap_raw_results/<code>/…/<slide>_blockmap.h5  attention_scores (N, 1), coords (N, 2) in pixels of level 0
    heatmaps/results/<code>.csv                              what the model of these maps said of each slide
    splits/<task>/splits_<k>.csv, results/<code>_s<seed>/splits_<k>.csv

Scores are those before the softmax. Pickled files are never read.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from milstore.errors import DataError, UsageError
from milstore.formats.clam_splits import ClamSplits
from milstore.formats.csv_table import TextTable, read_csv
from milstore.formats.hdf5 import check_filled, opened_hdf5, own_dataset, read_whole
from milstore.formats.interface import reported
from milstore.formats.tool_h5 import found_in, read_coords
from milstore.store.names import clip, named, natural_key

_FOLD = re.compile(r"fold_(\d+)\.csv")
_SEED = re.compile(r"(.+)_s(\d+)")
_EVALUATIONS, _EVALUATION = "eval_results", "EVAL_"
_BLOCKMAP = "_blockmap.h5"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fold:
    """The predictions of one fold's model."""

    path: Path
    probability_of: Mapping[str, tuple[float, ...]]
    """By slide: of each class, by CLAM's number."""
    class_of: Mapping[str, int]
    """By slide: CLAM's number of its true class."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeatMap:
    """A heat map, not read yet."""

    path: Path
    slide: str
    code: str
    """Of the run of CLAM that made it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClamFolder:
    """The contents of an experiment's folder."""

    root: Path
    code: str
    """Of the evaluation."""
    folds: Mapping[int, Path]
    heat_maps: tuple[HeatMap, ...]
    tables: Mapping[str, Path]
    """By the code of heat maps: what their model said."""
    splits: tuple[Path, ...]
    """Folders of splits."""
    seed: int | None
    """Of the training, where one folder of results says it."""


def read_clam_folder(given: Path) -> ClamFolder:
    """What lies in a folder: that of the experiment, its `eval_results`, or an evaluation in that.

    Raises:
        DataError: it holds no evaluation.
        UsageError: it holds several.
    """
    if not given.is_dir():
        raise DataError(f"{given} {'is no folder' if given.exists() else 'does not exist'}: name CLAM's folder")
    given = given.absolute()
    evaluation = given if _folds(given) else _only_evaluation(given)
    above = evaluation.parent
    root = above.parent if above.name == _EVALUATIONS else above
    code = evaluation.name.removeprefix(_EVALUATION)
    tables = {path.stem: path for path in sorted((root / "heatmaps" / "results").glob("*.csv"))}
    results = sorted((root / "results").glob("*/"), key=lambda path: natural_key(path.name))
    seeds = {int(match[2]) for path in results if (match := _SEED.fullmatch(path.name)) and match[1] == code}
    folders = [*sorted((root / "splits").glob("*/"), key=lambda path: natural_key(path.name)), *results]
    return ClamFolder(
        root=root,
        code=code,
        folds=_folds(evaluation),
        heat_maps=tuple(_heat_maps(root / "heatmaps" / "heatmap_raw_results")),
        tables=tables,
        splits=tuple(path for path in folders if any(map(_is_split, path.glob("*.csv")))),
        seed=seeds.pop() if len(seeds) == 1 else None,
    )


def _folds(folder: Path) -> dict[int, Path]:
    found = {int(match[1]): path for path in folder.iterdir() if (match := _FOLD.fullmatch(path.name))}
    return dict(sorted(found.items()))


def _only_evaluation(given: Path) -> Path:
    inside = given if given.name == _EVALUATIONS else given / _EVALUATIONS
    found = sorted((path for path in inside.glob("*/") if _folds(path)), key=lambda path: natural_key(path.name))
    if not found:
        raise DataError(
            f"{given} holds no evaluation of CLAM's: there must be {_EVALUATIONS}/EVAL_…/fold_0.csv in it (CLAM's eval.py "
            "writes it; files of pickled results are not read)"
        )
    if len(found) > 1:
        raise UsageError(
            f"{given} holds {len(found)} evaluations ({named(path.name for path in found)}): name one, such as {found[0]}"
        )
    return found[0]


def _is_split(path: Path) -> bool:
    try:
        return ClamSplits().recognises(path)
    except (OSError, DataError):
        return False


def _heat_maps(folder: Path) -> list[HeatMap]:
    found = [
        HeatMap(path=path, slide=path.name.removesuffix(_BLOCKMAP), code=path.relative_to(folder).parts[0])
        for path in folder.rglob(f"*{_BLOCKMAP}")
    ]
    return sorted(found, key=lambda each: (natural_key(each.slide), each.path.as_posix()))


def read_fold(path: Path) -> Fold:
    """A fold's predictions of slides.

    Raises:
        DataError: a column is missing, a value is no number, a slide stands twice, or Y_hat is not the likeliest class.
    """
    table = read_csv(path, "what CLAM said of a fold", ["slide_id", "Y", "Y_hat", "p_0"])
    names = [f"p_{i}" for i in range(len(table.columns)) if f"p_{i}" in table.columns]
    missing = [name for name in ("slide_id", "Y", "p_0", "p_1") if name not in table.columns]
    if missing or names != [f"p_{i}" for i in range(len(names))]:
        raise DataError(f"{path} has the columns {named(table.columns)}: it needs slide_id, Y, Y_hat, p_0, p_1, …")
    if not len(table):
        raise DataError(f"{path} has no row: CLAM's eval.py did not end")
    slides = table.column("slide_id")
    double = sorted({slide for slide in slides if slides.count(slide) > 1})
    if double or not all(slides):
        raise DataError(
            f"{path} has {f'slide {named(map(clip, double))} twice' if double else 'a row without slide_id'}: keep one"
        )
    chances = list(zip(*(_numbers(table, name) for name in names), strict=True))
    for column, whole in (("Y", True), ("Y_hat", False)):
        if column not in table.columns:
            continue
        for slide, label, own in zip(slides, _numbers(table, column), chances, strict=True):
            if label != int(label) or not 0 <= label < len(names):
                raise DataError(
                    f"{path} has {column} {label:g} of slide {clip(slide)}: it must be a class, 0 to {len(names) - 1}"
                )
            if not whole and own[int(label)] < max(own):
                raise DataError(
                    f"{path} has a Y_hat for slide {clip(slide)} that is not its likeliest class: its columns are not what they "
                    "are taken for"
                )
    classes = map(int, _numbers(table, "Y"))
    return Fold(
        path=path,
        probability_of=dict(zip(slides, chances, strict=True)),
        class_of=dict(zip(slides, classes, strict=True)),
    )


def _numbers(table: TextTable, name: str) -> list[float]:
    found = []
    for text, line in zip(table.column(name), table.lines, strict=True):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise DataError(f"{table.path}, line {line}, has {name} {clip(text)!r}: it must be a number")
        found.append(value)
    return found


def read_heat_map_table(path: Path) -> dict[str, dict[str, float]]:
    """What the model of heat maps said: by slide, as the file names it, the probability of each class by its name.

    DataError if a value is no number. Rows without any, as of slides that were not processed, are left out.
    """
    table = read_csv(path, "what the model of CLAM's heat maps said", ["slide_id", "Pred_0", "p_0"])
    names = [i for i in range(len(table.columns)) if {f"Pred_{i}", f"p_{i}"} <= table.columns.keys()]
    found: dict[str, dict[str, float]] = {}
    for row, slide in enumerate(table.column("slide_id")):
        pairs = {table.column(f"Pred_{i}")[row]: table.column(f"p_{i}")[row] for i in names}
        if not any(pairs.values()):
            continue
        try:
            found[slide] = {name: float(text) for name, text in pairs.items()}
        except ValueError:
            raise DataError(
                f"{path}, line {table.lines[row]}, has probabilities {clip(named(pairs.values()))}: they must be numbers"
            ) from None
    return found


def read_heat_map(path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.number]]:
    """Scores (N,) before the softmax, and the places (N, 2) of their patches in pixels of level 0.

    Raises:
        DataError: the file is damaged or of another form, or a score is NaN or infinity.
    """
    with reported(path), opened_hdf5(path) as file:
        if not {"attention_scores", "coords"} <= set(file):
            raise DataError(
                f"{path} holds {found_in(file)}: a heat map of CLAM's has attention_scores (N, 1) and coords (N, 2)"
            )
        dataset = own_dataset(file, "attention_scores", path)
        if dataset.dtype.kind != "f" or dataset.shape not in [(len(dataset), 1), (len(dataset),)] or not len(dataset):
            raise DataError(
                f"{path} has attention_scores of shape {dataset.shape} and type {dataset.dtype}: they must be floats (N, 1), one a "
                "patch"
            )
        values = read_whole(dataset, "attention_scores", path)
        check_filled(dataset, values, "attention_scores", path)
        xy = read_coords(file, "coords", path, len(values))
    scores = values.reshape(-1).astype(np.float64)
    if not np.isfinite(scores).all():
        raise DataError(f"{path} has attention_scores that are NaN or infinity: create it again")
    return scores, xy
