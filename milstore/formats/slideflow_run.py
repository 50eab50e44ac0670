"""Reads slideflow's models in its folder `mil/`: predictions, attention, and the slides of each subset.

What slideflow calls validation are the slides that a model did not train on: here they are the test.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from milstore.errors import DataError
from milstore.formats.csv_table import read_csv
from milstore.formats.data_table import read_table, texts_of
from milstore.formats.json_file import read_json_object
from milstore.formats.npz_array import read_one_array
from milstore.formats.pt_vector import INDEX
from milstore.formats.slideflow import read_centres
from milstore.formats.split_file import Split, put_case
from milstore.store.attention import TOLERANCE
from milstore.store.names import clip, named

PREDICTIONS, PARAMS, MANIFEST = "predictions.parquet", "mil_params.json", "slide_manifest.csv"
TILES, ATTENTION = "mil_tile_preds.parquet", ("_att.npz", "_att.npy")
_FOLDER = re.compile(r"(?:\d+-)?(?P<label>.+?)(?:-kfold(?P<fold>\d{1,9}))?")
_PARTS = {"training": "train", "validation": "test"}
_APART = "move its folder attention/ away to take the predictions in alone"


@dataclass(frozen=True, kw_only=True, slots=True)
class SlideflowRun:
    """The folder of one model."""

    folder: Path
    label: str
    """Its name without the running number and the fold: model and outcome."""
    fold: int
    """The number of the fold that it did not train on; 1 where the folder names none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SlideflowFolder:
    """Models in one place."""

    root: Path
    """Below which all that is read lies: the project, or `mil/`."""
    runs: Sequence[SlideflowRun]
    splits: Path | None
    """splits.json of the project; None if it is not there."""
    bags: Path | None
    """The folder with the centres of the bags' tiles; None if it is not there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SlideflowPredictions:
    """A model's predictions of slides that it was not trained on."""

    path: Path
    by_patient: bool
    """Whether its bags were of patients, and the names are theirs."""
    probability_of: Mapping[str, Sequence[float]]
    """By slide (or patient): of each class, by the number that slideflow gave it."""
    true_of: Mapping[str, int] = field(default_factory=dict)
    """By slide (or patient): the number of its class."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BagAttention:
    """A model's attention on a slide's bag."""

    path: Path
    weights: npt.NDArray[np.float64]
    """(N,), they sum to 1."""
    centres: npt.NDArray[np.float64]
    """(N, 2): x and y of each tile's centre, in pixels of level 0."""
    files: Sequence[Path]
    """What this was read from."""


# --- folders ----------------------------------------------------------------------------------------------------------


def read_slideflow_folder(folder: Path) -> SlideflowFolder:
    """The models in a project's folder, in its `mil/`, or in the folder of one of them.

    Raises:
        DataError: there is none.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} {'is no folder' if folder.exists() else 'does not exist'}: name slideflow's project")
    folder = folder if folder.name else folder.absolute()
    if (folder / PREDICTIONS).is_file():
        mil, found = folder.parent, [folder]
    else:
        mil = folder / "mil" if (folder / "mil").is_dir() else folder
        found = sorted(path for path in mil.iterdir() if (path / PREDICTIONS).is_file())
    if not found:
        raise DataError(f"{mil} has no folder with {PREDICTIONS}: name slideflow's project, or its folder mil/")
    # In a project, bags and splits lie beside mil/; where somebody copied mil/ alone, in it.
    root = mil.parent if mil.name == "mil" else mil
    places = list(dict.fromkeys([root, mil]))
    return SlideflowFolder(
        root=root,
        runs=[_run(path) for path in found],
        splits=next((each / "splits.json" for each in places if (each / "splits.json").is_file()), None),
        bags=next((each / "bags" for each in places if (each / "bags").is_dir()), None),
    )


def _run(folder: Path) -> SlideflowRun:
    match = _FOLDER.fullmatch(folder.name)
    label = match["label"] if match else folder.name
    return SlideflowRun(folder=folder, label=label, fold=int(match["fold"]) if match and match["fold"] else 1)


def read_params(run: SlideflowRun) -> dict[str, Any]:
    """The settings of a model. DataError if they are not there, or damaged."""
    return read_json_object(run.folder / PARAMS, "slideflow's mil_params.json")


def classes_of(path: Path, params: Mapping[str, Any]) -> list[str]:
    """The class that slideflow's numbers 0, 1, … stand for. DataError if the settings do not say it."""
    labels = params.get("outcome_labels")
    if not isinstance(labels, dict) or not labels or set(labels) != {str(number) for number in range(len(labels))}:
        raise DataError(
            f"{path} has no outcome_labels 0, 1, …: without it nobody knows which class a number is; models of one outcome "
            "with classes can be taken in"
        )
    return [str(labels[str(number)]) for number in range(len(labels))]


def read_manifest(run: SlideflowRun) -> Split | None:
    """The subset of each slide that a model knew of: train, and test for what slideflow calls validation; None without one.

    Raises:
        DataError: it is damaged, or a slide stands in both.
    """
    path = run.folder / MANIFEST
    if not path.is_file():
        return None
    table = read_csv(path, "slideflow's slide_manifest.csv", ["slide", "dataset"], drop_repeats=True)
    split: Split = {}
    for slide, part, line in zip(table.column("slide"), table.column("dataset"), table.lines, strict=True):
        if part not in _PARTS:
            raise DataError(f"{path}, line {line}, has dataset {clip(part)!r}: it must be {' or '.join(_PARTS)}")
        put_case(split, slide, _PARTS[part], str(path), "slide")
    return split


