"""Sizes of patch images, from their headers alone: no pixel is decoded, whatever an image claims to be."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from milstore.errors import DataError, in_a_line
from milstore.pixels.interface import PixelFormat
from milstore.pixels.registry import PIXELS
from milstore.plugins import format_name
from milstore.progress import Progress, silent
from milstore.store.names import clip
from milstore.workers import mapped

_LARGEST_SIDE = 1 << 15
_CHUNK = 1000


def image_sizes(
    root: Path,
    files: Sequence[str],
    *,
    format_of: Mapping[str, str] | None = None,
    jobs: int | None = None,
    progress: Progress = silent,
) -> npt.NDArray[np.int32]:
    """Width and height (N, 2), in pixels, of images below a root. Many are read in several processes.

    Args:
        root: the folder.
        files: the images, below it.
        format_of: name of the format of the files of each ending; found by their content if left out.
        jobs: processes.
        progress: is told how far it is.

    Raises:
        DataError: a file is missing, unreadable, no image, or larger than a patch can be.
    """
    format_of = PIXELS.by_ending(root, files) if format_of is None else format_of
    tasks = [(str(root), list(files[first : first + _CHUNK]), format_of) for first in range(0, len(files), _CHUNK)]
    sizes: list[npt.NDArray[np.int32]] = [np.empty((0, 2), np.int32)]
    done = 0
    # Starting a process takes as long as reading a thousand headers.
    for found in mapped(_sizes, tasks, jobs=1 if len(tasks) < 3 else jobs):
        sizes.append(found)
        done += len(found)
        progress("reading images", done, len(files))
    return np.concatenate(sizes)


def _sizes(task: tuple[str, list[str], Mapping[str, str]]) -> npt.NDArray[np.int32]:
    root, files, format_of = task
    return np.array([_size(Path(root, file), format_name(format_of, file)) for file in files], np.int32).reshape(-1, 2)


def _size(path: Path, name: str) -> tuple[int, int]:
    fmt: PixelFormat = PIXELS.find(name)
    shown = clip(str(path), 300)
    try:
        width, height = map(int, fmt.size(path))
    except DataError:
        raise
    except Exception as error:
        # Readers of users raise what they meet.
        raise DataError(
            f"{shown} cannot be read ({clip(in_a_line(error), 160)}): remove it or create it again"
        ) from error
    if not (0 < width <= _LARGEST_SIDE and 0 < height <= _LARGEST_SIDE):
        raise DataError(f"{shown} claims {width} x {height} pixels, a size that no patch has: create it again")
    return width, height
