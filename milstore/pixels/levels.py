"""Common to whole slides: regions are read from the best level, scaled, and white beyond the slide."""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from milstore.errors import DataError, MilstoreError, in_a_line
from milstore.pixels.interface import Pixels
from milstore.store.names import clip

if TYPE_CHECKING:
    from PIL.Image import Image

_AT_ONCE = 1 << 24
"""Pixels of a level that are held in memory at once; larger parts are read and scaled piece by piece."""
_SMALLEST_MPP, _LARGEST_MPP = 0.04, 40.0


def plausible_mpp(value: object) -> float | None:
    """A resolution in micrometres a pixel, if a scanner could have written it: 72 dots an inch, which programs write for
    want of better, is none."""
    try:
        mpp = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return mpp if _SMALLEST_MPP <= mpp <= _LARGEST_MPP else None


def positive(value: object) -> float | None:
    """A number that a slide says, if it is one above 0."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


class LevelSlide(ABC):
    """A whole slide in levels of falling size; the first is level 0. See `milstore.pixels.interface.WholeSlide`."""

    def __init__(
        self,
        path: Path,
        sizes: tuple[tuple[int, int], ...],
        *,
        mpp: float | None,
        magnification: float | None,
        vendor: str | None,
    ) -> None:
        """Set what is known of the slide; `sizes` are the width and height of each level."""
        self.path = path
        self.width, self.height = sizes[0]
        self.mpp = mpp
        self.magnification = magnification
        self.vendor = vendor
        # Levels are rounded to whole pixels: the longer side says best how much smaller one is.
        longer = 0 if self.width >= self.height else 1
        self._sizes = sizes
        self._downsamples = tuple(sizes[0][longer] / size[longer] for size in sizes)

    def __enter__(self) -> Self:
        """The slide; it is closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    @abstractmethod
    def _region(self, level: int, x: int, y: int, width: int, height: int) -> "Image":
        """A part of a level in RGB: its corner in pixels of level 0, its size in pixels of the level."""

    def read(self, x: int, y: int, width: int, height: int, size: tuple[int, int]) -> Pixels:
        """A part of the slide, scaled (see `WholeSlide.read`)."""
        try:
            return self._read(x, y, width, height, size)
        except MilstoreError:
            raise
        except Exception as error:
            # Readers raise whatever they meet in a damaged file.
            raise DataError(
                f"{clip(str(self.path), 300)} is damaged or truncated at x {x}, y {y} ({clip(in_a_line(error), 160)}): "
                "copy it again from where it was scanned, or leave it out"
            ) from error

    def thumbnail(self, edge: int) -> Pixels:
        """The whole slide, its longer side at most `edge` pixels."""
        scale = min(1.0, edge / max(self.width, self.height))
        size = max(1, round(self.width * scale)), max(1, round(self.height * scale))
        return self.read(0, 0, self.width, self.height, size)

    def _read(self, x: int, y: int, width: int, height: int, size: tuple[int, int]) -> Pixels:
        level = self._best_level(min(width / size[0], height / size[1]))
        area = width * height / self._downsamples[level] ** 2
        if area <= _AT_ONCE:
            return self._scaled(level, x, y, width, height, size)
        whole = np.empty((size[1], size[0], 3), np.uint8)
        pieces = math.ceil(math.sqrt(area / _AT_ONCE))
        # A part that becomes one pixel is not divided further.
        for top, bottom in _parts(size[1], pieces):
            for left, right in _parts(size[0], pieces):
                x0, x1 = (x + round(width * at / size[0]) for at in (left, right))
                y0, y1 = (y + round(height * at / size[1]) for at in (top, bottom))
                part = self._scaled(level, x0, y0, x1 - x0, y1 - y0, (right - left, bottom - top))
                whole[top:bottom, left:right] = part
        return whole

    def _best_level(self, downsample: float) -> int:
        """The smallest level that is no coarser than what is asked for; a hundredth is nothing."""
        fitting = [i for i, each in enumerate(self._downsamples) if each <= downsample * 1.01]
        return max(fitting, key=lambda level: self._downsamples[level], default=0)

    def _scaled(self, level: int, x: int, y: int, width: int, height: int, size: tuple[int, int]) -> Pixels:
        from PIL import Image

        downsample = self._downsamples[level]
        wide, high = width / downsample, height / downsample
        image = self._region(level, x, y, max(1, math.ceil(wide - 0.01)), max(1, math.ceil(high - 0.01)))
        if image.size != size:
            # The part asked for may end within a pixel of the level.
            box = (0.0, 0.0, min(wide, image.width), min(high, image.height))
            image = image.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)
        return np.asarray(image)


def _parts(length: int, pieces: int) -> Iterator[tuple[int, int]]:
    """A length in pieces, each of at least one."""
    pieces = min(pieces, length)
    edges = [round(length * i / pieces) for i in range(pieces + 1)]
    return itertools.pairwise(edges)
