"""Feature files read by processes, each vector put into its row of a pack that is being written.

A format travels by its name: each process finds it for itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from milstore.errors import DataError, UsageError
from milstore.formats.interface import Layout, SliceFormat, VectorFormat, Vectors, is_array, reported
from milstore.formats.npy import from_bfloat16, is_bfloat16
from milstore.formats.registry import find_format
from milstore.formats.small_file import ask_for
from milstore.plugins import format_name
from milstore.store.names import clip, named
from milstore.store.pack_matrix import PackTarget

FormatOf = Mapping[str, str]
"""Name of the format of the files of each ending; under "" that of all others."""
_BLOCK_BYTES = 1 << 19
"""What is read before it is looked at and written: little enough to stay in a processor's cache."""
_TOGETHER = 64
"""Files that are asked for together."""


# --- a file a patch -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Piece:
    """A contiguous piece of a pack."""

    root: str
    files: Sequence[str]
    format_of: FormatOf
    first_row: int
    model: str
    """The file whose vector has the length that all must have."""
    target: PackTarget


def read_vector(task: tuple[str, str, FormatOf]) -> Vectors:
    """The vector (D,) of one file below a root. DataError, naming the file, if there is none in it."""
    root, file, format_of = task
    name = format_name(format_of, file)
    fmt: VectorFormat = find_format("features", name)
    path = Path(root, file)
    with reported(path):
        vector = fmt.vector(path)
    if not is_array(vector, 1, "f") or not len(vector):
        raise DataError(f"{clip(str(path), 300)}: format {name} gives no vector (D,) of floats for it")
    return vector


