"""Puts the patches of tiled slides into an edit of the cohort."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from milstore.errors import ConflictError
from milstore.ingest.cohort_update import put_patches
from milstore.ingest.tile_files import Cut
from milstore.ingest.tile_work import image_name
from milstore.pixels.patch_source import LEVEL0
from milstore.store import Store
from milstore.store.cohort_edit import CohortEdit
from milstore.store.grids import Grid
from milstore.store.names import clip, named
from milstore.store.patch_index import PLACE
from milstore.store.slides import Slide, Slides

Row = dict[str, Any]
_COLUMNS = pa.schema(
    [
        ("case_id", pa.string()), ("stain", pa.string()), ("slice_name", pa.string()), ("patch_idx", pa.int32()),
        ("file", pa.string()), ("x", pa.int32()), ("y", pa.int32()), ("width", pa.int32()), ("height", pa.int32()),
        ("unit", pa.string()), ("grid", pa.string()),
    ]
)  # fmt: skip
_WHERE = ("slice_name", "x", "y", "width", "height")


@dataclass(frozen=True, kw_only=True, slots=True)
class Put:
    """The result of `put_cuts`."""

    patches: int
    new: int
    slices: int
    kept: int
    removed: int
    notes: tuple[str, ...]


def put_cuts(
    store: Store,
    edit: CohortEdit,
    cuts: Mapping[str, Cut],
    grid: Grid,
    *,
    by_tissue: bool,
    images: Path | None,
    folder_of: Mapping[str, str] | None,
    as_jpeg: bool,
    replace: bool,
) -> Put:
    """Put the patches of slides that were cut into an edit.

    Args:
        store: the store.
        edit: the edit.
        cuts: of each slide, by its id.
        grid: what they were cut by.
        by_tissue: each piece of a slide's tissue is a slice.
        images: the folder below which the patches' images lie; None if they have none.
        folder_of: the folder of each slide's images below that.
        as_jpeg: whether these are JPEG.
        replace: patches of these slides and this grid that are not among these go.

    Raises:
        ConflictError: the store has a slide's patches in other slices, or in other units (see `put_patches` too).
    """
    slides = Slides(edit)
    before = _known(edit, {slide_id: slides[slide_id] for slide_id in cuts})
    rows: list[Row] = []
    slices: dict[tuple[str, str, str], str] = {}
    mine_before = []
    for slide_id, cut in cuts.items():
        slide = slides[slide_id]
        own = _rows(slide, cut, grid.name, by_tissue=by_tissue)
        _refuse_other_slices(slide, own, before[slide_id], grid.name, by_tissue=by_tissue, replace=replace)
        mine_before += [row for row in before[slide_id] if row["grid"] == grid.name]
        slices.update({(slide.case_id, slide.stain, row["slice_name"]): slide_id for row in own})
        rows += own
    _put_grid(edit, grid)
    gone = {(row["case_id"], row["stain"], row["slice_idx"], row["patch_idx"]) for row in mine_before}
    table = pa.Table.from_pylist(rows, _COLUMNS)
    if replace:
        table = pa.concat_tables([_others(edit, gone), table])
    result, dropped = put_patches(store, edit, table, None, replace=replace, whole=replace)
    if images is not None and folder_of is not None:
        names = {key: folder_of[slide_id] for key, slide_id in slices.items()}
        for row in rows:
            key = row["case_id"], row["stain"], row["slice_name"]
            row["file"] = image_name(names[key], row["x"], row["y"], as_jpeg=as_jpeg)
        # Apart: the other patches' files lie below a root of their own.
        put_patches(store, edit, pa.Table.from_pylist(rows, _COLUMNS), images, replace=False, whole=False)
    _put_slides(edit, slices)
    lost = max(0, len(mine_before) - (len(rows) - result.new))
    return Put(
        patches=len(rows),
        new=result.new,
        slices=len(slices),
        kept=0 if replace else lost,
        removed=result.removed,
        notes=(f"dropped: the features of {named(dropped)}; encode them again",) if dropped else (),
    )


def _rows(slide: Slide, cut: Cut, grid: str, *, by_tissue: bool) -> list[Row]:
    """A row a patch. Pieces of tissue without a patch have no number."""
    numbers = {piece: i for i, piece in enumerate(sorted(set(cut.pieces.tolist())), start=1)}
    return [
        {
            "case_id": slide.case_id, "stain": slide.stain,
            "slice_name": f"{slide.slice_name}_t{numbers[piece]}" if by_tissue else slide.slice_name,
            "patch_idx": None, "file": None, "x": x, "y": y, "width": width, "height": height, "unit": LEVEL0, "grid": grid,
        }
        for (x, y, width, height), piece in zip(cut.places.tolist(), cut.pieces.tolist(), strict=True)
    ]  # fmt: skip


def _known(edit: CohortEdit, slides: Mapping[str, Slide]) -> dict[str, list[Row]]:
    """The store's patches of each slide, with slice_name, in their order. Only these become rows of Python's."""
    of_name = {(s.case_id, s.stain, s.slice_name): slide_id for slide_id, s in slides.items()}
    owner: dict[tuple[str, str, int], tuple[str, str]] = {}
    for row in edit.table("slices").to_pylist():
        slide_id = row["slide_id"] or of_name.get((row["case_id"], row["stain"], row["slice_name"]))
        if slide_id is not None and slide_id in slides:
            owner[row["case_id"], row["stain"], row["slice_idx"]] = (slide_id, row["slice_name"])
    found: dict[str, list[Row]] = {slide_id: [] for slide_id in slides}
    if not owner:
        return found
    patches = edit.table("patches")
    mine = patches.join(_keys(patches, owner), list(PLACE[:3]), join_type="left semi")
    for row in mine.sort_by([(name, "ascending") for name in PLACE]).to_pylist():
        slide_id, slice_name = owner[row["case_id"], row["stain"], row["slice_idx"]]
        found[slide_id].append({**row, "slice_name": slice_name})
    return found


def _keys(patches: pa.Table, keys: Collection[tuple[Any, ...]]) -> pa.Table:
    """The first columns of PLACE, of these keys, to be joined with `patches`."""
    columns = zip(PLACE, zip(*keys, strict=True), strict=False)
    return pa.table({name: pa.array(values, patches.schema.field(name).type) for name, values in columns})


def _refuse_other_slices(
    slide: Slide, rows: list[Row], before: list[Row], grid: str, *, by_tissue: bool, replace: bool
) -> None:
    """ConflictError if the store's patches of the slide do not fit beside these."""
    shown = clip(slide.slide_id)
    odd = next((row for row in before if row["x"] is None or row["unit"] != LEVEL0), None)
    if odd is not None:
        what = "without coordinates" if odd["x"] is None else "whose coordinates count pixels of the slice"
        raise ConflictError(
            f"slide {shown} has patches {what} in the store (slice {clip(odd['slice_name'])}), and those of the slide would not "
            "be told from them: tile into a store of its own"
        )
    stay = [row for row in before if not replace or row["grid"] != grid]
    others = {row["slice_name"] for row in stay} - {row["slice_name"] for row in rows} if rows else set()
    of_grid = {_place(row) for row in stay if row["grid"] == grid}
    # Pieces are counted: with another threshold the first may be another.
    if others or (by_tissue and of_grid and of_grid != {_place(row) for row in rows}):
        there = named(dict.fromkeys(row["slice_name"] for row in stay), 3)
        advice = "tile into a store of its own" if replace else "use --replace to split it again"
        raise ConflictError(f"slide {shown} is in the store as {there}, split otherwise than now: {advice}")


