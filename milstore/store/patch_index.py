"""Sorts and joins patches by their identity, encoded as integers: fast for millions of them.

Legend: N rows of the table.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

PLACE = ("case_id", "stain", "slice_idx", "patch_idx")
"""The columns that identify a patch."""
_LARGEST = 2**62
_BLOCK = 1 << 18
_NONE = np.zeros(0, np.int64)

Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Places:
    """Where each patch stands among the others."""

    order: Index | None
    """(N,) Row of each patch, in the order of case_id (bytes), stain (bytes), slice_idx, patch_idx.

    None: as the rows are.
    """
    cases: Index
    """Where, in that order, each case begins."""
    stains: Index
    """Where each stain of a case begins."""
    slices: Index
    """Where each slice of a stain begins."""
    patches: Index
    """(N,) In that order: number of the patch. Numbers differ where patches differ, and only there."""

    def ordered(self, values_N: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A column of the table, in the order of the patches."""
        return values_N if self.order is None else values_N[self.order]

    def rows(self, at: Index) -> Index:
        """Rows of the table at these positions of the order."""
        return at if self.order is None else self.order[at]

    def has_doubles(self) -> bool:
        """Whether a patch stands in more than one row."""
        return bool(np.any(self.patches[1:] == self.patches[:-1]))


def places(table: pa.Table) -> Places:
    """The places of the patches of a table with the columns of PLACE, none of them null."""
    # The patches of a slice mostly lie side by side: its names are looked at once, and repeated as numbers.
    first_G = _changes(*(table[name].combine_chunks() for name in PLACE[:3]))
    heads = table.select(list(PLACE[:3])).take(pa.array(first_G))
    case_G, _ = codes(heads["case_id"])
    stain_G = _within(case_G, *codes(heads["stain"]))
    slice_G = _within(stain_G, *codes(heads["slice_idx"]))
    counts_G = np.diff(np.append(first_G, table.num_rows))
    patch_N = _within(np.repeat(slice_G, counts_G), *codes(table["patch_idx"]))
    if np.all(patch_N[1:] >= patch_N[:-1]):
        cases, stains, slices = (first_G[starts(number_G)] for number_G in (case_G, stain_G, slice_G))
        return Places(None, cases, stains, slices, patch_N)
    order_N = np.argsort(patch_N, kind="stable")
    cases, stains, slices = (starts(np.repeat(number_G, counts_G)[order_N]) for number_G in (case_G, stain_G, slice_G))
    return Places(order_N, cases, stains, slices, patch_N[order_N])


def codes(column: pa.ChunkedArray) -> tuple[Index, int]:
    """A column as numbers from 0 that sort as its values do (texts by bytes), and how many there may be of them."""
    values = column.combine_chunks()
    if not len(values):
        return np.zeros(0, np.int64), 1
    if pa.types.is_integer(values.type):
        numbers = np.asarray(values, dtype=np.int64)
        least = int(numbers.min())
        return numbers - least, int(numbers.max()) - least + 1
    # Equal texts mostly lie side by side, and looking at neighbours is quicker than hashing.
    first = _changes(values)
    coded = values.take(pa.array(first)).dictionary_encode()
    rank = np.empty(len(coded.dictionary), np.int64)
    rank[np.asarray(pc.sort_indices(coded.dictionary))] = np.arange(len(rank))
    return np.repeat(rank[np.asarray(coded.indices)], np.diff(np.append(first, len(values)))), len(rank)


def _within(outer_N: Index, inner_N: Index, count: int) -> Index:
    """Numbers for pairs, which sort as the pairs do."""
    if len(outer_N) and (int(outer_N.max()) + 1) * count > _LARGEST:
        outer_N = np.unique(outer_N, return_inverse=True)[1].astype(np.int64)
    return outer_N * count + inner_N


def starts(group_N: Index) -> Index:
    """First row of each group, of rows whose groups lie side by side."""
    return np.flatnonzero(np.append(True, group_N[1:] != group_N[:-1])) if len(group_N) else np.zeros(0, np.int64)


@dataclass(frozen=True)
class Slices:
    """A table of M patches by its slices, to look patches up in."""

    number_of: dict[tuple[str, str, int], int]
    """Number of each slice (case, stain, slice_idx)."""
    first: Index
    """(slices + 1,) The first patch of each slice, and the end."""
    index: npt.NDArray[np.int32]
    """(M,) patch_idx, ascending within each slice."""


def unknown_rows(table: pa.Table, known: Places, there: Slices) -> Index:
    """The rows of a table, whose places are `known`, with a patch that is not `there`."""
    number_of, first_M, index_M = there.number_of, there.first, there.index
    first_G = np.append(known.slices, table.num_rows)
    number_G = np.array([number_of.get(key, -1) for key in _keys(table, known.rows(first_G[:-1]))], np.int64)
    index_N = known.ordered(table["patch_idx"].to_numpy())
    rows = _unlike(number_G, first_G, index_N, first_M, index_M)
    if len(rows):
        # Of others it is looked for, by slice and patch in one number; those of `there` ascend.
        number_N = np.repeat(number_G, np.diff(first_G))[rows]
        number_M = np.repeat(np.arange(len(first_M) - 1), np.diff(first_M))
        most = 1 + max(int(index_N.max()), int(index_M.max(initial=0)))
        wanted, has_M = number_N * most + index_N[rows], number_M * most + index_M
        found = np.zeros(len(rows), bool)
        if len(has_M):
            found = (has_M[np.minimum(np.searchsorted(has_M, wanted), len(has_M) - 1)] == wanted) & (number_N >= 0)
        rows = rows[~found]
    return known.rows(rows)


