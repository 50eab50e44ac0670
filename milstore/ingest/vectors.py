"""One feature vector a patch, each in a file of its own, gathered into a pack by several processes."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from milstore.errors import DataError
from milstore.ingest.npyfile import vector_from_npy
from milstore.ingest.progress import Progress
from milstore.ingest.ptfile import vector_from_pt
from milstore.ingest.workers import mapped
from milstore.store.features import FeaturePack, PackTarget
from milstore.store.names import clip

EXTENSIONS = ("pt", "npy")
LARGEST = 1 << 26
"""Bytes that the file of one vector may have."""
_CHUNK_BYTES = 1 << 23
_FEW = 2000

Vector = npt.NDArray[np.floating]


class NotHalf(Exception):  # noqa: N818 - a turn of the work, not a fault
    """A vector is not float16, so that the pack must be float32."""


@dataclass(frozen=True, slots=True)
class _Task:
    """A contiguous piece of a pack."""

    root: str
    files: Sequence[str]
    first_row: int
    model: str
    """The file whose vector has the length that all must have."""
    target: PackTarget


def read_vector(root: str | Path, file: str) -> Vector:
    """The vector (D,) of a `.pt` or `.npy` file. DataError, naming the file, if there is none in it."""
    path = f"{root}/{file}"
    name = path if len(path) <= 300 else clip(path, 300)
    try:
        # Half the system calls of a file object, a hundred thousand times.
        descriptor = os.open(path, os.O_RDONLY)
        try:
            size = os.fstat(descriptor).st_size
            data = os.read(descriptor, size) if size <= LARGEST else b""
        finally:
            os.close(descriptor)
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror}") from error
    if size > LARGEST:
        raise DataError(f"{name} has {size} bytes: that is too large for the vector of one patch")
    if not data:
        raise DataError(f"{name} is empty: make it anew")
    return _parser(file)(data, name)


def _parser(file: str) -> Callable[[bytes, str], Vector]:
    return vector_from_pt if file[-3:].lower() == ".pt" else vector_from_npy


def pack_vectors(
    pack: FeaturePack, root: Path, files: Sequence[str], *, jobs: int | None = None, progress: Progress
) -> None:
    """Put the vectors of files (one a row of `pack.patches`, in that order) into a pack.

    Raises:
        DataError: a file is damaged, its vector has another length than the pack's, or holds NaN or infinity.
        NotHalf: the pack is float16 and a vector is not.
    """
    rows = max(64, _CHUNK_BYTES // (pack.n_features * pack.dtype.itemsize))
    tasks = [_Task(str(root), files[i : i + rows], i, files[0], pack.target) for i in range(0, len(files), rows)]
    for task, half in zip(tasks, mapped(_pack_piece, tasks, jobs=1 if len(files) < _FEW else jobs), strict=True):
        if not half and pack.dtype == np.float16:
            raise NotHalf
        pack.accept(task.first_row, len(task.files))
        progress("packing features", task.first_row + len(task.files), len(files))


def _pack_piece(task: _Task) -> bool:
    """Write one piece; False, with nothing written, if the pack is float16 and a vector is not."""
    width = task.target.n_features
    half = task.target.dtype == "float16"
    block = np.empty((len(task.files), width), task.target.dtype)
    with np.errstate(over="ignore"):
        for row, file in enumerate(task.files):
            vector = read_vector(task.root, file)
            if len(vector) != width:
                raise DataError(
                    f"{clip(file, 200)} has {len(vector)} numbers and {clip(task.model, 200)} has {width}: "
                    "the features of one encoder are of one length"
                )
            if half and vector.dtype.itemsize != 2:
                return False
            block[row] = vector
    finite = _finite_rows(block)
    if not finite.all():
        file = task.files[int(np.argmin(finite))]
        raise DataError(
            f"{clip(file, 200)} holds NaN, infinity or numbers too large for {task.target.dtype}: make it anew"
        )
    task.target.write(task.first_row, block)
    return True


def _finite_rows(block: Vector) -> npt.NDArray[np.bool_]:
    """Which rows hold neither NaN nor infinity."""
    if block.dtype != np.float16:
        return np.asarray(np.isfinite(block).all(axis=1))
    # NumPy widens float16 to look at it; in both NaN and infinity all bits of the exponent are set.
    exponent = np.uint16(0x7C00)
    largest: npt.NDArray[np.uint16] = (block.view(np.uint16) & exponent).max(axis=1)
    return largest < exponent
