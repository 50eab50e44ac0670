"""Merges a folder's patches with the store's: which are new, which contradict, which slices lose some."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import ConflictError, DataError
from milstore.ingest.slices import Ids, SliceBook
from milstore.store.names import clip
from milstore.store.pattern import PLACES

_PATCH_BITS = 31
_CONTENT = ("file", *PLACES, "unit", "grid")
"""What is known of a patch besides which one it is."""


@dataclass(frozen=True, slots=True)
class Side:
    """Patches with a key each (slice number and patch_idx in one), sorted by it."""

    keys: Ids
    table: pa.Table
    """file, x, y, width, height, unit, grid"""


@dataclass(frozen=True, slots=True)
class Merged:
    """What the store's patches become."""

    patches: pa.Table
    slices: pa.Table
    new: int
    kept: int
    """Patches of the store that the folder does not have."""
    removed: int
    moved: list[tuple[str, str, str]]
    """Slices (case_id, stain, slice_name) known before that lose patches."""


def sorted_side(book: SliceBook, slice_ids: Ids, table: pa.Table) -> Side:
    """One side of a merge. DataError, naming both files, if two rows are one patch."""
    keys = slice_ids << _PATCH_BITS | np.asarray(table["patch_idx"], dtype=np.int64)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    double = np.flatnonzero(keys[1:] == keys[:-1])
    if len(double):
        first, second = (table["file"][int(order[row])].as_py() for row in (double[0], double[0] + 1))
        case_id, stain, slice_name = book.keys[int(keys[double[0]] >> _PATCH_BITS)]
        raise DataError(
            f"{clip(first, 200)} and {clip(second, 200)} are the same patch (case {clip(case_id)}, {stain}, "
            f"{slice_name}, patch {keys[double[0]] & (1 << _PATCH_BITS) - 1}): remove one"
        )
    for name in _CONTENT:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(table.num_rows, pa.string()))
    return Side(keys, table.select(list(_CONTENT)).take(pa.array(order)))


def merged(book: SliceBook, old: Side, old_slices: pa.Table, new: Side, *, replace: bool, whole: bool) -> Merged:
    """Merge a folder's patches (`new`) with the store's (`old`).

    What the folder does not say of a known patch (coordinates, size) is kept. So are patches that the folder lacks,
    unless it is the `whole` truth.

    Raises:
        ConflictError: a known patch has another file, or other coordinates or sizes, and `replace` is not given.
    """
    at = np.searchsorted(old.keys, new.keys)
    known = np.zeros(len(new.keys), bool)
    inside = at < len(old.keys)
    known[inside] = old.keys[at[inside]] == new.keys[inside]
    before = old.table.take(pa.array(np.where(known, at, 0), mask=~known))
    if not replace:
        _check_agreement(book, new, before)
    columns = {name: pc.coalesce(new.table[name], before[name]) for name in new.table.column_names}
    only_old = np.ones(len(old.keys), bool)
    only_old[at[known]] = False
    kept = np.zeros_like(only_old) if whole else only_old
    keys = np.concatenate([new.keys, old.keys[kept]])
    content = pa.concat_tables([pa.table(columns), old.table.filter(pa.array(kept))])
    slice_ids = keys >> _PATCH_BITS
    counts = np.bincount(slice_ids, minlength=len(book.keys)).astype(np.int64)
    rows = old_slices.to_pylist()
    slice_idx = book.numbered(
        counts > 0, {(row["case_id"], row["stain"], row["slice_name"]): row["slice_idx"] for row in rows}
    )
    return Merged(
        patches=_patches(book, keys, slice_ids, slice_idx, _with_unit(content)),
        slices=_with_slides(book.table(counts, slice_idx), rows),
        new=int((~known).sum()),
        kept=int(kept.sum()),
        removed=int((only_old & ~kept).sum()),
        moved=[book.keys[number] for number in np.unique(old.keys[only_old & ~kept] >> _PATCH_BITS)],
    )


