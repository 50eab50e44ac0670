"""A store of random attention, for comparing what questions answer with an independent computation."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from milstore.asking.ask import ask_sql
from milstore.store import Store
from tests.making import Patch, levels, make_run, make_splits, make_store

STAINS = ("h&e", "melan", "sox10")


def random_store(folder: Path, seed: int, n_cases: int = 12) -> Store:
    """Cases of very different shapes, and a run of each of two splits with ties and zeros among the weights."""
    random = np.random.default_rng(seed)
    labels = {str(i): int(random.random() < 0.6) for i in range(1, n_cases + 1)}
    patches: list[Patch] = []
    for case_id in labels:
        for stain in random.permutation(STAINS)[: random.integers(1, 4)]:
            for slice_idx in range(random.integers(1, 4)):
                patches += [(case_id, str(stain), slice_idx, p) for p in range(random.integers(1, 9))]
    store = make_store(folder, labels, patches)
    cases = list(labels)
    halves = cases[: n_cases // 2], cases[n_cases // 2 :]
    splits = [{"test": halves[i], "val": halves[1 - i][:2], "train": halves[1 - i][2:]} for i in (0, 1)]
    make_splits(store, "two", splits)
    for i, split in enumerate(splits, start=1):
        weights = random.integers(0, 6, len(patches)) ** 2.0
        # The first patch of a slice weighs something, so that no slice weighs nothing.
        weights = [w + (patch[3] == 0) for w, patch in zip(weights, patches, strict=True)]
        chance = {case_id: random.random() for case_id in labels}
        make_run(
            store, f"exp-s{i}-0", {case_id: subset for subset, of in split.items() for case_id in of}, labels,
            {case_id: (1 - p, p) for case_id, p in chance.items()},
            levels(dict(zip(patches, weights, strict=True))), split_set="two", split=i, n_splits=2,
        )  # fmt: skip
    return store


def frame(store: Store, sql: str) -> pd.DataFrame:
    """What a statement gives, as a data frame."""
    return ask_sql(store, sql).df()


def rounded(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The rows with their numbers rounded to six digits, for comparing whole rows."""
    return [tuple(round(value, 6) if isinstance(value, float) else value for value in row) for row in rows]
