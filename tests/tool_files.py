"""A cohort of four cases and five slides in the files of STAMP and of slideflow, small enough to hold in the head.

Slide B1_HE has 0.25 µm a pixel, the others 0.5: a tile of 128 µm, which an encoder sees at 0.5, has 512 pixels of it there,
and 256 of the others.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from milstore.ingest.slide_table import ingest_slides
from milstore.store import Store, create_store
from tests.making import MadeOnce

SLIDES = {"A1_HE": "A", "A1_SOX10": "A", "B1_HE": "B", "C1_HE": "C", "D1_HE": "D"}
"""The case of each slide."""
LABEL = {"A": "high-grade", "B": "benign", "C": "benign", "D": "high-grade"}
MPP = {slide: 0.25 if slide == "B1_HE" else 0.5 for slide in SLIDES}
PLACES = {
    "A1_HE": [(1, 0), (0, 0), (2, 1)],
    "A1_SOX10": [(0, 0)],
    "B1_HE": [(0, 0), (1, 0), (0, 1), (1, 1)],
    "C1_HE": [(3, 2), (0, 2)],
    "D1_HE": [(0, 0), (1, 0)],
}
"""Column and row of each slide's tiles on a grid of 128 µm, in the order of the files' rows."""


def corners(slide: str) -> list[tuple[int, int]]:
    """Upper left corners of a slide's tiles, in pixels of its level 0, in the order of the files' rows."""
    edge = round(128 / MPP[slide])
    return [(column * edge, row * edge) for column, row in PLACES[slide]]


def slides_csv(folder: Path) -> Path:
    """The group's own table of slides."""
    path = folder / "slides.csv"
    lines = ["slide_id,case_id,stain,label,mpp_level0"]
    lines += [f"{slide},{case},{slide[3:]},{LABEL[case]},{MPP[slide]}" for slide, case in SLIDES.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


@MadeOnce
def tool_store(folder: Path) -> Store:
    """A store that knows the slides and labels of the group's table, and nothing else."""
    store = create_store(folder)
    ingest_slides(store, slides_csv(folder.parent))
    return store


def numbers(slide: str, width: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(N, D): the features of a slide's tiles; the first tells the slide, the second the row."""
    rows = len(PLACES[slide])
    made = np.ones((rows, width), np.float32)
    made[:, 0] = list(SLIDES).index(slide)
    made[:, 1] = np.arange(rows)
    return made


# --- STAMP ------------------------------------------------------------------------------------------------------------

STAMP_SAYS = {
    "unit": "um",
    "tile_size_um": np.float64(128),
    "tile_size_px": np.int64(256),
    "extractor": "mini-vit",
    "stamp_version": "2.5.0",
    "code_hash": "49b04e14",
    "feat_type": "tile",
}
"""The attributes of a file of STAMP's."""


def stamp_slide(path: Path, feats: Any, coords: Any, said: Mapping[str, Any] = STAMP_SAYS) -> Path:
    """One file of STAMP's features."""
    with h5py.File(path, "w") as file:
        file["feats"], file["coords"] = feats, coords
        file.attrs.update(said)
    return path


def stamp_features(folder: Path) -> Path:
    """The folder of STAMP's features of all slides."""
    features = folder / "mini-vit-49b04e14"
    features.mkdir(parents=True)
    for slide, places in PLACES.items():
        stamp_slide(
            features / f"{slide}.h5",
            numbers(slide, 3).astype(np.float16),
            np.array(places, np.float32) * np.float32(128),
        )
    return features


STAMP_SPLITS = [(["B", "C", "A"], ["D"]), (["D", "A", "B"], ["C"])]
"""Patients that trained, and those of the test, in each split."""


def stamp_splits(folder: Path, splits: Sequence[tuple[Sequence[str], Sequence[str]]] = tuple(STAMP_SPLITS)) -> Path:
    """STAMP's `crossval/splits.json`."""
    crossval = folder / "crossval"
    crossval.mkdir(parents=True, exist_ok=True)
    held = {"splits": [{"train_patients": list(train), "test_patients": list(test)} for train, test in splits]}
    (crossval / "splits.json").write_text(json.dumps(held))
    return crossval / "splits.json"


# --- slideflow --------------------------------------------------------------------------------------------------------

BAGS_CONFIG = {
    "extractor": {"class": "slideflow.model.extractors.SlideflowFeatures", "kwargs": {}},
    "normalizer": {"method": "reinhard"},
    "num_features": 4,
    "tile_px": 256,
    "tile_um": 128,
}


def slideflow_bags(folder: Path, config: Mapping[str, Any] | None = BAGS_CONFIG) -> Path:
    """slideflow's folder of bags."""
    import torch

    bags = folder / "bags"
    bags.mkdir(parents=True)
    for slide in SLIDES:
        torch.save(torch.from_numpy(numbers(slide, 4)), bags / f"{slide}.pt")
        edge = round(128 / MPP[slide])
        np.savez(bags / f"{slide}.index.npz", np.array(corners(slide)) + edge // 2)
    if config is not None:
        (bags / "bags_config.json").write_text(json.dumps(config))
    return bags


FOLDS = {1: ["A", "B"], 2: ["C", "D"]}
"""Patients that each fold validates on."""


def slides_of(*cases: str) -> list[str]:
    """The slides of some cases."""
    return [slide for slide, case in SLIDES.items() if case in cases]


def slideflow_plan(folds: Mapping[str, Sequence[str]], strategy: str = "k-fold") -> dict[str, Any]:
    """A plan of slideflow's `splits.json`: the slides of each of its parts."""
    patients = {
        case: {"outcome_label": int(label == "high-grade"), "slides": slides_of(case)} for case, label in LABEL.items()
    }
    return {"strategy": strategy, "patients": patients, "tfrecords": {name: list(own) for name, own in folds.items()}}


def slideflow_splits(folder: Path, plans: Sequence[Mapping[str, Any]] | None = None) -> Path:
    """slideflow's `splits.json`."""
    if plans is None:
        plans = [slideflow_plan({f"k-fold-{k}": slides_of(*cases) for k, cases in FOLDS.items()})]
    path = folder / "splits.json"
    path.write_text(json.dumps(list(plans)))
    return path
