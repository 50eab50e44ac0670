"""Sizes of patch images, from their headers alone: no pixel is decoded, whatever an image claims to be."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from milstore.errors import DataError
from milstore.progress import Progress, silent
from milstore.store.names import clip
from milstore.workers import mapped

FORMATS = ("PNG", "JPEG", "TIFF")
EXTENSIONS = ("png", "jpg", "jpeg", "tif", "tiff")
_LARGEST_SIDE = 1 << 15
_CHUNK = 1000

# Pillow logs what is wrong with a TIFF beside raising it; without a handler that would be a second line on the terminal.
logging.getLogger("PIL").addHandler(logging.NullHandler())


def image_sizes(
    root: Path, files: Sequence[str], *, jobs: int | None = None, progress: Progress = silent
) -> npt.NDArray[np.int32]:
    """Width and height (N, 2), in pixels, of images below a root. Many are read in several processes.

    Raises:
        DataError: a file is missing, unreadable, no PNG, JPEG or TIFF, or larger than a patch can be.
    """
    tasks = [(str(root), list(files[first : first + _CHUNK])) for first in range(0, len(files), _CHUNK)]
    sizes: list[npt.NDArray[np.int32]] = [np.empty((0, 2), np.int32)]
    done = 0
    # Starting a process takes as long as reading a thousand headers.
    for found in mapped(_sizes, tasks, jobs=1 if len(tasks) < 3 else jobs):
        sizes.append(found)
        done += len(found)
        progress("reading images", done, len(files))
    return np.concatenate(sizes)


def _sizes(task: tuple[str, list[str]]) -> npt.NDArray[np.int32]:
    root, files = task
    return np.array([_size(f"{root}/{file}") for file in files], np.int32).reshape(-1, 2)


def _size(path: str) -> tuple[int, int]:
    from PIL import Image, UnidentifiedImageError

    shown = clip(path, 300)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged tags, and of sizes, which are looked at below
            with open(path, "rb") as stream, Image.open(stream, formats=FORMATS) as image:  # noqa: PTH123 - a text
                width, height = image.size
    except UnidentifiedImageError as error:
        raise DataError(f"{shown} is not a PNG, JPEG or TIFF image: remove it or make it anew") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{shown} claims a size that no patch has: remove it or make it anew") from error
    except OSError as error:
        if error.strerror:
            raise DataError(f"{shown} cannot be read: {error.strerror}") from error
        raise DataError(f"{shown} has a damaged header: remove it or make it anew") from error
    except Exception as error:
        # Pillow raises whatever it meets in a damaged header: SyntaxError, ValueError, struct.error, …
        raise DataError(f"{shown} has a damaged header: remove it or make it anew") from error
    if not (0 < width <= _LARGEST_SIDE and 0 < height <= _LARGEST_SIDE):
        raise DataError(f"{shown} claims {width} x {height} pixels, a size that no patch has: make it anew")
    return width, height
