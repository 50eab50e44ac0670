"""The splits of a split set and their numbers: those of the file that they came from, so from 0 too, and with gaps."""

import re
from collections.abc import Collection
from fnmatch import fnmatchcase

from milstore.errors import ConflictError, UsageError
from milstore.store.cohort import Cohort
from milstore.store.names import named, natural_key, nearest


def split_numbers(cohort: Cohort, split_set: str) -> list[int]:
    """The numbers of a split set's splits, ascending."""
    table = cohort.table("splits")
    rows = zip(table["split_set"].to_pylist(), table["split"].to_pylist(), strict=True)
    return sorted({split for name, split in rows if name == split_set})


def subsets_of(cohort: Cohort, split_set: str, split: int) -> dict[str, str]:
    """The subset of each case of a split; none where there is no such split."""
    # Not by Arrow's filter: to compare with a Python value, it imports pandas.
    return {
        row["case_id"]: row["subset"]
        for row in cohort.table("splits").to_pylist()
        if (row["split_set"], row["split"]) == (split_set, split)
    }


def matching_split_sets(names: Collection[str], wanted: str) -> list[str]:
    """The split sets that somebody means by what was typed, in natural order: the one of that name; else those that fit
    it as a pattern (`*`, `?`); else the repeats of that name.

    >>> matching_split_sets(["fox-r10", "fox-r2", "musk"], "fox"), matching_split_sets(["fox-r1", "musk"], "m*")
    (['fox-r2', 'fox-r10'], ['musk'])
    """
    if wanted in names:
        return [wanted]
    repeat = re.compile(rf"{re.escape(wanted)}-r[a-z0-9]+")
    found = [name for name in names if fnmatchcase(name, wanted)] or [name for name in names if repeat.fullmatch(name)]
    return sorted(found, key=natural_key)


def choose_split_sets(cohort: Cohort, wanted: str | None, option: str = "--split-set") -> dict[str, int]:
    """The split sets that are meant, in natural order, and how many splits each has; the name may be left out while there
    is only one.

    Args:
        cohort: the store's cohort.
        wanted: a name, a pattern such as `fox-r*`, or `fox` for `fox-r1`, `fox-r2` and so on.
        option: what the user names it by.

    Raises:
        ConflictError: the store has no split set.
        UsageError: an unknown one, or none named where there are several.
    """
    rows = cohort.table("split_sets").to_pylist()
    sizes: dict[str, int] = {row["split_set"]: row["n_splits"] for row in rows}
    if not sizes:
        raise ConflictError("the store has no splits: run milstore ingest splits or milstore splits make")
    if wanted is None:
        if len(sizes) > 1:
            names = sorted(sizes, key=natural_key)
            raise UsageError(f"the store has several split sets: choose by {option} ({named(names)})")
        return sizes
    found = matching_split_sets(sizes, wanted)
    if not found:
        raise UsageError(f"the store has no split set {wanted!r}: {nearest(wanted, sizes)}")
    return {name: sizes[name] for name in found}


def choose_split_set(cohort: Cohort, wanted: str | None, option: str = "--split-set") -> tuple[str, int]:
    """The one split set that is meant, as for `choose_split_sets`; UsageError also where several are."""
    found = choose_split_sets(cohort, wanted, option)
    if len(found) > 1:
        raise UsageError(f"{option} {wanted} stands for several split sets ({named(found)}): name one of them")
    return next(iter(found.items()))


def place_words(cohort: Cohort, split_set: str, split: int, *, with_set: bool = False) -> str:
    """A split as people count it: `split 2 of 5`, or `split 0 (1 of 5)` where the numbers are not 1, 2 and so on."""
    numbers = split_numbers(cohort, split_set)
    of = f"of {len(numbers)}"
    counted = (
        f"{split} {of}" if numbers == [*range(1, len(numbers) + 1)] else f"{split} ({numbers.index(split) + 1} {of})"
    )
    return f"{split_set}, split {counted}" if with_set else f"split {counted}"


def check_split(cohort: Cohort, split_set: str, split: int, option: str = "--split") -> int:
    """The split, if the split set has it; else raises UsageError, which names `option`."""
    if split not in (there := split_numbers(cohort, split_set)):
        raise UsageError(f"{option} {split}: split set {split_set} has the splits {named(there)}")
    return split
