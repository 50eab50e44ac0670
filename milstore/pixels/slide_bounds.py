"""Where the scanned part of a slide begins, as OpenSlide says it: QuPath counts its pixels from there.

OpenSlide gives some scanners' slides (MIRAX, Leica, Ventana, Zeiss, DICOM) a level 0 that is larger than what was scanned, and the properties
`openslide.bounds-x` and `openslide.bounds-y`. QuPath crops to these.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from milstore.extras import needed
from milstore.store.slides import Slide

_UNBOUNDED = frozenset({"aperio", "generic-tiff", "hamamatsu", "philips", "trestle"})
"""Makers, as OpenSlide calls them, whose slides have no bounds."""


@dataclass(frozen=True, slots=True)
class Begin:
    """Where QuPath's pixel (0, 0) lies, in pixels of level 0."""

    x: int = 0
    y: int = 0
    known: bool = True
    """False where the slide's file could not be opened, and its maker is not known to scan without bounds: then 0, 0."""


def begin_of(slide: Slide, root: Path) -> Begin:
    """Where QuPath begins to count on a slide: read from its file, where that can be opened. Nothing is raised.

    Args:
        slide: the slide, whose path is absolute or below the store.
        root: the store.
    """
    found = _read(root / slide.path) if slide.path else None
    if found is not None:
        return found
    return Begin(known=(slide.vendor or "").lower() in _UNBOUNDED)


def _read(path: Path) -> Begin | None:
    """What the file says; None where it cannot be opened."""
    if not path.is_file() or importlib.util.find_spec("openslide") is None:
        return None
    openslide = needed("openslide", extra="slides", why="reading the bounds of a slide")
    try:
        with openslide.OpenSlide(path) as slide:
            said = slide.properties
            return Begin(int(said.get("openslide.bounds-x", 0)), int(said.get("openslide.bounds-y", 0)))
    except openslide.OpenSlideUnsupportedFormatError:
        # QuPath opens it by another library, which knows no bounds.
        return Begin()
    except (openslide.OpenSlideError, OSError, ValueError):
        return None
