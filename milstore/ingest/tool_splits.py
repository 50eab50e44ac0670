"""Which split set of the store the runs of a tool's folder were made on; made from the folder's own splits where none is."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from milstore.errors import DataError, UsageError
from milstore.formats.split_file import Split
from milstore.schema.columns import SUBSETS
from milstore.store import Store
from milstore.store.cohort import Cohort
from milstore.store.names import check_name, clip, named, natural_key
from milstore.store.split_numbers import choose_split_set, split_numbers, subsets_of


@dataclass(frozen=True, kw_only=True)
class OwnSplits:
    """The splits that lie in a tool's folder."""

    path: Path
    """Where, for messages."""
    splits: Mapping[int, Split]
    """Subset of each case, by the number of the split."""
    name: str
    """Name of the split set that they become where the store has none that is the same."""
    ingest: Callable[[Store, str], object]
    """Takes them into the store as a split set of this name."""


@dataclass(frozen=True, kw_only=True)
class FoundSplits:
    """The split set of a folder's runs."""

    split_set: str
    n_splits: int
    splits: Mapping[int, Split]
    why: Sequence[str]
    """How it was found, a line each."""
    own: OwnSplits | None = None
    """What it is made from, where the store does not have it."""

    def subset_of(self, split: int) -> Split:
        """The subsets of one split. DataError if there is none of this number."""
        if split not in self.splits:
            raise DataError(f"split set {self.split_set} has no split {split}: it has {named(sorted(self.splits))}")
        return self.splits[split]

    def make(self, store: Store) -> None:
        """Put it into the store, where it is not there."""
        if self.own is not None:
            self.own.ingest(store, self.split_set)


def find_splits(
    cohort: Cohort, tested: Mapping[int, Collection[str]], own: OwnSplits | None, wanted: str | None, folder: Path
) -> FoundSplits:
    """The split set that runs were made on: the one that is named; else one of the store that is the folder's own, or, of
    a folder without splits, the only one that holds out what was predicted; else the folder's own, to be made.

    Args:
        cohort: the store's cohort.
        tested: the cases that each run predicted, by the number of its split.
        own: the splits that lie in the folder, if any.
        wanted: the split set that the user names, if any.
        folder: of the runs, for messages.

    Raises:
        DataError: the folder's splits contradict the split set that is named.
        UsageError: none fits, or several do.
    """
    there = sorted({row["split_set"] for row in cohort.table("split_sets").to_pylist()}, key=natural_key)
    if wanted is not None and (wanted in there or own is None):
        found = _of_store(cohort, choose_split_set(cohort, wanted)[0], f"split set {wanted}, as named")
        if own is not None:
            _check_same(own, found)
        return found
    fits = []
    for name in there if wanted is None else ():
        found = _of_store(cohort, name, "")
        if own is not None:
            fits += [found] if not _other_splits(own.splits, found.splits) else []
        elif all(set(cases) == _tested(found.splits.get(split, {})) for split, cases in tested.items()):
            fits.append(found)
    if fits and (own is not None or len(fits) == 1):
        how = f"that of {own.path}" if own is not None else "the only one that holds out what was predicted"
        return _of_store(cohort, fits[0].split_set, f"split set {fits[0].split_set}: {how}")
    if own is None:
        why = "several split sets hold" if fits else "no split set of the store holds"
        which = f" ({named(each.split_set for each in fits)})" if fits else ""
        raise UsageError(
            f"{folder} has no splits, and {why} out what its runs predicted{which}: name it by --split-set, or take in the "
            "splits that they were made on (milstore ingest splits)"
        )
    name = check_name(wanted or own.name, "split set")
    if name in there:
        raise UsageError(
            f"the store has a split set {name} with other splits than {own.path}: name another by --split-set"
        )
    return FoundSplits(
        split_set=name,
        n_splits=len(own.splits),
        splits=own.splits,
        why=(f"split set {name}: made of {own.path}",),
        own=own,
    )


def _of_store(cohort: Cohort, name: str, why: str) -> FoundSplits:
    numbers = split_numbers(cohort, name)
    sizes = {row["split_set"]: row["n_splits"] for row in cohort.table("split_sets").to_pylist()}
    splits = {number: subsets_of(cohort, name, number) for number in numbers}
    return FoundSplits(split_set=name, n_splits=sizes[name], splits=splits, why=(why,))


def _tested(split: Split) -> set[str]:
    return {case for case, subset in split.items() if subset == "test"}


def _other_splits(own: Mapping[int, Split], known: Mapping[int, Split]) -> list[int]:
    """The splits of a folder that the store has otherwise; cases that validate are not told from those that train where
    the folder's own has none of them."""
    return [number for number, split in own.items() if _comparable(split, known.get(number, {})) != split]


def _comparable(own: Split, known: Split) -> Split:
    if "val" in own.values():
        return known
    return {case: "train" if subset == "val" else subset for case, subset in known.items()}


def _check_same(own: OwnSplits, found: FoundSplits) -> None:
    for number in _other_splits(own.splits, found.splits):
        mine, known = own.splits[number], found.splits.get(number, {})
        other = sorted({c for c in {*mine, *known} if mine.get(c) != _comparable(mine, known).get(c)}, key=natural_key)
        order = [f"{clip(c)} in {mine.get(c, 'none')}, there in {known.get(c, 'none')}" for c in other]
        raise DataError(
            f"split {number} of {own.path} is not that of split set {found.split_set} ({named(order)}): name the split set "
            f"that it was made on, or leave --split-set out ({', '.join(SUBSETS)} must agree)"
        )
