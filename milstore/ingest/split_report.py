"""The reports of ingesting and drawing splits."""

from collections.abc import Mapping
from dataclasses import dataclass

from milstore.formats.split_file import Split
from milstore.schema.columns import SUBSETS
from milstore.store.names import clip, counted, named

_SHOWN = 30
"""Splits that a report describes one by one."""


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """One split in a report."""

    split_set: str
    split: int
    origin: str
    """The file or text that it stands for; empty where that is the number itself."""
    counts: dict[str, int]
    """Cases by subset."""

    def line(self) -> str:
        """This, as text."""
        origin = f" ({clip(self.origin)})" if self.origin else ""
        counts = ", ".join(f"{self.counts[subset]} {subset}" for subset in SUBSETS)
        return f"{self.split_set}, split {self.split}{origin}: {counts}"


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitsReport:
    """What `ingest_splits` or `make_splits` did."""

    changed: bool
    split_sets: dict[str, int]
    """Number of splits of each split set."""
    cases: int
    source: str
    left_out: tuple[str, ...] = ()
    """Cases without a label, which cannot be drawn."""
    splits: tuple[SplitSummary, ...] = ()
    """What each split is."""
    numbered: str = ""
    """Where the numbers of the splits come from, in words."""
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The report, as lines of text."""
        lines = [
            f"split set {name}: {counted(count, 'split')} of {counted(self.cases, 'case')} ({clip(self.source, 120)})"
            for name, count in self.split_sets.items()
        ]
        if self.numbered:
            lines.append(self.numbered)
        lines += [each.line() for each in self.splits[:_SHOWN]]
        if len(self.splits) > _SHOWN:
            lines.append(f"and {len(self.splits) - _SHOWN} more splits: milstore splits show")
        if self.left_out:
            lines.append(f"left out: {counted(len(self.left_out), 'case')} without a label ({named(self.left_out)})")
        return [*lines, *self.notes, *([] if self.changed else ["nothing changed"])]


def summaries(sets: Mapping[str, Mapping[int, Split]], origins: Mapping[int, str]) -> tuple[SplitSummary, ...]:
    """How many cases each split has in each subset, and where it comes from."""
    found = []
    for name, splits in sets.items():
        for number, split in splits.items():
            counts = {subset: sum(own == subset for own in split.values()) for subset in SUBSETS}
            found.append(SplitSummary(name, number, origins.get(number, ""), counts))
    return tuple(found)