def _unlike(
    number_G: Index, first_G: Index, index_N: npt.NDArray[np.int32], first_M: Index, index_M: npt.NDArray[np.int32]
) -> Index:
    """The rows of slices that are not there with the very same patches: mostly none, which is told quickly.

    Slices that lie side by side on both sides are looked at together.
    """
    sizes_G, sizes_M = np.diff(first_G), np.diff(first_M)
    whole_G = number_G >= 0
    whole_G[whole_G] = sizes_M[number_G[whole_G]] == sizes_G[whole_G]
    breaks = np.flatnonzero((np.diff(number_G) != 1) | ~whole_G[1:] | ~whole_G[:-1]) + 1
    rows = [_NONE]
    for begin, end in pairwise([0, *breaks.tolist(), len(number_G)] if len(number_G) else [0]):
        first, last = int(first_G[begin]), int(first_G[end])
        there = int(first_M[number_G[begin]]) if whole_G[begin] else -1
        if there < 0 or not np.array_equal(index_N[first:last], index_M[there : there + last - first]):
            rows.append(np.arange(first, last))
    return np.concatenate(rows)


def by_slice(table: pa.Table) -> Slices:
    """The slices of a table with the columns of PLACE, texts plain or as dictionaries; its rows need no order."""
    first = _changes(*(table[name].unify_dictionaries().combine_chunks() for name in PLACE[:3]))
    index = table["patch_idx"].to_numpy()
    number_of = {key: number for number, key in enumerate(_keys(table, first))}
    falls = np.flatnonzero(index[1:] < index[:-1]) + 1
    if len(number_of) < len(first) or not np.isin(falls, first, assume_unique=True).all():
        # As a store writes it, a table of patches is sorted.
        plain = pa.table({name: table[name].cast(pa.int32() if name in PLACE[2:] else pa.string()) for name in PLACE})
        return by_slice(plain.sort_by([(name, "ascending") for name in PLACE]))
    return Slices(number_of, np.append(first, table.num_rows), index)


def _keys(table: pa.Table, rows: Index) -> Iterator[tuple[str, str, int]]:
    """Case, stain and slice_idx of some rows."""
    few = table.select(list(PLACE[:3])).take(pa.array(rows))
    # As texts, not as dictionaries: of those each value would be looked up by itself, which takes ten times as long.
    few = few.cast(pa.schema([(name, pa.int32() if name == "slice_idx" else pa.string()) for name in PLACE[:3]]))
    return zip(*(column.to_pylist() for column in few.columns), strict=True)


def places_fingerprint(table: pa.Table, known: Places | None = None) -> str:
    """SHA-256 over the identities of the patches of a table, whatever the order of its rows."""
    known = known or places(table)
    place = table.select(list(PLACE))
    digest = hashlib.sha256()
    hash_places(digest, place if known.order is None else place.take(pa.array(known.order)))
    return digest.hexdigest()


def hash_places(digest: Any, rows: pa.Table) -> None:
    """Put the identities of patches, in the order of the rows, into a hash: column by column, texts parted by NUL."""
    for column in PLACE:
        for first, block in _blocks(rows[column]):
            digest.update(b"\0" if first else b"")
            digest.update(_joined(block))
        digest.update(b"\n")


def _joined(values: pa.Array) -> Any:
    """The texts of the values with NUL between them, as bytes."""
    first = _changes(values)
    if len(first) * 8 > len(values):
        if pa.types.is_integer(values.type):
            least, most = (int(each.as_py()) for each in pc.min_max(values).values())
            if most - least < len(values):
                # Few numbers: each is made a text once, with its NUL, and the texts that are looked up lie one by one.
                numbers = pa.array(np.arange(least, most + 1)).cast(pa.string())
                looked_up = pc.binary_join_element_wise(numbers, "", "\0").take(
                    pc.subtract(values.cast(pa.int64()), least)
                )
                _, ends, texts = looked_up.buffers()
                return texts.slice(0, int(np.frombuffer(ends, np.int32)[len(values)]) - 1)
        texts = pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values.cast(pa.string()))
        return pc.binary_join(texts, "\0")[0].as_buffer()
    counts = np.diff(np.append(first, len(values))).tolist()
    repeated = zip(values.take(pa.array(first)).to_pylist(), counts, strict=True)
    return b"".join(f"{value}\0".encode() * count for value, count in repeated)[:-1]


def _changes(*columns: pa.Array) -> Index:
    """Where a row stands that differs from the one before in any of the columns; the first is one of them."""
    if not len(columns[0]):
        return _NONE
    numbers = [each.indices if pa.types.is_dictionary(each.type) else each for each in columns]
    differs = reduce(pc.or_, [pc.not_equal(each[1:], each[:-1]) for each in numbers])
    return np.append(0, np.asarray(pc.indices_nonzero(differs)).view(np.int64) + 1)


def _blocks(column: pa.ChunkedArray) -> Iterator[tuple[int, pa.Array]]:
    """The column in pieces, each with its first row: one Arrow text holds at most 2 GB."""
    whole = column.combine_chunks()
    for first in range(0, len(whole), _BLOCK):
        yield first, whole[first : first + _BLOCK]
