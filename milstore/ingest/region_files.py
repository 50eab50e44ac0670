"""Finds the slide and patches that a file of regions is about, and the patches' centres."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from milstore.formats.geojson import Drawing, DrawnObject
from milstore.pixels.slide_bounds import Begin, begin_of
from milstore.store.patch_index import PLACE, places
from milstore.store.slice_files import FileNames, SliceKey
from milstore.store.slides import Slide

SliceNumber = tuple[str, str, int]
"""case_id, stain, slice_idx"""


@dataclass(frozen=True, kw_only=True)
class RegionFile:
    """A file that was read."""

    path: Path
    drawing: Drawing


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A file, and what it is about."""

    path: Path
    drawing: Drawing
    name: str
    """The slide's id, or the slice in words."""
    slices: tuple[SliceNumber, ...]
    """The slices that lie on the slide; none where the store has no patches of it."""
    unit: Literal["level0", "slice"]
    """What the coordinates of its patches count."""
    size: tuple[int, int] | None
    """Width and height of the slide, where they are known."""
    begin: Begin

    def beyond(self, objects: Iterable[DrawnObject]) -> int:
        """How many objects reach beyond the slide; drawn by hand, an outline may pass its edge by a pixel."""
        if self.size is None:
            return 0
        width, height = self.size
        found = 0
        for each in objects:
            left, top, right, bottom = each.extent
            x, y = self.begin.x, self.begin.y
            found += left + x < -1 or top + y < -1 or right + x > width + 1 or bottom + y > height + 1
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacedPatches:
    """The patches of a slide whose centres are known, N of them."""

    places: pa.Table
    """(N) case_id, stain, slice_idx, patch_idx"""
    centres: npt.NDArray[np.float64]
    without: int
    """Patches whose place or size is not known, or is in another unit."""


def place(
    file: RegionFile,
    names: FileNames,
    slices: Sequence[Mapping[str, Any]],
    slide: str | None,
    begin: Begin | None,
    root: Path,
) -> Placed | None:
    """Find what a file is about; None if it is no slide of the store.

    Args:
        file: the file.
        names: what names of files stand for.
        slices: rows of the table `slices`.
        slide: what the user says that it is about.
        begin: what the user says of where its pixels begin.
        root: the store, which paths of slides may be below.
    """
    found = names.find(file.path) if slide is None else names.named(slide)
    if found is None:
        return None
    if isinstance(found, Slide):
        own: SliceKey = (found.case_id, found.stain, found.slice_name)
        on_it = [
            row for row in slices if row["slide_id"] == found.slide_id or (row["slide_id"] is None and _key(row) == own)
        ]
        known = found.width is not None and found.height is not None
        return Placed(
            path=file.path,
            drawing=file.drawing,
            name=found.slide_id,
            slices=tuple(_number(row) for row in on_it),
            unit="level0",
            size=(found.width or 0, found.height or 0) if known else None,
            begin=begin or (begin_of(found, root) if file.drawing.by_qupath else Begin()),
        )
    return Placed(
        path=file.path,
        drawing=file.drawing,
        name=" ".join(found),
        slices=tuple(_number(row) for row in slices if _key(row) == found),
        unit="slice",
        size=None,
        begin=begin or Begin(),
    )


def _key(row: Mapping[str, Any]) -> SliceKey:
    return row["case_id"], row["stain"], row["slice_name"]


def _number(row: Mapping[str, Any]) -> SliceNumber:
    return row["case_id"], row["stain"], row["slice_idx"]


def patches_of(patches: pa.Table, files: Sequence[Placed]) -> list[PlacedPatches]:
    """The patches of what each file is about."""
    known = places(patches)
    first_G = np.append(known.slices, patches.num_rows)
    keys = zip(*(patches[name].take(pa.array(known.rows(first_G[:-1]))).to_pylist() for name in PLACE[:3]), strict=True)
    number_of: dict[SliceNumber, int] = {key: number for number, key in enumerate(keys)}
    found = []
    for file in files:
        numbers = [number_of[key] for key in file.slices if key in number_of]
        rows = [np.arange(first_G[number], first_G[number + 1]) for number in numbers]
        at = known.rows(np.concatenate(rows)) if rows else np.zeros(0, np.int64)
        found.append(_with_centres(patches.take(pa.array(at)), file.unit))
    return found


def _with_centres(rows: pa.Table, unit: str) -> PlacedPatches:
    # Coordinates of which nothing else is said count pixels of the slice.
    there = pc.equal(pc.fill_null(rows["unit"], "slice"), unit)
    for name in ("x", "y", "width", "height"):
        there = pc.and_(there, pc.is_valid(rows[name]))
    placed = rows.filter(there)
    x, y, width, height = (placed[name].to_numpy().astype(np.float64) for name in ("x", "y", "width", "height"))
    return PlacedPatches(
        places=placed.select(list(PLACE)),
        centres=np.column_stack([x + width / 2, y + height / 2]),
        without=rows.num_rows - placed.num_rows,
    )
