"""The cohort of `tests.sliding` in CLAM's files: features, patches, splits, evaluation and heat maps, written by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.sliding import CLASSES, EDGE, LABELS, PLACES, SLIDES

FOLDS: dict[int, dict[str, tuple[float, float]]] = {
    0: {"A_he": (0.4, 0.6), "A_sox": (0.2, 0.8)},
    1: {"B_he": (0.7, 0.3), "C_he": (0.4, 0.6)},
}
"""The slides that each fold held out, with their probabilities."""
SPLITS = {
    0: {"train": ["C_he"], "val": ["B_he"], "test": ["A_he", "A_sox"]},
    1: {"train": ["A_he", "A_sox"], "val": [], "test": ["B_he", "C_he"]},
}
SCORES = {
    "A_he": (0.0, float(np.log(2)), float(np.log(5))),
    "A_sox": (-3.0,),
    "B_he": (1.0, 1.0),
    "C_he": (-2.0, float(-2 + np.log(3))),
}
"""Scores before the softmax: of A_he the weights are 1/8, 2/8 and 5/8, of C_he 1/4 and 3/4."""


def numbers(slide: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(N, 3): the features of a slide's patches; the first tells the slide, the second the row."""
    made = np.ones((len(PLACES[slide]), 3), np.float32)
    made[:, 0] = list(SLIDES).index(slide)
    made[:, 1] = np.arange(len(made))
    return made


def clam_features(root: Path, slides: Sequence[str] = tuple(SLIDES)) -> Path:
    """`FEATURES_DIRECTORY/h5_files` of slides."""
    folder = root / "FEATURES_DIRECTORY" / "h5_files"
    folder.mkdir(parents=True, exist_ok=True)
    for slide in slides:
        with h5py.File(folder / f"{slide}.h5", "w") as file:
            file.create_dataset("features", data=numbers(slide), chunks=(32, 3), maxshape=(None, 3))
            places = np.array(PLACES[slide], np.int32)
            file.create_dataset("coords", data=places, chunks=(32, 2), maxshape=(None, 2))
    return folder


def clam_tensors(root: Path) -> Path:
    """`FEATURES_DIRECTORY/pt_files` of all slides."""
    import torch

    folder = root / "FEATURES_DIRECTORY" / "pt_files"
    folder.mkdir(parents=True, exist_ok=True)
    for slide in SLIDES:
        torch.save(torch.from_numpy(numbers(slide)), folder / f"{slide}.pt")
    return folder


def clam_patches(
    folder: Path, slides: Sequence[str] = tuple(SLIDES), size: int = EDGE, downsample: float = 1.0
) -> Path:
    """CLAM's folder `patches` of slides: in the order of the features turned round, as no order is promised."""
    folder.mkdir(parents=True, exist_ok=True)
    for slide in slides:
        with h5py.File(folder / f"{slide}.h5", "w") as file:
            coords = file.create_dataset("coords", data=np.array(PLACES[slide], np.int64)[::-1])
            level = int(downsample > 1)
            coords.attrs.update(
                {
                    "patch_size": size,
                    "patch_level": level,
                    "downsample": np.array([downsample, downsample]),
                    "level_dim": np.array([2048, 1536]) // (1 + level),
                    "downsampled_level_dim": np.array([2048, 1536]) // (1 + level),
                    "name": slide,
                    "save_path": "RESULTS_DIRECTORY/patches",
                }
            )
    return folder


def clam_dataset(root: Path) -> Path:
    """`dataset_csv/cohort.csv`: a row a slide."""
    path = root / "dataset_csv" / "cohort.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{case},{slide},{CLASSES[LABELS[case]]}" for slide, (case, _) in SLIDES.items()]
    path.write_text("\n".join(["case_id,slide_id,label", *rows]) + "\n")
    return path


def clam_splits(root: Path, splits: Mapping[int, Mapping[str, Sequence[str]]] = SPLITS) -> Path:
    """`splits/task_100/`: ragged columns."""
    folder = root / "splits" / "task_100"
    folder.mkdir(parents=True, exist_ok=True)
    for number, subsets in splits.items():
        columns = [list(subsets[name]) for name in ("train", "val", "test")]
        longest = max(map(len, columns))
        rows = [[str(i), *(own[i] if i < len(own) else "" for own in columns)] for i in range(longest)]
        text = "\n".join([",train,val,test", *(",".join(row) for row in rows)])
        (folder / f"splits_{number}.csv").write_text(text + "\n")
    return folder


def clam_fold(
    root: Path, number: int, rows: Mapping[str, tuple[float, ...]], truth: Mapping[str, int] = LABELS
) -> Path:
    """`eval_results/EVAL_exp/fold_k.csv`."""
    path = root / "eval_results" / "EVAL_exp" / f"fold_{number}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["slide_id,Y,Y_hat," + ",".join(f"p_{i}" for i in range(len(next(iter(rows.values())))))]
    for slide, chances in rows.items():
        chosen = float(np.argmax(chances))
        lines.append(",".join(map(str, (slide, float(truth[SLIDES[slide][0]]), chosen, *chances))))
    path.write_text("\n".join(lines) + "\n")
    return path


def heat_map(root: Path, slide: str, scores: Sequence[float] | None = None, places: Any = None) -> Path:
    """`heatmaps/heatmap_raw_results/exp/<label>/<slide>/<slide>_blockmap.h5`."""
    label = CLASSES[LABELS[SLIDES[slide][0]]]
    path = root / "heatmaps" / "heatmap_raw_results" / "exp" / label / slide / f"{slide}_blockmap.h5"
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        values = np.array(SCORES[slide] if scores is None else scores, np.float32)[:, None]
        file.create_dataset("attention_scores", data=values)
        file.create_dataset("coords", data=np.array(PLACES[slide] if places is None else places, np.int32))
    return path


def heat_map_table(root: Path, chances: Mapping[str, tuple[float, float]], names: Sequence[str] = CLASSES) -> Path:
    """`heatmaps/results/exp.csv`: of each slide the classes in falling order, with their probabilities."""
    path = root / "heatmaps" / "results" / "exp.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["slide_id,process,bag_size,Pred_0,p_0,Pred_1,p_1"]
    for slide, own in chances.items():
        order = np.argsort(own)[::-1]
        said = ",".join(f"{names[i]},{np.float32(own[i])}" for i in order)
        lines.append(f"{slide}.tif,1,{float(len(PLACES[slide]))},{said}")
    path.write_text("\n".join(lines) + "\n")
    return path


def clam_runs(root: Path) -> Path:
    """A folder with splits, the evaluation of both folds, and heat maps by the model of fold 0 of every slide."""
    clam_splits(root)
    for number, rows in FOLDS.items():
        clam_fold(root, number, rows)
    for slide in SLIDES:
        heat_map(root, slide)
    heat_map_table(root, {**FOLDS[0], "B_he": (0.55, 0.45), "C_he": (0.35, 0.65)})
    return root