def _with_unit(content: pa.Table) -> pa.Table:
    """The patches' content, where coordinates of which nothing else is said count pixels of the slice."""
    unit = pc.if_else(pc.and_(content["x"].is_valid(), content["unit"].is_null()), "slice", content["unit"])
    return content.set_column(content.column_names.index("unit"), "unit", unit)


def _with_slides(slices: pa.Table, before: list[dict[str, Any]]) -> pa.Table:
    """The slices, each on the slide that it was on."""
    names = ("case_id", "stain", "slice_name")
    slide_of = {tuple(row[name] for name in names): row["slide_id"] for row in before}
    keys = zip(*(slices[name].to_pylist() for name in names), strict=True)
    return slices.append_column("slide_id", pa.array([slide_of.get(key) for key in keys], pa.string()))


def _check_agreement(book: SliceBook, new: Side, before: pa.Table) -> None:
    for name in new.table.column_names:
        differs = pc.fill_null(pc.not_equal(new.table[name], before[name]), False)
        row = pc.index(differs, True).as_py()
        if row >= 0:
            case_id, stain, slice_name = book.keys[int(new.keys[row] >> _PATCH_BITS)]
            raise ConflictError(
                f"patch {new.keys[row] & (1 << _PATCH_BITS) - 1} of case {clip(case_id)}, {stain}, {slice_name} has "
                f"{name} {clip(str(before[name][row].as_py()), 200)} in the store and "
                f"{clip(str(new.table[name][row].as_py()), 200)} now: use --replace to correct the store"
            )


def _patches(book: SliceBook, keys: Ids, slice_ids: Ids, slice_idx: Ids, content: pa.Table) -> pa.Table:
    def texts(part: int) -> pa.Array:
        values = pa.array([key[part] for key in book.keys], pa.string()).dictionary_encode()
        return values.dictionary.take(values.indices.take(pa.array(slice_ids)))

    place = {
        "case_id": texts(0),
        "stain": texts(1),
        "slice_idx": pa.array(slice_idx[slice_ids], pa.int32()),
        "patch_idx": pa.array(keys & (1 << _PATCH_BITS) - 1, pa.int32()),
    }
    return pa.table({**place, **{name: content[name] for name in content.column_names}})


def in_pack_order(book: SliceBook, side: Side, slices: pa.Table) -> pa.Table:
    """Patches as a pack orders them, each with its place and its file: case_id, stain, slice_idx, patch_idx, file.

    `slices` is a cohort's table, which has every slice of the side.
    """
    rows = zip(*(slices[name].to_pylist() for name in ("case_id", "stain", "slice_idx", "slice_name")), strict=True)
    slice_idx = np.zeros(len(book.keys), np.int64)
    rank = np.zeros(len(book.keys), np.int64)
    # The order of texts in Python is that of their bytes in UTF-8.
    for place, (case_id, stain, number, slice_name) in enumerate(sorted(rows)):
        if (slice_id := book.find((case_id, stain, slice_name))) is not None:
            slice_idx[slice_id], rank[slice_id] = number, place
    # Within a slice the patches are in order.
    order = np.argsort(rank[side.keys >> _PATCH_BITS], kind="stable")
    keys = side.keys[order]
    return _patches(book, keys, keys >> _PATCH_BITS, slice_idx, side.table.select(["file"]).take(pa.array(order)))


def common_root(old: str | None, new: Path) -> Path:
    """The folder that contains both roots. Raises ConflictError if there is none."""
    if old is None:
        return new
    common = Path(os.path.commonpath([old, new]))
    if common == Path(common.anchor):
        raise ConflictError(
            f"the patches of this store lie under {old}, and {new} has no folder in common with it: "
            "use --replace to take the new folder in the place of the old one"
        )
    return common


def rooted(files: pa.ChunkedArray, root: Path, common: Path) -> pa.ChunkedArray:
    """Paths below `root` as paths below `common`, a folder above it."""
    prefix = root.relative_to(common).as_posix()
    return files if prefix == "." else pc.binary_join_element_wise(pa.scalar(prefix), files, "/")