def pack_piece(piece: Piece) -> bool:
    """Write one piece. Returns False if the pack is float16 and a vector is not.

    Raises:
        DataError: a file is damaged, its vector has another length than the model's, or holds NaN or infinity.
    """
    dtype, width = np.dtype(piece.target.dtype), piece.target.n_features
    rows = max(1, _BLOCK_BYTES // (width * dtype.itemsize))
    block: Vectors = np.empty((min(rows, len(piece.files)), width), dtype)
    for first in range(0, len(piece.files), rows):
        files = piece.files[first : first + rows]
        for i, file in enumerate(files):
            if i % _TOGETHER == 0:
                ask_for(Path(piece.root, each) for each in files[i : i + _TOGETHER])
            vector = read_vector((piece.root, file, piece.format_of))
            if len(vector) != width:
                raise DataError(
                    f"{clip(file, 200)} has {len(vector)} numbers and {clip(piece.model, 200)} has {width}: "
                    "the features of one encoder are of one length"
                )
            if dtype == np.float16 and vector.dtype.itemsize != 2:
                return False
            with np.errstate(over="ignore"):
                block[i] = vector
        vectors = block[: len(files)]
        finite = _finite_rows(vectors)
        if not finite.all():
            raise DataError(
                f"{clip(files[int(np.argmin(finite))], 200)} holds NaN, infinity or numbers too large for "
                f"{piece.target.dtype}: create it again"
            )
        piece.target.write(piece.first_row + first, vectors)
    return True


def _finite_rows(block: Vectors) -> npt.NDArray[np.bool_]:
    """Which rows hold neither NaN nor infinity."""
    if block.dtype != np.float16:
        return np.asarray(np.isfinite(block).all(axis=1))
    # NumPy widens float16 to look at it; in both NaN and infinity all bits of the exponent are set.
    exponent = np.uint16(0x7C00)
    largest: npt.NDArray[np.uint16] = (block.view(np.uint16) & exponent).max(axis=1)
    return largest < exponent


# --- a file a slice -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SliceIndex:
    """The index of a slice's file: which patch each row is, and what else the file says of them."""

    patch_idx: npt.NDArray[np.int64] | None
    """(N,), ascending; None where the file says by coordinates alone which patches they are, in the order of its rows"""
    order: npt.NDArray[np.int64]
    """(N,): row of the file that holds each of them"""
    coords: npt.NDArray[np.float64] | None
    """(N, 2): x and y of each, as the file has them, in the unit of the layout"""
    layout: Layout
    """What the file says besides, its arrays left out."""

    @property
    def rows(self) -> int:
        """How many vectors there are."""
        return len(self.order)

    @property
    def width(self) -> int:
        """Numbers a vector."""
        return self.layout.width

    @property
    def half(self) -> bool:
        """Whether the vectors are float16."""
        return bool(self.layout.half)

    def numbered(self, numbers: npt.NDArray[np.int64]) -> "SliceIndex":
        """The index with the patch numbers (N,) of its rows."""
        order = np.argsort(numbers, kind="stable")
        coords = None if self.coords is None else self.coords[order]
        return replace(self, patch_idx=numbers[order], order=order, coords=coords)


def slice_format(name: str, encoder: str) -> SliceFormat:
    """The format of this name; one whose files hold the features of several encoders reads those of one."""
    fmt: SliceFormat = find_format("features", name)
    of_encoder = getattr(fmt, "of_encoder", None)
    return fmt if of_encoder is None else of_encoder(encoder)


def read_index(task: tuple[str, ...]) -> SliceIndex:
    """The index of a file, given as (path, format) and maybe the encoder and the folder of its companion files.

    Raises:
        DataError: it says what cannot be.
        UsageError: its format has no use for a folder of companions.
    """
    path, name, encoder, companion = Path(task[0]), *(*task[1:], "", "")[:3]
    fmt = slice_format(name, encoder)
    if companion:
        with_companion = getattr(fmt, "with_companion", None)
        if with_companion is None:
            raise UsageError(f"--companion says nothing of files of format {name}: leave it out")
        fmt = with_companion(Path(companion))
    with reported(path):
        layout = fmt.layout(path)
    if not isinstance(layout, Layout):
        raise DataError(f"{path}: format {name} gives a {type(layout).__name__} for it, not a Layout")
    return _index(path, name, layout)


def _index(path: Path, name: str, layout: Layout) -> SliceIndex:
    numbers, xy = layout.patch_idx, layout.xy
    if layout.rows < 0 or (layout.rows and layout.width < 1):
        raise DataError(f"{path} has features of shape {(layout.rows, layout.width)}: they must be floats (N, D)")
    if numbers is None and xy is None:
        # Of a slide whose file says nothing of its patches, the row is the patch.
        numbers, layout = np.arange(layout.rows), replace(layout, by_row=True)
    if numbers is not None and (not is_array(numbers, 1, "iu") or len(numbers) != layout.rows):
        raise DataError(f"{path}: format {name} gives no patch_idx of {layout.rows} integers for it")
    if layout.unit not in ("slice", "level-0", "um"):
        raise DataError(
            f"{path}: format {name} gives coordinates in {clip(str(layout.unit))}: it must be slice, level-0 or um"
        )
    if xy is not None and (not is_array(xy, 2, "iuf") or xy.shape != (layout.rows, 2)):
        raise DataError(f"{path}: format {name} gives no xy of {layout.rows} pairs of numbers for it")
    places = None if xy is None else xy.astype(np.float64)
    whole = places is None or (np.isfinite(places).all() and (np.abs(places) < 2**31).all())
    counted = numbers is None or (numbers.min(initial=0) >= 0 and numbers.max(initial=0) < 2**31)
    if not counted or not whole:
        raise DataError(f"{path} has a patch_idx or coords outside 0 to {2**31 - 1}: repair it")
    in_file = SliceIndex(None, np.arange(layout.rows), places, replace(layout, patch_idx=None, xy=None))
    if numbers is None:
        return in_file
    ascending = np.sort(numbers.astype(np.int64))
    double = ascending[1:][ascending[1:] == ascending[:-1]]
    if len(double):
        raise DataError(f"{path} has patch {named(double.tolist())} more than once: remove one")
    return in_file.numbered(numbers.astype(np.int64))


@dataclass(frozen=True, slots=True)
class SliceTask:
    """The file of a slice, and where its vectors go."""

    path: str
    format: str
    index: SliceIndex
    first_row: int
    target: PackTarget
    encoder: str = ""
    """Which one's, where the file holds the features of several."""


@dataclass(frozen=True, slots=True)
class SliceDone:
    """What was found while the vectors of a slice were written."""

    first: Vectors
    """(D,): the vector of the first patch."""
    not_finite: int | None
    """The first row, counted from the slice's first, that holds NaN, infinity or numbers too large for the pack."""
    zeros: tuple[int, ...]
    """Numbers of the patches whose vector is zero throughout."""


def pack_slice(task: SliceTask) -> SliceDone:
    """Write the vectors of a slice, by ascending patch_idx, a block at a time.

    DataError if they are not as declared.
    """
    path, index, target = Path(task.path), task.index, task.target
    fmt = slice_format(task.format, task.encoder)
    with reported(path):
        vectors = fmt.vectors(path)
    if not isinstance(vectors, np.ndarray) or vectors.shape != (index.rows, index.width):
        shape = getattr(vectors, "shape", None)
        raise DataError(
            f"{path} holds features of shape {shape} and declares {(index.rows, index.width)}: it is damaged"
        )
    if not (vectors.dtype.kind == "f" or is_bfloat16(vectors.dtype)):
        raise DataError(f"{path} has features of type {vectors.dtype}: they must be floats (N, D)")
    rows = max(1, _BLOCK_BYTES // (target.n_features * 4))
    assert index.patch_idx is not None, "numbers are given before vectors are written"
    first: Vectors | None = None
    zeros: list[int] = []
    for begin in range(0, index.rows, rows):
        block = vectors[index.order[begin : begin + rows]]
        block = from_bfloat16(block.view(np.uint16)) if is_bfloat16(block.dtype) else block
        first = block[0].copy() if first is None else first
        with np.errstate(over="ignore"):
            stored = block.astype(target.dtype, copy=False)
        finite = _finite_rows(stored)
        if not finite.all():
            return SliceDone(first, begin + int(np.argmin(finite)), ())
        zeros += index.patch_idx[begin : begin + rows][~block.any(axis=1)].tolist()
        target.write(task.first_row + begin, stored)
    assert first is not None
    return SliceDone(first, None, tuple(zeros))
