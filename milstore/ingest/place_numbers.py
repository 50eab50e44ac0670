"""Numbers for patches whose files say where they lie and not which number they have."""

from collections import defaultdict
from typing import Any

import pyarrow as pa

from milstore.errors import DataError
from milstore.store.names import clip
from milstore.store.pattern import PLACES

_SLICE = ("case_id", "stain", "slice_name")
_NEAR = (0, -1, 1)
"""What coordinates may differ by and still be the same: tools round differently."""

_AS_KNOWN = ("width", "height", "grid")
"""What is the known patch's, where a patch is found by its place: grids of one size on the slide name the same patches."""

Row = dict[str, Any]


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


def _with_numbers(table: pa.Table, known: pa.Table, slices: pa.Table, *, by_row: bool) -> pa.Table:
    if not table["patch_idx"].null_count:
        return table
    rows = table.to_pylist()
    waiting: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if row["patch_idx"] is None:
            waiting[_key(row)].append(row)
    name_of = {(r["case_id"], r["stain"], r["slice_idx"]): r["slice_name"] for r in slices.to_pylist()}
    there: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    key: tuple[str, ...]
    for row in known.to_pylist():
        key = (row["case_id"], row["stain"], name_of[row["case_id"], row["stain"], row["slice_idx"]])
        if key in waiting:
            there[key].append(row)
    given: dict[tuple[str, ...], int] = defaultdict(lambda: -1)
    for row in rows:
        if row["patch_idx"] is not None:
            given[_key(row)] = max(given[_key(row)], row["patch_idx"])
    for key, of_slice in waiting.items():
        if by_row and there[key] and all(row["x"] is None for row in there[key]):
            _number_by_row(key, of_slice, there[key])
            continue
        highest = max([given[key], *(row["patch_idx"] for row in there[key])])
        _number(key, of_slice, there[key], highest + 1)
    return pa.Table.from_pylist(rows, table.schema)


def _key(row: Row) -> tuple[str, ...]:
    return tuple(row[name] for name in _SLICE)


def _number_by_row(key: tuple[str, ...], of_slice: list[Row], there: list[Row]) -> None:
    if len(of_slice) != len(there):
        raise DataError(
            f"{clip(of_slice[0]['file'], 200)} has coordinates and no patch_idx, and which of its {len(of_slice)} rows is which "
            f"of the {len(there)} patches without coordinates of case {clip(key[0])}, {key[1]}, {key[2]} cannot be told: give "
            "patch_idx, or a row for each of them in the order of their numbers"
        )
    for row, number in zip(of_slice, sorted(each["patch_idx"] for each in there), strict=True):
        row["patch_idx"] = number


def _number(key: tuple[str, ...], of_slice: list[Row], there: list[Row], following: int) -> None:
    """Put numbers into the rows of one slice."""
    where = f"case {clip(key[0])}, {key[1]}, {key[2]}"
    if any(row["x"] is None for row in there):
        raise DataError(
            f"{where} has patches without coordinates in the store, and {clip(of_slice[0]['file'], 200)} names no patch, "
            "only its place: give the coordinates of those that are known first"
        )
    at: dict[tuple[int, int], list[Row]] = defaultdict(list)
    for row in there:
        at[row["x"], row["y"]].append(row)
    taken: dict[int, str] = {}
    for row in sorted(of_slice, key=lambda row: (row["y"], row["x"])):
        found = _at(at, row)
        if found is None:
            row["patch_idx"], following = following, following + 1
            at[row["x"], row["y"]].append(row)
        else:
            row.update({name: found[name] for name in ("patch_idx", "x", "y")})
            row.update({name: found[name] for name in _AS_KNOWN if name in row and found[name] is not None})
        if row["patch_idx"] in taken:
            raise DataError(
                f"{clip(taken[row['patch_idx']], 200)} and {clip(row['file'], 200)} lie at the same place of {where}: remove one"
            )
        taken[row["patch_idx"]] = row["file"]


def _at(at: dict[tuple[int, int], list[Row]], row: Row) -> Row | None:
    """The patch that lies at a row's place, the nearest if there are several."""
    places = sorted(((x, y) for x in _NEAR for y in _NEAR), key=lambda step: abs(step[0]) + abs(step[1]))
    for x, y in places:
        for other in at.get((row["x"] + x, row["y"] + y), ()):
            if all(_same(row[name], other[name]) for name in PLACES[2:]):
                return other
    return None


def _same(one: int | None, other: int | None) -> bool:
    return one is None or other is None or abs(one - other) <= 1
