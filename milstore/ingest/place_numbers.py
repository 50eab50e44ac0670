"""Numbers patches whose files give coordinates but no numbers."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import DataError
from milstore.ingest.slices import Ids, SliceBook, SliceKey
from milstore.store.names import clip

_NEAR = (0, -1, 1)
"""What coordinates may differ by and still be the same: tools round differently."""
_STEPS = sorted(((x, y) for x in _NEAR for y in _NEAR), key=lambda step: abs(step[0]) + abs(step[1]))
_SIZES = ("width", "height")

Numbers = npt.NDArray[np.int64]


def with_numbers(table: pa.Table, known: pa.Table, slices: pa.Table) -> pa.Table:
    """The patches of a folder, each with its number within its slice.

    One without a number is the patch of its slice that lies at its place: x, y and, where both say them, width and height,
    give or take a pixel. It then takes the store's coordinates. Those at new places get the next numbers of their slice, by
    (y, x): numbers are given once.

    Args:
        table: case_id, stain, slice_name, patch_idx (null where it is not known), x, y, width, height and others.
        known: the store's patches.
        slices: the store's slices.

    Raises:
        DataError: two files lie at one place, or the store's patches of a slice have no coordinates to find them by.
    """
    return _with_numbers(table, known, slices, by_row=False)


def numbered_by_row(table: pa.Table, known: pa.Table, slices: pa.Table) -> pa.Table:
    """The same for the rows of slices' files: where a slice's patches have no coordinates in the store, and are as many as
    the rows, the rows are those patches in the order of their numbers, and the coordinates become theirs.

    Raises:
        DataError: as `with_numbers`; or the store has patches of a slice without coordinates, and not as many as the rows.
    """
    return _with_numbers(table, known, slices, by_row=True)


@dataclass(frozen=True, slots=True)
class _Places:
    """Patches by their places: whole numbers, and sizes that are NaN where they are not known."""

    x: Numbers
    y: Numbers
    width: npt.NDArray[np.float64]
    height: npt.NDArray[np.float64]
    unplaced: npt.NDArray[np.bool_]
    """Where there is no place; x and y are 0 there."""

    @classmethod
    def of(cls, table: pa.Table) -> "_Places":
        """Those of a table with x, y, width and height."""
        placed = [np.asarray(pc.fill_null(table[name], 0)).astype(np.int64) for name in ("x", "y")]
        sizes = [np.asarray(pc.cast(table[name], pa.float64()), np.float64) for name in _SIZES]
        unplaced = np.asarray(pc.or_(table["x"].is_null(), table["y"].is_null()))
        return cls(placed[0], placed[1], sizes[0], sizes[1], unplaced)

    def take(self, rows: Numbers) -> "_Places":
        """Those of some rows."""
        return _Places(self.x[rows], self.y[rows], self.width[rows], self.height[rows], self.unplaced[rows])

    def __len__(self) -> int:
        return len(self.x)


def _with_numbers(table: pa.Table, known: pa.Table, slices: pa.Table, *, by_row: bool) -> pa.Table:
    if not table["patch_idx"].null_count:
        return table
    table = table.combine_chunks()
    book = SliceBook()
    ids = book.ids_by_name(table)
    known_ids = book.ids_by_idx(known, slices)
    waiting = np.asarray(table["patch_idx"].is_null())
    there_rows = np.flatnonzero(np.isin(known_ids, np.unique(ids[waiting])))
    there = known.take(pa.array(there_rows))
    there_ids, old, old_idx = known_ids[there_rows], _Places.of(there), np.asarray(there["patch_idx"], np.int64)
    new, numbers = _Places.of(table), np.asarray(pc.fill_null(table["patch_idx"], -1), np.int64).copy()
    found = np.full(table.num_rows, -1, np.int64)
    for slice_id, rows in _groups(ids, np.flatnonzero(waiting)):
        of_store = np.flatnonzero(there_ids == slice_id)
        given = numbers[(ids == slice_id) & ~waiting] if not waiting.all() else numbers[:0]
        where = _Where(book.keys[slice_id], table["file"], rows)
        if by_row and len(of_store) and old.unplaced[of_store].all():
            numbers[rows] = _by_row(where, old_idx[of_store])
            continue
        _refuse_unplaced(where, old.take(of_store))
        at = _matched(new.take(rows), old.take(of_store))
        found[rows[at >= 0]] = of_store[at[at >= 0]]
        taken = np.concatenate([given, old_idx[of_store]])
        numbers[rows] = _numbers(where, new.take(rows), at, old_idx[of_store], int(taken.max(initial=-1)) + 1)
    return _put(table, numbers, found, there)


def _groups(ids: Ids, rows: Numbers) -> list[tuple[int, Numbers]]:
    """The rows of each slice."""
    order = rows[np.argsort(ids[rows], kind="stable")]
    firsts = np.flatnonzero(np.append(True, np.diff(ids[order]) != 0))
    return [(int(ids[part[0]]), part) for part in np.split(order, firsts[1:])]


@dataclass(frozen=True, slots=True)
class _Where:
    """A slice and the rows that wait for their numbers, for messages."""

    key: SliceKey
    files: pa.ChunkedArray
    rows: Numbers

    def file(self, row: int = 0) -> str:
        """The file of one of the rows."""
        return clip(self.files[int(self.rows[row])].as_py(), 200)

    def __str__(self) -> str:
        return f"case {clip(self.key[0])}, {self.key[1]}, {self.key[2]}"


def _by_row(where: _Where, there: Numbers) -> Numbers:
    if len(where.rows) != len(there):
        raise DataError(
            f"{where.file()} has coordinates and no patch_idx, and which of its {len(where.rows)} rows is which "
            f"of the {len(there)} patches without coordinates of {where} cannot be told: give "
            "patch_idx, or a row for each of them in the order of their numbers"
        )
    return np.sort(there)


def _refuse_unplaced(where: _Where, there: _Places) -> None:
    if there.unplaced.any():
        raise DataError(
            f"{where} has patches without coordinates in the store, and {where.file()} names no patch, "
            "only its place: give the coordinates of those that are known first"
        )


def _numbers(where: _Where, new: _Places, at: Numbers, old_idx: Numbers, following: int) -> Numbers:
    """The number of each row: that of the patch where it lies, else the next ones by (y, x)."""
    fresh = np.flatnonzero(at < 0)
    _refuse_doubles(where, at, fresh[_twins(new.take(fresh))] if len(fresh) else fresh)
    found = np.empty(len(at), np.int64)
    found[at >= 0] = old_idx[at[at >= 0]]
    order = np.lexsort((new.x[fresh], new.y[fresh]))
    found[fresh[order]] = following + np.arange(len(fresh))
    return found


def _refuse_doubles(where: _Where, at: Numbers, twins: Numbers) -> None:
    """DataError if rows lie at one place."""
    own = at[at >= 0]
    values, counts = np.unique(own, return_counts=True)
    rows = np.flatnonzero(at == values[np.argmax(counts)]) if (counts > 1).any() else twins
    if len(rows) < 2:
        return
    one, other = where.file(int(rows[0])), where.file(int(rows[1]))
    who = f"two rows of {one} lie" if one == other else f"{one} and {other} lie"
    raise DataError(f"{who} at the same place of {where}: remove one")


def _matched(new: _Places, old: _Places) -> Numbers:
    """For each place the one of `old` that it is, the nearest if there are several; -1 where there is none."""
    found = np.full(len(new), -1, np.int64)
    if not len(old):
        return found
    codes = _codes(old.x, old.y)
    order = np.argsort(codes, kind="stable")
    codes = codes[order]
    for dx, dy in _STEPS:
        left_rows = np.flatnonzero(found < 0)
        asked = _codes(new.x[left_rows] + dx, new.y[left_rows] + dy)
        first, end = np.searchsorted(codes, asked, "left"), np.searchsorted(codes, asked, "right")
        # Patches of several sizes may begin at one place.
        for step in range(int((end - first).max(initial=0))):
            there = np.flatnonzero((first + step < end) & (found[left_rows] < 0))
            rows, candidates = left_rows[there], order[first[there] + step]
            same = _same(new.width[rows], old.width[candidates]) & _same(new.height[rows], old.height[candidates])
            found[rows[same]] = candidates[same]
    return found


def _twins(places: _Places) -> Numbers:
    """The first two of some places that are one; none if all lie apart."""
    order = np.lexsort((places.y, places.x))
    sorted_places = places.take(order)
    codes = _codes(sorted_places.x, sorted_places.y)
    for dx, dy in _STEPS:
        asked = _codes(sorted_places.x + dx, sorted_places.y + dy)
        first = np.searchsorted(codes, asked, "left")
        # One is not its own twin: of equals the next one is looked at.
        first = first + (1 if (dx, dy) == (0, 0) else 0)
        there = np.flatnonzero(first < len(codes))
        there = there[codes[first[there]] == asked[there]]
        there = there[first[there] != there]
        other = first[there]
        same = _same(sorted_places.width[there], sorted_places.width[other]) & _same(
            sorted_places.height[there], sorted_places.height[other]
        )
        if same.any():
            row = int(np.argmax(same))
            return np.sort(order[[there[row], other[row]]])
    return np.empty(0, np.int64)


def _codes(x: Numbers, y: Numbers) -> Numbers:
    return (x << 32) + y


def _same(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    return np.isnan(one) | np.isnan(other) | (np.abs(one - other) <= 1)


def _put(table: pa.Table, numbers: Numbers, found: Numbers, there: pa.Table) -> pa.Table:
    """The table with its numbers; what was found in the store has the store's place, and its size where that is known."""
    at = pa.array(found, mask=found < 0)
    columns = {"patch_idx": pa.array(numbers.astype(np.int32))}
    for name in ("x", "y", *_SIZES, "grid"):
        if name in table.column_names:
            columns[name] = pc.coalesce(there[name].take(at), table[name])
    for name, column in columns.items():
        table = table.set_column(table.column_names.index(name), name, column)
    return table
