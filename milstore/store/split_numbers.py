"""The splits of a split set and their numbers: those of the file that they came from, so from 0 too, and with gaps."""

from milstore.store.cohort import Cohort


def split_numbers(cohort: Cohort, split_set: str) -> list[int]:
    """The numbers of a split set's splits, ascending."""
    table = cohort.table("splits")
    rows = zip(table["split_set"].to_pylist(), table["split"].to_pylist(), strict=True)
    return sorted({split for name, split in rows if name == split_set})