def _place(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in _WHERE)


def _others(edit: CohortEdit, gone: set[tuple[Any, ...]]) -> pa.Table:
    """Every patch of the store but those that go, to be put."""
    patches = edit.table("patches")
    if gone:
        patches = patches.join(_keys(patches, gone), list(PLACE), join_type="left anti")
    names = edit.table("slices").select([*PLACE[:3], "slice_name"])
    # What is known of them stays: their files are told from a root.
    stay = patches.drop_columns(["file"]).join(names, list(PLACE[:3]), join_type="inner")
    stay = stay.append_column("file", pa.nulls(stay.num_rows, pa.string()))
    return stay.sort_by([(name, "ascending") for name in PLACE]).select(_COLUMNS.names).cast(_COLUMNS)


def _put_grid(edit: CohortEdit, grid: Grid) -> None:
    known = edit.table("grids")
    if grid.name not in known["grid"].to_pylist():
        edit.replace("grids", pa.concat_tables([known, pa.Table.from_pylist([grid.row()], known.schema)]))


def _put_slides(edit: CohortEdit, slices: Mapping[tuple[str, str, str], str]) -> None:
    """Say of each slice which slide it lies on."""
    table = edit.table("slices")
    keys = zip(*(table[name].to_pylist() for name in ("case_id", "stain", "slice_name")), strict=True)
    known = table["slide_id"].to_pylist()
    column = pa.array([slices.get(key, before) for key, before in zip(keys, known, strict=True)], pa.string())
    edit.replace("slices", table.set_column(table.column_names.index("slide_id"), "slide_id", column))
