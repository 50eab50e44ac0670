"""Where the rows of a slice's file lie, in one unit: upper left corners and edges in pixels of the slide's level 0, or of the
slice where the file counts in these. What a patch was at the encoder's input is reckoned beside it.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from milstore.errors import DataError, UsageError
from milstore.formats.feature_reading import SliceIndex
from milstore.formats.interface import Layout
from milstore.store.names import clip, counted
from milstore.store.slides import Slide

LEVEL0, SLICE = "level0", "slice"
CLOSE = 0.2
"""Resolutions that differ by less than this share are of one magnification: scanners differ by some percent at the same one."""
SLIDE_MPP = "--slide-mpp"
_LARGEST = 2**31 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """How the patches of a file were cut, as far as it and its slide say."""

    px: int | None
    """Edge at the encoder's input, in pixels."""
    mpp: float | None
    """Micrometres a pixel at the encoder's input."""
    overlap: int | None
    """Pixels that neighbours share at the encoder's input."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Where the rows of a file lie."""

    xy: npt.NDArray[np.int64] | None
    """(N, 2): upper left corners, in the order of the index; None where nothing is known of them."""
    edge: int | None
    """Width and height of a patch in the same unit; None if unknown."""
    unit: str | None
    """level0 or slice; None without places."""
    cut: Cut
    beyond: int = 0
    """Patches that reach beyond the slide, in part or wholly."""
    outside: int = 0
    """Those of them that lie wholly outside."""


def place(path: Path, index: SliceIndex, slide: Slide | None, slide_mpp: float | None) -> Placement:
    """Where the rows of a file lie.

    Args:
        path: the file, for messages.
        index: what it says.
        slide: its slide; None where the store knows none.
        slide_mpp: micrometres a pixel of level 0 of slides that the store knows no resolution of.

    Raises:
        DataError: the file needs the slide's resolution and nobody gives one, it says two things of a patch's edge, is of a
            slide of another size, or has patches that lie outside the slide.
    """
    layout = index.layout
    own_mpp = resolution(slide, slide_mpp)
    if index.coords is None:
        return Placement(xy=None, edge=None, unit=None, cut=_cut(layout, None, own_mpp))
    if layout.unit == "slice":
        edge = None if layout.patch_size is None else layout.patch_size
        return _whole(path, index, index.coords, edge, SLICE, _cut(layout, None, None))
    if layout.unit == "um" and own_mpp is None:
        raise DataError(
            f"{path} has coordinates in micrometres, and {_called(slide)} has no resolution in the store: give it in the table of "
            f"slides (column mpp, milstore ingest slides), or as micrometres a pixel of level 0 by {SLIDE_MPP} 0.25"
        )
    scale = own_mpp if layout.unit == "um" and own_mpp is not None else 1.0
    edge = None if layout.patch_size is None else layout.patch_size / scale
    edge = _edge(layout, own_mpp) if edge is None else edge
    _check_edge(path, layout, edge, slide)
    placed = _whole(path, index, index.coords / scale, edge, LEVEL0, _cut(layout, edge, own_mpp))
    beyond, outside = _beyond(path, placed, _size(path, layout, slide))
    return replace(placed, beyond=beyond, outside=outside)


def resolution(slide: Slide | None, slide_mpp: float | None) -> float | None:
    """Micrometres a pixel of level 0: the slide's own, else what the user says. UsageError if the two differ."""
    own = None if slide is None else slide.mpp
    if slide is not None and own is not None and slide_mpp is not None and abs(own - slide_mpp) > 0.02 * own:
        raise UsageError(
            f"slide {clip(slide.slide_id)} has {own:g} micrometres a pixel in the store and {SLIDE_MPP} says {slide_mpp:g}: leave it "
            "out, or correct the store by milstore ingest slides --replace"
        )
    return slide_mpp if own is None else own


def _called(slide: Slide | None) -> str:
    return "its slide" if slide is None else f"slide {clip(slide.slide_id)}"


def _edge(layout: Layout, own_mpp: float | None) -> float | None:
    """Edge of a patch in pixels of level 0, from what it is in micrometres."""
    um = layout.patch_um
    if um is None and layout.patch_px is not None and layout.mpp is not None:
        um = layout.patch_px * layout.mpp
    return None if um is None or own_mpp is None else um / own_mpp


