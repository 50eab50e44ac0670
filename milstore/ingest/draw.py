"""Splits drawn by chance: stratified by class, and by group where one patient has several cases."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from milstore.errors import DataError, UsageError
from milstore.store.names import natural_key

Split = dict[str, str]
"""Subset (train, val or test) of each case."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The cases to draw from, in an order that does not depend on how they came in."""

    cases: tuple[str, ...]
    labels: tuple[int, ...]
    groups: tuple[str, ...] | None
    """What must stay together; None where every case stands for itself."""

    def of(self, chosen: Sequence[int]) -> "Pool":
        """Some of the cases, by position."""
        groups = None if self.groups is None else tuple(self.groups[i] for i in chosen)
        return Pool(tuple(self.cases[i] for i in chosen), tuple(self.labels[i] for i in chosen), groups)


def pool_of(label_of: Mapping[str, int], group_of: Mapping[str, str] | None = None) -> Pool:
    """The pool of labelled cases; a case that `group_of` does not name is a group of its own."""
    cases = tuple(sorted(label_of, key=natural_key))
    groups = None
    if group_of is not None:
        groups = tuple(f"group {group_of[case]}" if case in group_of else f"case {case}" for case in cases)
    return Pool(cases, tuple(label_of[case] for case in cases), groups)


def draw_folds(pool: Pool, folds: int, *, seed: int, val_share: float) -> list[Split]:
    """Train, validation and test subsets, each case in the test subset of exactly one split.

    Args:
        pool: the cases.
        folds: number of splits, at least 2.
        seed: the same seed draws the same splits.
        val_share: share of what is not in test that goes to validation, between 0 and 1.

    Raises:
        UsageError: `folds` or `val_share` cannot be.
        DataError: a class has fewer cases (or groups) than there are folds.
    """
    if folds < 2:
        raise UsageError(f"--folds {folds} makes no splits: use 2 or more")
    splits: list[Split] = []
    for number, test in enumerate(_folds(pool, folds, _seed(seed, 0)), start=1):
        in_test = set(test)
        rest = pool.of([i for i in range(len(pool.cases)) if i not in in_test])
        drawn = draw_validation(rest, seed=_seed(seed, number), val_share=val_share)
        splits.append(drawn | {pool.cases[i]: "test" for i in test})
    return splits


def draw_validation(rest: Pool, *, seed: int, val_share: float) -> Split:
    """Which of the cases that are not in test train and which validate.

    Raises:
        UsageError: `val_share` is not between 0 and 1.
        DataError: a class has too few cases to be in both.
    """
    if not 0 < val_share < 1:
        raise UsageError(f"--val-share {val_share:g} must lie between 0 and 1")
    if rest.groups is not None:
        chosen = _folds(rest, max(2, round(1 / val_share)), seed)[0]
    else:
        from sklearn.model_selection import StratifiedShuffleSplit

        shuffle = StratifiedShuffleSplit(n_splits=1, test_size=val_share, random_state=seed)
        try:
            _, chosen = next(shuffle.split(np.zeros(len(rest.cases)), rest.labels))
        except ValueError as error:
            raise DataError(f"no validation subset can be drawn from {len(rest.cases)} cases: {error}") from error
    in_val = {int(i) for i in chosen}
    return {case: "val" if i in in_val else "train" for i, case in enumerate(rest.cases)}


def _folds(pool: Pool, folds: int, seed: int) -> list[list[int]]:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    kind: Any = StratifiedKFold if pool.groups is None else StratifiedGroupKFold
    units = pool.cases if pool.groups is None else pool.groups
    for label in sorted(set(pool.labels)):
        count = len({unit for unit, own in zip(units, pool.labels, strict=True) if own == label})
        if count < folds:
            what = "cases" if pool.groups is None else "groups"
            raise DataError(f"class number {label} has {count} {what}, too few for {folds} folds: use fewer folds")
    splitter = kind(n_splits=folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = splitter.split(np.zeros(len(pool.cases)), pool.labels, pool.groups)
        return [[int(i) for i in chosen] for _, chosen in parts]


def _seed(seed: int, number: int) -> int:
    """A seed of its own for each draw, so that drawing one more changes no other."""
    if seed < 0:
        raise UsageError(f"--seed {seed} is negative: use 0 or more")
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
