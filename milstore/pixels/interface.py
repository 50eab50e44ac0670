"""The interface of sources of patch images: a class, constructed without arguments, that recognises files and reads them.

Whole slides are another: `milstore.pixels.slide.open_slide` gives a `WholeSlide`, from which patches are read by their place.

docs/formats.md says how one is added.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
"""(height, width, 3), RGB."""


class PixelFormat(Protocol):
    """Reads the images of patches, a file each."""

    @property
    def endings(self) -> Sequence[str]:
        """Endings of its files' names, lower case, without the dot: by these they are found in a folder."""

    def recognises(self, path: Path) -> bool:
        """Whether a file's content is of this format. An exception counts as no."""

    def size(self, path: Path) -> tuple[int, int]:
        """Width and height in pixels, no pixel read where the file allows that.

        DataError, naming the file, if there is none to be had; whatever else it raises is said with the file's name.
        """

    def pixels(self, path: Path) -> Pixels:
        """The whole image. DataError as for `size`."""


class WholeSlide(Protocol):
    """An open whole slide. It must be closed, and may be used by one thread at a time."""

    path: Path
    width: int
    """Of level 0, in pixels."""
    height: int
    mpp: float | None
    """Micrometres a pixel of level 0; None where the file does not say it."""
    magnification: float | None
    vendor: str | None

    def read(self, x: int, y: int, width: int, height: int, size: tuple[int, int]) -> Pixels:
        """A part of the slide, scaled.

        Args:
            x, y: upper left corner in pixels of level 0; may lie beyond the slide.
            width, height: in pixels of level 0.
            size: width and height of the result, in pixels.

        Returns:
            (height, width, 3) RGB; white beyond the slide and where it is transparent.

        Raises:
            DataError: the file is damaged there; it is named.
        """

    def thumbnail(self, edge: int) -> Pixels:
        """The whole slide, its longer side at most `edge` pixels. DataError as for `read`."""

    def close(self) -> None:
        """Close the file."""
