"""Splits drawn by chance: stratified by class, and by group where one patient has several cases."""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from milstore.errors import DataError, UsageError
from milstore.formats.split_file import Split
from milstore.store.names import natural_key


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


def pool_of(label_of: Mapping[str, int], group_of: Mapping[str, str | None] | None = None) -> Pool:
    """The pool of labelled cases; a case for which `group_of` has no group, or None, is a group of its own."""
    cases = tuple(sorted(label_of, key=natural_key))
    groups = None
    if group_of is not None:
        own = ((case, group_of.get(case)) for case in cases)
        groups = tuple(f"case {case}" if group is None else f"group {group}" for case, group in own)
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
        UsageError: `val_share` is less than 0, or 1 or more; 0 is for no validation subset.
        DataError: a class has one case (or group) only.
    """
    if not 0 <= val_share < 1:
        raise UsageError(f"--val-share {val_share:g} must lie between 0 and 1")
    if not val_share:
        return dict.fromkeys(rest.cases, "train")
    fewest = min(_units(rest).values(), default=0)
    if fewest < 2:
        raise DataError("a class has a single case outside test, which cannot both train and validate: use fewer folds")
    if rest.groups is not None:
        in_val = set(_folds(rest, min(fewest, max(2, round(1 / val_share))), seed)[0])
    else:
        in_val = _stratified(rest, seed, val_share)
    return {case: "val" if i in in_val else "train" for i, case in enumerate(rest.cases)}


def seed_of(seed: int, repeat: str, number: int) -> int:
    """A seed of its own for the validation subset of each repeat and fold, the same on every machine."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{repeat}/{number}".encode()).digest()[:4], "big")


def _stratified(rest: Pool, seed: int, share: float) -> set[int]:
    """A share of each class, but at least one case of it, and not all."""
    # scikit-learn's StratifiedShuffleSplit leaves a rare class out. This generator's stream is frozen by NumPy.
    random = np.random.RandomState(seed)
    chosen: set[int] = set()
    for label in sorted(set(rest.labels)):
        members = [i for i, own in enumerate(rest.labels) if own == label]
        count = min(max(round(share * len(members)), 1), len(members) - 1)
        chosen.update(random.permutation(members)[:count].tolist())
    return chosen


def _folds(pool: Pool, folds: int, seed: int) -> list[list[int]]:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    kind: Any = StratifiedKFold if pool.groups is None else StratifiedGroupKFold
    for label, count in sorted(_units(pool).items()):
        if count < folds:
            what = "cases" if pool.groups is None else "groups"
            raise DataError(f"class number {label} has {count} {what}, too few for {folds} folds: use fewer folds")
    splitter = kind(n_splits=folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = splitter.split(np.zeros(len(pool.cases)), pool.labels, pool.groups)
        return [[int(i) for i in chosen] for _, chosen in parts]


def _units(pool: Pool) -> dict[int, int]:
    """How many cases, or groups where there are groups, each class has."""
    units = pool.cases if pool.groups is None else pool.groups
    pairs = set(zip(pool.labels, units, strict=True))
    return {label: sum(own == label for own, _ in pairs) for label in set(pool.labels)}


def _seed(seed: int, number: int) -> int:
    """A seed of its own for each draw, so that drawing one more changes no other."""
    if seed < 0:
        raise UsageError(f"--seed {seed} is negative: use 0 or more")
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
