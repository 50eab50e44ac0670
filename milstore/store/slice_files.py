"""Names of files about a slide, or about a slice that is on no slide: the same for what is written and what is read."""

import re
from collections.abc import Iterable
from pathlib import PurePath

from milstore.errors import UsageError
from milstore.store.names import clip, named, natural_key, nearest
from milstore.store.slides import Slide, Slides

SliceKey = tuple[str, str, str]
"""case_id, stain, slice_name"""
_UNFIT = re.compile(r'[\x00-\x1f<>:"/\\|?*]')
_ADDED = ("_tiles", "_tissues")
"""What LazySlide adds to a slide's name."""


def slice_stem(key: SliceKey) -> str:
    """The name, without ending, of a file about a slice that is on no slide.

    >>> slice_stem(("46", "h&e", "match_1"))
    '46_h&e_match_1'
    """
    return safe_stem("_".join(key))


def safe_stem(text: str) -> str:
    """A text as the name of a file, whatever it holds."""
    return _UNFIT.sub("-", text).strip(". ") or "slide"


class FileNames:
    """Which slide, or slice without one, a file is about, by its name."""

    def __init__(self, slides: Slides, slices: Iterable[SliceKey]) -> None:
        """Know the slides, and the slices that are on none."""
        self._slides = slides
        self._slices = {slice_stem(key): key for key in slices}
        # A slide whose id cannot be a file's name is found by the name that it gets.
        self._safe = {safe_stem(slide_id): slide_id for slide_id in slides}

    def find(self, path: PurePath) -> Slide | SliceKey | None:
        """What a file is about: the stem of its name is the slide's id, perhaps with what a tool adds."""
        stem = path.name.removesuffix(path.suffix)
        for name in (stem, *(stem.removesuffix(added) for added in _ADDED)):
            if name in self._slides:
                return self._slides[name]
            if name in self._safe:
                return self._slides[self._safe[name]]
            if name in self._slices:
                return self._slices[name]
        return self._slides.of_file(path.name)

    def named(self, text: str) -> Slide | SliceKey:
        """The slide of this id, or the slice of this file name. UsageError, with the nearest, if there is none."""
        if text in self._slides:
            return self._slides[text]
        if text in self._slices:
            return self._slices[text]
        raise UsageError(
            f"there is no slide {clip(text)!r} in this store: {nearest(text, [*self._slides, *self._slices])}"
        )

    def examples(self) -> str:
        """Some of the names that are known."""
        known: list[str] = sorted([*self._slides, *self._slices], key=natural_key)
        return named(known, 3)
