"""What a format is: a class, made without arguments, that recognises its files by their content and reads them.

There is a protocol for each kind of file. The first line of a format's docstring is what is listed of it. What a reader
raises over a damaged file is turned into one line that names the file; a `DataError` is passed on as it is.
docs/formats.md says how one is added.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from milstore.errors import DataError, in_a_line
from milstore.store.names import clip

Vectors = npt.NDArray[np.floating]
"""(N, D), or (D,) of one patch. float16, float32, float64; bfloat16 as float32, or as `formats.npy.is_bfloat16` has it."""


class Format(Protocol):
    """What every format has."""

    @property
    def endings(self) -> Sequence[str]:
        """Endings of its files' names, lower case, without the dot: by these they are found in a folder."""

    def recognises(self, path: Path) -> bool:
        """Whether a file's content (its first bytes, columns or keys) is of this format. It may raise: that is a no."""


class VectorFormat(Format, Protocol):
    """Features, a file a patch. Which patch it is of, the file's name says."""

    def vector(self, path: Path) -> Vectors:
        """The vector (D,) of a file."""


Unit = Literal["slice", "level-0", "um"]
"""Of coordinates: pixels of the slice, pixels of the slide at full resolution, micrometres on the slide."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Layout:
    """What a file of features says of its N vectors of D numbers, none of them read."""

    rows: int
    """N."""
    width: int
    """D."""
    half: bool = False
    """Whether the vectors are float16."""
    patch_idx: npt.NDArray[np.integer] | None = None
    """(N,), 0 to 2^31 - 1: the number of each row's patch; None where the file has none."""
    xy: npt.NDArray[np.number] | None = None
    """(N, 2): upper left corner of each patch, x before y, in `unit`; None where the file has none."""
    unit: Unit = "slice"
    patch_size: float | None = None
    """Edge of a patch, in `unit`."""
    mpp: float | None = None
    """Micrometres a pixel at which the encoder saw the patches."""
    slide: str | None = None
    """Name of the slide, where the file says it otherwise than by its own name."""


class SliceFormat(Format, Protocol):
    """Features, a file a slice or slide. Which one it is of, the file's name says."""

    def layout(self, path: Path) -> Layout:
        """What the file says of its vectors: checked before they are read, so no array of theirs should be made."""

    def vectors(self, path: Path) -> Vectors:
        """The vectors (N, D), in the order of the file's rows. They may be mapped from the file."""


FeatureFormat = VectorFormat | SliceFormat


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """Turn what the libraries raise over a damaged file into a DataError that names it."""
    try:
        yield
    except DataError:
        raise
    except PermissionError as error:
        raise DataError(f"{path} cannot be read: Permission denied") from error
    except Exception as error:
        # zipfile, NumPy, h5py, Arrow and users' readers raise what they meet.
        reason = clip(in_a_line(error).removeprefix("OSError: "), 100)
        raise DataError(f"{path} is damaged, or not of the kind its name says ({reason}): make it anew") from error


def first_bytes(path: Path, count: int) -> bytes:
    """The beginning of a file."""
    with path.open("rb") as stream:
        return stream.read(count)


def is_array(value: Any, dimensions: int, kinds: str) -> bool:
    """Whether this is an array of so many dimensions and of a type of one of these NumPy kinds."""
    return isinstance(value, np.ndarray) and value.ndim == dimensions and value.dtype.kind in kinds
