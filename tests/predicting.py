"""New cases for the tests of predicting: files of features of cases that the training cohort does not have."""

from pathlib import Path

import numpy as np

from milstore.store import Store
from milstore.training.experiment import train_all
from tests.making import MadeOnce
from tests.training_cohort import N_FEATURES, SMALL, tiny_store

EXPERIMENT = "tiny"
NEW_LABELS = {"21": 1, "22": 0, "23": 1, "24": 0}
"""Four new cases; the patches of 21 and 23 look high-grade."""


@MadeOnce
def trained_store(folder: Path) -> Store:
    """The tiny cohort with experiment `tiny`: a run of each of its two splits by each of two seeds."""
    store = tiny_store.anew(folder)
    for seed in (0, 1):
        train_all(store, SMALL, experiment=EXPERIMENT, threads=1, seed=seed)
    return store


def vectors(case_id: str, n_patches: int) -> np.ndarray:
    """Features (N, 6), float16, made as those of the cohort are."""
    found = np.random.default_rng(int(case_id)).normal(size=(n_patches, N_FEATURES))
    found[::2, 0] += 4 * NEW_LABELS.get(case_id, 0)
    return found.astype(np.float16)


def feature_files(folder: Path, *cases: str, n_features: int = N_FEATURES) -> Path:
    """A folder with a file of each slice of new cases: four patches on H&E, three on SOX10."""
    folder.mkdir(parents=True, exist_ok=True)
    for case_id in cases:
        for stain, n_patches in (("h&e", 4), ("sox10", 3)):
            features = vectors(case_id, n_patches)[:, :n_features]
            path = folder / f"case_{case_id}_match_1_{stain}.npz"
            np.savez(path, features=features, patch_idx=np.arange(n_patches))
    return folder


def labels_file(path: Path, *cases: str) -> Path:
    """A table of an external cohort: a case and its label a row."""
    words = ("benign", "high-grade")
    rows = "".join(f"{case_id},{words[NEW_LABELS[case_id]]}\n" for case_id in cases or NEW_LABELS)
    path.write_text(f"case_id,label\n{rows}")
    return path
