"""Whole slides that tests draw: small pyramids of plain colours, with tissue where it is wanted."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile

HE, DAB, PALE = (200, 120, 180), (120, 80, 50), (214, 219, 233)
"""Tissue: haematoxylin and eosin, DAB, and the pale blue of cells without it."""
GLASS = (243, 243, 244)
GREEN_INK, BLUE_INK, BLACK_INK = (30, 140, 70), (20, 60, 200), (25, 25, 28)

Blob = tuple[int, int, int, int, tuple[int, int, int]]
"""x, y, width, height and colour."""


def drawn(width: int, height: int, blobs: Sequence[Blob]) -> np.ndarray:
    """Rectangles on glass, with the noise of a camera."""
    pixels = np.full((height, width, 3), GLASS, np.int16)
    for x, y, wide, high, colour in blobs:
        pixels[y : y + high, x : x + wide] = colour
    noise = np.random.default_rng(width + height).integers(-2, 3, (128, 128, 1), dtype=np.int16)
    pixels += np.tile(noise, (-(-height // 128), -(-width // 128), 1))[:height, :width]
    return np.clip(pixels, 0, 255).astype(np.uint8)


def write_slide(path: Path, pixels: np.ndarray, *, mpp: float | None = 1.0) -> Path:
    """A tiled TIFF of two levels, the second a quarter of the first's sides."""
    said = {"resolution": (10_000 / mpp, 10_000 / mpp), "resolutionunit": "CENTIMETER"} if mpp else {}
    common = {"photometric": "rgb", "tile": (256, 256), "compression": "deflate", "compressionargs": {"level": 1}}
    with tifffile.TiffWriter(path) as file:
        file.write(pixels, metadata=None, **common, **said)
        file.write(np.ascontiguousarray(pixels[::4, ::4]), subfiletype=1, metadata=None, **common)
    return path
