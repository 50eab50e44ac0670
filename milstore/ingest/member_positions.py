"""Resolves the indices in a run's table: of slices within a case's stain, or of patches within a slice.

An index may be the store's number, or a position among the names, sorted as text or naturally. That one of these fits
says nothing: a table made after a shuffle fits as well.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import DataError, UsageError
from milstore.store.names import clip, counted, named, natural_key

NUMBER, TEXT, NATURAL = READINGS = ("number", "text-position", "natural-position")
"""What an index may be."""
Rows = npt.NDArray[np.int64]
_SHOWN = 3
_HINT = (
    "Where only patches with a vector were counted, ingest the features and name them by --encoder; "
    "a table of the top patches, or of a capped reading, cannot be read by position"
)


def rows_in(asked: pa.Table, known: pa.Table, keys: Sequence[str]) -> Rows:
    """The row of `known` with the keys of each row of `asked`: -1 where there is none, -2 where there are several."""
    left = asked.select(keys).append_column("left", pa.array(np.arange(asked.num_rows)))
    right = known.select(keys).append_column("right", pa.array(np.arange(known.num_rows)))
    both = left.join(right, list(keys))
    at, found = np.asarray(both["left"]), np.asarray(pc.fill_null(both["right"], -1))
    rows = np.full(asked.num_rows, -1, np.int64)
    rows[at] = found
    rows[np.bincount(at, minlength=asked.num_rows) > 1] = -2
    return rows


@dataclass(frozen=True, kw_only=True)
class Members:
    """The slices of every stain of some cases, or the patches of every slice of theirs."""

    noun: tuple[str, str]
    """One and many."""
    parents: tuple[str, ...]
    """The columns that say in what a member is counted."""
    shown: tuple[str, ...]
    """The columns that say it to people."""
    index: str
    """The column with the number that the store gave."""
    name: str
    """The column with the name that is sorted, null where there is none."""
    option: str
    """What says how an index is meant."""
    table: pa.Table
    """A row a member, with these columns."""
    counts: npt.NDArray[np.bool_]
    """Which members a position counts."""
    which: str
    """The same in words, such as `with features of uni`."""

    @cached_property
    def _groups(self) -> pa.Table:
        return self.table.group_by(list(self.parents)).aggregate([]).select(list(self.parents))

    @cached_property
    def _group(self) -> Rows:
        """The group of each member."""
        return rows_in(self.table, self._groups, self.parents)

    def _sizes(self, mask: npt.NDArray[np.bool_] | None = None) -> Rows:
        """How many members a group has, and 0 at the end for a group that is not known."""
        group = self._group if mask is None else self._group[mask]
        return np.append(np.bincount(group, minlength=self._groups.num_rows), 0)

    def _groups_of(self, asked: pa.Table) -> Rows:
        return rows_in(asked, self._groups, self.parents)

    def find(self, asked: pa.Table, by: str) -> Rows:
        """The member that each row of a table (parents, index) stands for by a reading; -1 where it is none."""
        index = np.asarray(self.table[self.index], dtype=np.int64) if by == NUMBER else self.positions(by)
        kept = np.flatnonzero(index >= 0)
        known = self.table.select(list(self.parents)).take(pa.array(kept))
        known = known.append_column(self.index, pa.array(index[kept], pa.int32()))
        rows = rows_in(asked, known, [*self.parents, self.index])
        return np.where(rows >= 0, kept[rows], -1) if len(kept) else rows

    def positions(self, by: str) -> Rows:
        """Position of each member among those of its parent that count, -1 for the others."""
        names = self._sorted_names(by).dictionary_encode()
        texts = names.dictionary.to_pylist()
        in_order = sorted(range(len(texts)), key=lambda i: natural_key(texts[i]) if by == NATURAL else texts[i])
        rank = np.empty(len(texts), np.int64)
        rank[in_order] = np.arange(len(texts))
        members = np.flatnonzero(self.counts)
        group = self._group[members]
        order = np.lexsort((rank[np.asarray(names.indices)[members]], group))
        first = np.searchsorted(group[order], group[order])
        position = np.full(self.table.num_rows, -1, np.int64)
        position[members[order]] = np.arange(len(members)) - first
        return position

    def _sorted_names(self, by: str) -> pa.Array:
        names = self.table[self.name].combine_chunks()
        if by == NATURAL and names.null_count == len(names):
            return pc.cast(self.table[self.index].combine_chunks(), pa.string())
        if names.null_count:
            where = self._label(int(np.argmax(np.asarray(names.is_null()))))
            raise UsageError(
                f"{self.option} {by} sorts file names, and the store knows none of {counted(names.null_count, *self.noun)} "
                f"({where}): run milstore ingest patches first (with --names-only it opens no image)"
            )
        return names

    def certain(self, asked: pa.Table) -> str:
        """Why the indices of a table must be the store's numbers; empty if they need not be."""
        if (self.find(asked, NUMBER) < 0).any():
            return ""
        group = self._groups_of(asked)
        size = self._sizes()[group]
        if (np.asarray(asked[self.index]) >= size).any():
            return f"some are larger than any position among the {self.noun[1]}"
        if (size == 1).all():
            return f"there is only one {self.noun[0]} each"
        named_ones = np.asarray(self.table[self.name].combine_chunks().is_valid())
        if not self._sizes(named_ones)[group].any():
            return f"the {self.noun[1]} have no file names"
        return ""

    def refuse(self, path: Path, asked: pa.Table) -> UsageError:
        """The error that it is unclear what a table's indices mean, with each reading of one group."""
        found: dict[str, Rows | None] = {}
        for by in READINGS:
            try:
                found[by] = self.find(asked, by)
            except UsageError:
                found[by] = None
        told = [rows for rows in found.values() if rows is not None]
        differs = np.any([rows != told[0] for rows in told], axis=0)
        row = int(np.argmax(differs))
        group = self._groups_of(asked)
        rows = np.flatnonzero(group == group[row])[:_SHOWN]
        indices = ", ".join(str(index) for index in asked[self.index].take(pa.array(rows)).to_pylist())
        readings = "; ".join(
            f"by {by}: "
            + ("no file names" if which is None else ", ".join(self._shown(int(which[row])) for row in rows))
            for by, which in found.items()
        )
        where = self._label_of(int(group[row]))
        return UsageError(
            f"{path} has {self.index} that may be numbers of the store or positions, and that one fits proves nothing: "
            f"say which by {self.option} {'|'.join(READINGS)}. In {where}, {self.index} {indices} would be {readings}. "
            "After a shuffle none of these is right: then only a table that names its files can be taken in"
        )

    def _shown(self, member: int) -> str:
        if member < 0:
            return "none"
        name = self.table[self.name][member].as_py()
        return f"{self.noun[0]} {self.table[self.index][member].as_py()}" if name is None else clip(name)

    def _label(self, member: int) -> str:
        return _words({name: self.table[name][member].as_py() for name in self.shown})

    def _label_of(self, group: int) -> str:
        return self._label(int(np.argmax(self._group == group)))

    def check_known(self, path: Path, asked: pa.Table) -> None:
        """DataError if a table speaks of slices or patches where the store has none."""
        unknown = self._groups_of(asked) < 0
        if unknown.any():
            place = asked.select(list(self.parents)).slice(int(np.argmax(unknown)), 1).to_pylist()[0]
            raise DataError(f"{path} has {self.noun[1]} of {_words(place)}, and the store has none there")

    def check_positions(self, path: Path, asked: pa.Table, *, whole: bool = True) -> None:
        """DataError if the positions of a table are not 0, 1, 2, … for all the members that count; of a table that is not
        whole: if one is no position among them."""
        group, index = self._groups_of(asked), np.asarray(asked[self.index], dtype=np.int64)
        # Group and index in one number, which is sorted ten times as fast as pairs.
        span = int(index.max(initial=0)) - int(index.min(initial=0)) + 1
        pairs = np.unique(group * span + (index - index.min(initial=0)))
        given, allowed = np.bincount(pairs // span, minlength=self._groups.num_rows), self._sizes(self.counts)[:-1]
        stated = np.flatnonzero(given)
        wrong = stated[given[stated] != allowed[stated]] if whole else stated[:0]
        if len(wrong):
            # The first of the table, not of our own order.
            group_no = int(group[np.isin(group, wrong)][0])
            many = f" (and {len(wrong) - 1} more such places)" if len(wrong) > 1 else ""
            raise DataError(
                f"{path} has {counted(int(given[group_no]), *self.noun)} of "
                f"{self._label_of(group_no)}, and there are {allowed[group_no]} {self.which}"
                f"{many}: positions can be read only where both are the same. {_HINT}"
            )
        out = (index < 0) | (index >= allowed[group])
        if out.any():
            row = int(np.argmax(out))
            raise DataError(
                f"{path} has {self.index} {index[row]} in {self._label_of(int(group[row]))}, "
                f"where positions go from 0 to {allowed[group[row]] - 1}"
            )

    def check_found(self, path: Path, asked: pa.Table, rows: Rows) -> None:
        """DataError if a row has no member."""
        if (rows < 0).any():
            place = asked.slice(int(np.argmax(rows < 0)), 1).to_pylist()[0]
            what = f"{int((rows < 0).sum())} rows whose {self.noun[0]} is not in the store"
            raise DataError(f"{path} has {what}, such as {_words(place)}")


_WORDS: dict[str, Callable[[Any], str]] = {
    "case_id": lambda value: f"case {clip(value)}",
    "stain": str,
    "slice_name": clip,
    "slice_idx": lambda value: f"slice {value}",
    "patch_idx": lambda value: f"patch {value}",
}


def _words(place: dict[str, Any]) -> str:
    return ", ".join(_WORDS[name](value) for name, value in place.items() if name in _WORDS)


def check_reading(by: str | None, option: str) -> None:
    """UsageError if an option's word is no reading."""
    if by is not None and by not in READINGS:
        raise UsageError(f"{option} {clip(by)!r} is not one of {named(READINGS)}")
