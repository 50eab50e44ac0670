"""A store of random attention, and that attention as pandas reads it: for computing answers a second way."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from milstore.store import Store
from tests.making import Patch, levels, make_run, make_splits, make_store

STAINS = ("h&e", "melan", "sox10")


@dataclass(frozen=True)
class Attended:
    """A store with two runs, each case in test in one of them."""

    store: Store
    attention: pd.DataFrame
    """Attention of each case by the run that held it in test, with true_label, pred_label and error."""


def random_store(folder: Path, seed: int, n_cases: int = 9, n_classes: int = 2) -> Attended:
    """Cases of one to three stains, one to three slices each and 1 to 14 patches each; attention is often sparse."""
    rng = np.random.default_rng(seed)
    labels = {str(i): int(i % n_classes) for i in range(1, n_cases + 1)}
    weights: dict[Patch, float] = {}
    for case_id in labels:
        for stain in rng.choice(STAINS, size=rng.integers(1, 4), replace=False).tolist():
            for slice_idx in range(int(rng.integers(1, 4))):
                for patch_idx in rng.choice(40, size=rng.integers(1, 15), replace=False).tolist():
                    weights[case_id, stain, slice_idx, patch_idx] = float(np.exp(2 * rng.normal()))
    classes = [f"class-{i}" for i in range(n_classes)]
    store = make_store(folder, labels, list(weights), classes)
    halves = [[c for c in labels if int(c) % 2 == odd] for odd in (0, 1)]
    splits = [{"test": halves[i], "train": halves[1 - i]} for i in range(2)]
    make_splits(store, "two", splits)
    chances = {case_id: rng.dirichlet(np.ones(n_classes)).tolist() for case_id in labels}
    parts = []
    for i, split in enumerate(splits, 1):
        subsets = {case_id: subset for subset, cases in split.items() for case_id in cases}
        run = make_run(
            store, f"exp-s{i}-0", subsets, labels, chances, levels(weights), split_set="two", split=i, n_splits=2
        )
        attention = pd.read_parquet(run / "attention.parquet")
        attention = attention[attention["case_id"].isin(split["test"])].assign(run_id=f"exp-s{i}-0")
        parts.append(attention.merge(pd.read_parquet(run / "predictions.parquet"), on="case_id"))
    return Attended(store, pd.concat(parts, ignore_index=True))