def _cut(layout: Layout, edge: float | None, own_mpp: float | None) -> Cut:
    """How the patches were cut; `edge` is that in pixels of level 0."""
    um = layout.patch_um
    if um is None and edge is not None and own_mpp is not None:
        um = edge * own_mpp
    px, mpp = layout.patch_px, layout.mpp
    if mpp is None and px and um is not None:
        mpp = um / px
    if px is None and mpp and um is not None:
        px = round(um / mpp)
    return Cut(px=px, mpp=mpp, overlap=layout.overlap)


def _check_edge(path: Path, layout: Layout, edge: float | None, slide: Slide | None) -> None:
    """DataError if a patch's edge at level 0 and at the encoder's input do not fit the slide's resolution."""
    if edge is None or slide is None or slide.mpp is None or layout.patch_px is None or layout.mpp is None:
        return
    said = layout.patch_px * layout.mpp / edge
    if abs(said - slide.mpp) > CLOSE * slide.mpp:
        raise DataError(
            f"{path} has patches of {edge:g} pixels at level 0, which are {layout.patch_px} at {layout.mpp:g} micrometres a pixel: its "
            f"slide would have {said:.3g}, and slide {clip(slide.slide_id)} has {slide.mpp:g} in the store: correct the one that is "
            "wrong (milstore ingest slides --replace)"
        )


def _whole(
    path: Path, index: SliceIndex, corners: npt.NDArray[np.float64], edge: float | None, unit: str, cut: Cut
) -> Placement:
    if edge is not None and not 0.5 <= edge <= _LARGEST:
        raise DataError(f"{path} has patches with an edge of {edge:g} pixels: that is none")
    if index.layout.centred:
        if edge is None:
            raise DataError(
                f"{path} says where its patches' centres lie, and not how large they are: their corners cannot be told; put the "
                "tool's settings back beside it, or give the slides' resolution"
            )
        corners = corners - edge / 2
    xy = np.rint(corners).astype(np.int64)
    if (np.abs(xy) > _LARGEST).any():
        raise DataError(f"{path} has coordinates beyond {_LARGEST} pixels: they are in another unit, or damaged")
    return Placement(xy=xy, edge=None if edge is None else round(edge), unit=unit, cut=cut)


def _size(path: Path, layout: Layout, slide: Slide | None) -> tuple[int, int] | None:
    """Width and height of the slide. DataError if the file says others than the store."""
    known = None if slide is None or slide.width is None or slide.height is None else (slide.width, slide.height)
    if slide is not None and known is not None and layout.slide_size is not None and known != layout.slide_size:
        mine, theirs = (" x ".join(map(str, size)) for size in (known, layout.slide_size))
        raise DataError(
            f"{path} is of a slide of {theirs} pixels, and slide {clip(slide.slide_id)} has {mine} in the store: it is of another "
            "scan, or the table of slides is wrong (milstore ingest slides --replace)"
        )
    return known or layout.slide_size


def _beyond(path: Path, placed: Placement, size: tuple[int, int] | None) -> tuple[int, int]:
    """How many patches reach beyond the slide, and how many of them lie wholly outside.

    DataError if that is so of most, or one lies before the slide's beginning: then these are no places on this slide.
    """
    assert placed.xy is not None
    edge = placed.edge or 0
    x, y = placed.xy.T
    before = (x + edge < 0) | (y + edge < 0)
    outside, reach = before, (x < 0) | (y < 0)
    if size is not None:
        outside = outside | (x >= size[0]) | (y >= size[1])
        reach = reach | (x + edge > size[0]) | (y + edge > size[1])
    if before.any() or outside.sum() * 2 > len(x):
        row = int(np.argmax(before if before.any() else outside))
        of = f" of {size[0]} x {size[1]} pixels" if size is not None else ""
        raise DataError(
            f"{path} has {outside.sum()} of {counted(len(x), 'patch', 'patches')} outside its slide{of}, such as at x {x[row]}, "
            f"y {y[row]}: its coordinates are of another slide, or in another unit"
        )
    return int((reach | outside).sum()), int(outside.sum())