# --- predictions ------------------------------------------------------------------------------------------------------


def read_slide_predictions(run: SlideflowRun, n_classes: int) -> SlideflowPredictions:
    """A model's predictions of its validation slides.

    Raises:
        DataError: the table is damaged, has a slide twice, or not a column for each class.
    """
    path = run.folder / PREDICTIONS
    table = read_table(path, [], ["slide", "patient"])
    columns = table.column_names
    name = next((each for each in ("slide", "patient") if each in columns), None)
    wanted = [f"y_pred{number}" for number in range(n_classes)]
    theirs = [each for each in columns if re.fullmatch(r"y_pred\d+", each)]
    if name is None or sorted(theirs) != sorted(wanted):
        raise DataError(f"{path} has the columns {named(map(clip, columns))}: it needs slide, and {', '.join(wanted)}")
    names = texts_of(path, table, name).to_pylist()
    if len(set(names)) < len(names):
        double = sorted({each for each in names if names.count(each) > 1})
        raise DataError(f"{path} has {name} {named(map(clip, double))} more than once: keep one")
    values = np.stack([_numbers(path, table, each) for each in wanted], axis=1)
    true_of: dict[str, int] = {}
    if "y_true" in columns:
        for each, number in zip(names, _numbers(path, table, "y_true").tolist(), strict=True):
            if number not in range(n_classes):
                raise DataError(f"{path} has y_true {number:g} of {name} {clip(each)}: there are {n_classes} classes")
            true_of[each] = int(number)
    if not names:
        raise DataError(f"{path} has no row: it must name slides")
    return SlideflowPredictions(
        path=path,
        by_patient=name == "patient",
        probability_of=dict(zip(names, values.tolist(), strict=True)),
        true_of=true_of,
    )


def _numbers(path: Path, table: pa.Table, name: str) -> npt.NDArray[np.float64]:
    column = table[name]
    if column.null_count or not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise DataError(f"{path} has in column {clip(name)} what is no number: create it again")
    return np.asarray(column.to_numpy(), np.float64)


# --- attention --------------------------------------------------------------------------------------------------------


def read_attention(run: SlideflowRun, bags: Path | None) -> Iterator[tuple[str, BagAttention]]:
    """Each slide that a model's folder has attention of, and where it looked.

    Its rows are those of the slide's bag: their places are in the bag's index, or in the table of the model's tiles.

    Raises:
        DataError: a file is damaged, holds no weights, or nothing says where its rows lie.
    """
    tiles = _tiles(run.folder / TILES)
    folder = run.folder / "attention"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        ending = next((each for each in ATTENTION if path.name.endswith(each)), None)
        if ending is None:
            continue
        slide = path.name.removesuffix(ending)
        weights = _weights(path)
        yield slide, _placed(path, slide, weights, bags, tiles)


def _weights(path: Path) -> npt.NDArray[np.float64]:
    weights = read_one_array(path, "the attention of a slide's tiles")
    shape = weights.shape
    if weights.dtype.kind != "f" or weights.size != max(shape, default=0) or not weights.size:
        raise DataError(f"{path} has attention of shape {shape}: it needs one weight a tile (N,); {_APART}")
    flat = weights.reshape(-1).astype(np.float64)
    # NaN compares as false.
    if not (flat.min() >= 0 and abs(flat.sum() - 1) <= TOLERANCE):
        raise DataError(
            f"{path} has numbers that are no weights: they sum to {flat.sum():.4g}, from {flat.min():.4g} to {flat.max():.4g}; "
            f"{_APART}"
        )
    return flat


def _placed(
    path: Path, slide: str, weights: npt.NDArray[np.float64], bags: Path | None, tiles: Mapping[str, "_Tiles"]
) -> BagAttention:
    """Attention with the places of its rows: from the bag's index if it is as long, else from the model's own table."""
    found = [bags / f"{slide}{ending}" for ending in INDEX] if bags is not None else []
    index = next((each for each in found if each.is_file()), None)
    own = tiles.get(slide)
    if own is not None and len(own.centres) == len(weights) and np.allclose(own.weights, weights, rtol=1e-3, atol=1e-7):
        return BagAttention(path=path, weights=weights, centres=own.centres, files=[path, path.parent.parent / TILES])
    if index is None:
        raise DataError(
            f"{path}: nothing says where its {len(weights)} tiles lie, neither {TILES} beside it nor {slide}{INDEX[0]} in "
            f"the project's bags/: put the bags there, or {_APART}"
        )
    return BagAttention(
        path=path, weights=weights, centres=read_centres(index, len(weights), path.name), files=[path, index]
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Tiles:
    """A slide's rows of the table of a model's tiles."""

    weights: npt.NDArray[np.float64]
    centres: npt.NDArray[np.float64]


def _tiles(path: Path) -> dict[str, _Tiles]:
    """By slide; nothing where there is no such table, or it says nothing of attention."""
    if not path.is_file():
        return {}
    table = read_table(path, [], ["slide"])
    needed = ("slide", "loc_x", "loc_y", "attention")
    if not set(needed) <= set(table.column_names):
        return {}
    slides = np.array(texts_of(path, table, "slide").to_pylist(), object)
    x, y, weights = (_numbers(path, table, name) for name in needed[1:])
    return {
        slide: _Tiles(weights[rows], np.stack([x[rows], y[rows]], axis=1))
        for slide in dict.fromkeys(slides.tolist())
        if len(rows := np.flatnonzero(slides == slide))
    }
