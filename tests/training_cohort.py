"""A tiny cohort for the tests of training: twelve cases whose class one feature tells."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from milstore.store import Store
from milstore.store.cohort_edit import edit_cohort
from milstore.store.features import FeaturePack
from milstore.training.bags import Bag, BagsInMemory, make_bag
from milstore.training.config import TrainingConfig
from milstore.training.split_cases import SplitCases
from tests.making import MadeOnce, make_splits, make_store

N_FEATURES = 6
SMALL = TrainingConfig(hidden=8, attention_dim=4, epochs=3, min_epochs=1, lr=0.01)
"""A configuration that trains the cohort in a blink."""

LABELS = {str(case): case % 2 for case in range(1, 13)}
SUBSETS = {1: "train", 2: "train", 3: "train", 4: "train", 5: "train", 6: "train", 7: "val", 8: "val"}


def subset(case_id: str, split: int = 1) -> str:
    """Where a case is: the second split swaps the roles of the last four cases."""
    if split == 2:
        case_id = {"7": "9", "8": "10", "9": "7", "10": "8"}.get(case_id, case_id)
    return SUBSETS.get(int(case_id), "test")


def places(case_id: str) -> list[tuple[str, int, int]]:
    """(stain, slice_idx, patch_idx) of a case's patches: two stains, or one where the id divides by three."""
    number = int(case_id)
    stains = ("h&e",) if number % 3 == 0 else ("h&e", "sox10")
    return [
        (stain, slice_idx, 10 * patch + 3)
        for stain in stains
        for slice_idx in range(1 + number % 2)
        for patch in range(2 + (number + slice_idx) % 4)
    ]


def features(case_id: str) -> np.ndarray:
    """Features (N, 6), float16: noise, and in every second patch a first feature that tells the class."""
    rng = np.random.default_rng(int(case_id))
    vectors = rng.normal(size=(len(places(case_id)), N_FEATURES))
    vectors[::2, 0] += 4 * LABELS[case_id]
    return vectors.astype(np.float16)


def bag(case_id: str) -> Bag:
    """The case as a bag."""
    stains, slices, patches = zip(*places(case_id), strict=True)
    return make_bag(case_id, stains, np.array(slices), np.array(patches), torch.from_numpy(features(case_id)))


def bags() -> BagsInMemory:
    """The cohort as bags."""
    return BagsInMemory(bag(case_id) for case_id in LABELS)


def cases() -> SplitCases:
    """The first split."""
    return SplitCases({case_id: subset(case_id) for case_id in LABELS}, LABELS)


@MadeOnce
def tiny_store(root: Path, *, without_features: tuple[str, ...] = ()) -> Store:
    """The cohort as a store with the split set `tiny` of two splits, and features of the encoder `noise`."""
    rows = [(case_id, *place) for case_id in LABELS for place in places(case_id)]
    store = make_store(root, LABELS, rows)
    make_splits(
        store,
        "tiny",
        [
            {
                name: [case_id for case_id in LABELS if subset(case_id, split) == name]
                for name in ("train", "val", "test")
            }
            for split in (1, 2)
        ],
    )
    packed = [row for row in rows if row[0] not in without_features]
    columns = ("case_id", "stain", "slice_idx", "patch_idx")
    types = (pa.string(), pa.string(), pa.int32(), pa.int32())
    patches = pa.table({name: pa.array([row[i] for row in packed], types[i]) for i, name in enumerate(columns)})
    vector_of = {
        (case_id, *place): vector
        for case_id in LABELS
        for place, vector in zip(places(case_id), features(case_id), strict=True)
    }
    with (
        FeaturePack(store, encoder="noise", n_features=N_FEATURES, dtype="float16", patches=patches) as pack,
        edit_cohort(store) as edit,
    ):
        pack.write(0, np.stack([vector_of[tuple(row[name] for name in columns)] for row in pack.patches.to_pylist()]))
        pack.commit(edit, source="by hand")
    return store
