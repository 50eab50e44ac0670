"""What a source of patch images is: a class, made without arguments, that recognises its files and reads them.

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
        """Whether a file's content is of this format. It may raise: that is a no."""

    def size(self, path: Path) -> tuple[int, int]:
        """Width and height in pixels, no pixel read where the file allows that.

        DataError, naming the file, if there is none to be had; whatever else it raises is said with the file's name.
        """

    def pixels(self, path: Path) -> Pixels:
        """The whole image. DataError as for `size`."""
