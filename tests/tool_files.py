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
import pyarrow as pa
import pyarrow.parquet as pq

from milstore.ingest.slide_table import ingest_slides
from milstore.store import Store, create_store
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import edit_cohort
from milstore.store.feature_reader import open_features
from milstore.store.patch_index import PLACE
from milstore.store.slides import Slides
from tests.making import MadeOnce

SLIDES = {"A1_HE": "A", "A1_SOX10": "A", "B1_HE": "B", "C1_HE": "C", "D1_HE": "D"}
"""The case of each slide."""
TRUE = {"A": "high-grade", "B": "benign", "C": "benign", "D": "high-grade"}
"""The class of each case."""
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
    lines += [f"{slide},{case},{slide[3:]},{TRUE[case]},{MPP[slide]}" for slide, case in SLIDES.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


@MadeOnce
def tool_store(folder: Path) -> Store:
    """A store that knows the slides and labels of the group's table, and nothing else."""
    store = create_store(folder)
    ingest_slides(store, slides_csv(folder.parent))
    return store


@MadeOnce
def placed_store(folder: Path) -> Store:
    """The same store with the patches of the slides' tiles, numbered by row and column."""
    store = tool_store.anew(folder)
    with edit_cohort(store) as edit:
        edit.replace("grids", pa.table({"grid": ["256px-0.5mpp"], "edge": [256], "mpp": [0.5]}))
        slices, patches = [], []
        for slide in Slides(edit).values():
            place = {"case_id": slide.case_id, "stain": slide.stain, "slice_idx": 0}
            edge = round(128 / MPP[slide.slide_id])
            own = sorted(corners(slide.slide_id), key=lambda xy: xy[::-1])
            slices.append({**place, "slice_name": slide.slide_id, "n_patches": len(own), "slide_id": slide.slide_id})
            of_all = {"width": edge, "height": edge, "unit": "level0", "grid": "256px-0.5mpp"}
            patches += [{**place, "patch_idx": i, "x": x, "y": y, **of_all} for i, (x, y) in enumerate(own)]
        edit.replace("slices", pa.Table.from_pylist(slices))
        edit.replace("patches", pa.Table.from_pylist(patches))
    return store


def stored(store: Store, encoder: str) -> dict[tuple[str, int, int], tuple[int, list[float]]]:
    """By slide and place: the edge of each patch that has features of an encoder, and these."""
    cohort = read_cohort(store)
    features = open_features(store, cohort, encoder)
    places = {tuple(row[name] for name in PLACE): row for row in cohort.table("patches").to_pylist()}
    names = {tuple(row[name] for name in PLACE[:3]): row["slice_name"] for row in cohort.table("slices").to_pylist()}
    found = {}
    for case, (first, last) in features.case_rows.items():
        rows = features.patches.slice(first, last - first).to_pylist()
        for row, vector in zip(rows, features.read(case).tolist(), strict=True):
            key = tuple(row[name] for name in PLACE)
            found[names[key[:3]], places[key]["x"], places[key]["y"]] = (places[key]["width"], vector)
    return found


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


STAMP_SAID = {0: {"D": (0.6, 0.4, "high-grade")}, 1: {"C": (0.9, 0.1, "benign")}}
"""What the model of each split said of its test: the probability of benign and of high-grade, and the true class."""
Said = Mapping[str, tuple[float, float, str]]


def patient_preds(path: Path, said: Said, names: Sequence[str] = ("benign", "high-grade")) -> Path:
    """One of STAMP's tables of predictions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"PATIENT,GRADE,pred,GRADE_{names[0]},GRADE_{names[1]},loss"]
    lines += [f"{case},{true},{names[int(b > a)]},{a},{b},0.5" for case, (a, b, true) in said.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


def stamp_crossval(folder: Path, said: Mapping[int, Said] = STAMP_SAID) -> Path:
    """STAMP's folder `crossval/`, with its splits and predictions."""
    crossval = stamp_splits(folder).parent
    for number, own in said.items():
        patient_preds(crossval / f"split-{number}" / "patient-preds.csv", own)
    return crossval


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
        case: {"outcome_label": int(label == "high-grade"), "slides": slides_of(case)} for case, label in TRUE.items()
    }
    return {"strategy": strategy, "patients": patients, "tfrecords": {name: list(own) for name, own in folds.items()}}


def slideflow_splits(folder: Path, plans: Sequence[Mapping[str, Any]] | None = None) -> Path:
    """slideflow's `splits.json`."""
    if plans is None:
        plans = [slideflow_plan({f"k-fold-{k}": slides_of(*cases) for k, cases in FOLDS.items()})]
    path = folder / "splits.json"
    path.write_text(json.dumps(list(plans)))
    return path


SLIDEFLOW_SAID = {
    1: {"A1_HE": (0.2, 0.8), "A1_SOX10": (0.6, 0.4), "B1_HE": (0.7, 0.3)},
    2: {"C1_HE": (0.1, 0.9), "D1_HE": (0.25, 0.75)},
}
"""What the model of each fold said of its slides: the probability of benign and of high-grade."""
WEIGHTS = {
    "A1_HE": (0.5, 0.3, 0.2),
    "A1_SOX10": (1.0,),
    "B1_HE": (0.4, 0.3, 0.2, 0.1),
    "C1_HE": (0.9, 0.1),
    "D1_HE": (0.6, 0.4),
}
"""Attention on each slide's tiles, in the order of the files' rows."""
PARAMS = {
    "trainer": "fastai",
    "params": {"model": "attention_mil", "save_monitor": "valid_loss"},
    "outcomes": "grade",
    "outcome_labels": {"0": "benign", "1": "high-grade"},
    "bags": "/data/bags",
}
LABEL = "attention_mil-grade"


def slideflow_run(
    mil: Path,
    fold: int,
    *,
    label: str = LABEL,
    params: Mapping[str, Any] = PARAMS,
    manifest: bool = True,
    attended: Sequence[str] | None = None,
    said: Mapping[str, tuple[float, float]] | None = None,
) -> Path:
    """The folder of one model, below `mil/`."""
    folder = mil / f"{len(list(mil.glob('*'))):05}-{label}-kfold{fold}"
    (folder / "attention").mkdir(parents=True)
    (folder / "mil_params.json").write_text(json.dumps(params))
    said = SLIDEFLOW_SAID[fold] if said is None else said
    slides = list(said)
    table = {
        "slide": slides,
        "y_true": [int(TRUE[SLIDES[slide]] == "high-grade") for slide in slides],
        "y_pred0": np.array([said[slide][0] for slide in slides], np.float32),
        "y_pred1": np.array([said[slide][1] for slide in slides], np.float32),
    }
    pq.write_table(pa.table(table), folder / "predictions.parquet")
    for slide in slides if attended is None else attended:
        np.savez(folder / "attention" / f"{slide}_att.npz", np.array(WEIGHTS[slide], np.float32))
    if manifest:
        parts = [f"{s},{'validation' if c in FOLDS[fold] else 'training'},0" for s, c in SLIDES.items()]
        (folder / "slide_manifest.csv").write_text("\n".join(["slide,dataset,outcome_label", *parts]) + "\n")
    return folder


def slideflow_project(folder: Path) -> Path:
    """slideflow's project: the centres of the bags' tiles, the splits, and a model for each of two folds."""
    bags = folder / "bags"
    bags.mkdir(parents=True)
    for slide in SLIDES:
        np.savez(bags / f"{slide}.index.npz", np.array(corners(slide)) + round(128 / MPP[slide]) // 2)
    slideflow_splits(folder)
    for fold in FOLDS:
        slideflow_run(folder / "mil", fold)
    return folder
