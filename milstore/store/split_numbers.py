"""The splits of a split set and their numbers: those of the file that they came from, so from 0 too, and with gaps."""

from milstore.errors import ConflictError, UsageError
from milstore.store.cohort import Cohort
from milstore.store.names import named, nearest


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


def choose_split_set(cohort: Cohort, wanted: str | None, option: str = "--split-set") -> tuple[str, int]:
    """Name of the split set and how many splits it has; the name may be left out while there is only one.

    `option` is what the user names it by.

    Raises:
        ConflictError: the store has no split set.
        UsageError: an unknown one, or none named where there are several.
    """
    sizes = {row["split_set"]: row["n_splits"] for row in cohort.table("split_sets").to_pylist()}
    if not sizes:
        raise ConflictError("the store has no splits: run milstore ingest splits or milstore splits make")
    if wanted is None:
        if len(sizes) > 1:
            raise UsageError(f"the store has several split sets: choose by {option} ({named(sorted(sizes))})")
        wanted = next(iter(sizes))
    if wanted not in sizes:
        raise UsageError(f"the store has no split set {wanted!r}: {nearest(wanted, sizes)}")
    return wanted, sizes[wanted]


def check_split(cohort: Cohort, split_set: str, split: int, option: str = "--split") -> int:
    """The split itself if the split set has it, else UsageError. `option` is what the user names it by."""
    if split not in (there := split_numbers(cohort, split_set)):
        raise UsageError(f"{option} {split}: split set {split_set} has the splits {named(there)}")
    return split
