"""Pictures of patches that have no file of their own: read from the slide that they lie on, for charts."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import local
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import MilstoreError, UsageError
from milstore.pixels.image_file import NoImageError
from milstore.pixels.patch_source import LEVEL0, OpenSlides, slide_path
from milstore.pixels.slide_cache import thumbnail
from milstore.store.cohort import Cohort
from milstore.store.slides import Slide, Slides

if TYPE_CHECKING:
    from PIL.Image import Image

NO_OPENSLIDE, GONE, DAMAGED, UNKNOWN = "needs openslide", "slide missing", "damaged slide", "no image known"
"""Why there is no picture, as it stands in the place of one."""
WHY = {
    NO_OPENSLIDE: "reading the slide needs openslide: pip install 'milstore[slides]'",
    GONE: "the slide's file is gone",
    DAMAGED: "the slide's file is damaged",
}
"""The same in a sentence."""
_READERS = 3
_FINE_ENOUGH = 0.75
"""Share of the resolution that is wanted, from which a thumbnail does."""

Key = tuple[str, str, int]
"""Case, stain, slice_idx."""


@dataclass(frozen=True, slots=True)
class OnSlide:
    """A part of a slide."""

    slide: Slide
    path: Path | None
    box: tuple[int, int, int, int]
    """x, y, width and height in pixels of level 0."""


@dataclass(frozen=True, eq=False)
class SlidePatches:
    """The patches of a cohort that lie on slides."""

    cohort: Cohort

    def pictures(self, rows: Sequence[Mapping[str, Any]], largest: int) -> list["tuple[Image | None, str]"]:
        """The picture of each patch, at most `largest` pixels in width and height, or why there is none.

        Args:
            rows: case_id, stain, slice_idx or slice_name, and patch_idx.
            largest: pixels of the longer side.
        """
        places = self._places(rows)
        mine = local()
        opened: list[OpenSlides] = []

        def read(place: OnSlide | None) -> "tuple[Image | None, str]":
            if not hasattr(mine, "slides"):
                mine.slides = OpenSlides()
                opened.append(mine.slides)
            return _picture(mine.slides, place, largest)

        try:
            with ThreadPoolExecutor(_READERS) as readers:
                return list(readers.map(read, places))
        finally:
            for slides in opened:
                slides.close()

    def resolutions(self) -> dict[Key, float]:
        """Micrometres a pixel of level 0 of each slice that lies on a slide of which it is known."""
        return {key: slide.mpp for key, slide in self._slide_of.items() if slide.mpp}

    def ground(
        self, case_id: str, stain: str, slice_idx: int, box: tuple[float, float, float, float], size: tuple[int, int]
    ) -> "tuple[Image | None, str]":
        """The part of the slide under the patches of a slice, or why it cannot be shown.

        Args:
            case_id, stain, slice_idx: the slice.
            box: x, y, width and height in pixels of level 0.
            size: width and height of the picture in pixels.
        """
        slide = self._slide_of.get((case_id, stain, slice_idx))
        if slide is None or not self._is_level0(case_id, stain, slice_idx):
            return None, UNKNOWN
        x, y, width, height = (round(side) for side in box)
        place = OnSlide(slide, self._path(slide), (x, y, max(1, width), max(1, height)))
        small, problem = self._of_thumbnail(place, size)
        if small is not None and not problem:
            return small, ""
        slides = OpenSlides()
        try:
            image, why = _picture(slides, place, max(size))
        finally:
            slides.close()
        if image is not None:
            return image.resize(size), ""
        # A coarse one is better than none.
        return (small, "") if small is not None else (None, why)

    def _of_thumbnail(self, place: OnSlide, size: tuple[int, int]) -> "tuple[Image | None, str]":
        """The part of the slide's thumbnail, and what is wrong with it if it is coarse."""
        slide = place.slide
        if not slide.width or not slide.height:
            return None, "size unknown"
        try:
            whole = thumbnail(self.cohort.store, slide.slide_id, place.path)
        except (MilstoreError, NoImageError):
            return None, GONE
        x, y, width, height = place.box
        across, down = whole.width / slide.width, whole.height / slide.height
        from PIL import Image

        # What lies beyond the slide is white.
        box = round(x * across), round(y * down), round((x + width) * across), round((y + height) * down)
        part = Image.new("RGB", (max(1, box[2] - box[0]), max(1, box[3] - box[1])), "white")
        part.paste(whole, (-box[0], -box[1]))
        coarse = part.width < _FINE_ENOUGH * size[0]
        return part.resize(size, Image.Resampling.LANCZOS), "coarse" if coarse else ""

    @cached_property
    def _slides(self) -> Slides:
        return Slides(self.cohort)

    @cached_property
    def _slide_of(self) -> dict[Key, Slide]:
        """The slide of each slice that lies on one."""
        rows = self.cohort.table("slices").to_pylist() if len(self._slides) else []
        return {
            (row["case_id"], row["stain"], row["slice_idx"]): self._slides[row["slide_id"]]
            for row in rows
            if row["slide_id"] in self._slides
        }

    @cached_property
    def _idx_of(self) -> dict[tuple[str, str, str], int]:
        names = ("case_id", "stain", "slice_name")
        return {tuple(row[name] for name in names): row["slice_idx"] for row in self.cohort.table("slices").to_pylist()}

    def _path(self, slide: Slide) -> Path | None:
        return slide_path(self.cohort.store.root, slide)

    def _of_cases(self, cases: set[str]) -> pa.Table:
        patches = self.cohort.table("patches")
        return patches.filter(pc.is_in(patches["case_id"], pa.array(sorted(cases), pa.string())))

    def _is_level0(self, case_id: str, stain: str, slice_idx: int) -> bool:
        rows = self._of_cases({case_id})
        of_slice = rows.filter((pc.field("stain") == stain) & (pc.field("slice_idx") == slice_idx))
        return bool(of_slice["unit"].unique().to_pylist() == [LEVEL0])

    def _places(self, rows: Sequence[Mapping[str, Any]]) -> list[OnSlide | None]:
        """Where each patch lies; None for one that lies on no slide."""
        if not self._slide_of:
            return [None] * len(rows)
        keys = [self._key(row) for row in rows]
        known = self._of_cases({key[0] for key in keys if key is not None})
        place_of = {
            (row["case_id"], row["stain"], row["slice_idx"], row["patch_idx"]): row
            for row in known.to_pylist()
            if row["unit"] == LEVEL0 and None not in (row["x"], row["y"], row["width"], row["height"])
        }
        found: list[OnSlide | None] = []
        for key, row in zip(keys, rows, strict=True):
            slide = None if key is None else self._slide_of.get(key)
            place = None if key is None else place_of.get((*key, row["patch_idx"]))
            if slide is None or place is None:
                found.append(None)
            else:
                box = (place["x"], place["y"], place["width"], place["height"])
                found.append(OnSlide(slide, self._path(slide), box))
        return found

    def _key(self, row: Mapping[str, Any]) -> Key | None:
        idx = row.get("slice_idx")
        if idx is None:
            idx = self._idx_of.get((row["case_id"], row["stain"], row["slice_name"]))
        return None if idx is None else (row["case_id"], row["stain"], int(idx))


def _picture(slides: OpenSlides, place: OnSlide | None, largest: int) -> "tuple[Image | None, str]":
    from PIL import Image

    if place is None:
        return None, UNKNOWN
    if place.path is None or not place.path.is_file():
        return None, GONE
    x, y, width, height = place.box
    scale = min(1.0, largest / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    try:
        return Image.fromarray(slides.get(place.path).read(x, y, width, height, size)), ""
    except UsageError:
        return None, NO_OPENSLIDE
    except MilstoreError:
        return None, DAMAGED
