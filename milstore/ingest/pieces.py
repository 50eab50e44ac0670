"""One feature vector a patch, each in a file of its own: pieces of a pack, gathered by processes that start quickly."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from milstore.errors import DataError
from milstore.ingest.npyfile import vector_from_npy
from milstore.ingest.ptfile import vector_from_pt
from milstore.ingest.ptplain import PlainFile, plain_file
from milstore.store.names import clip
from milstore.store.packtarget import PackTarget

LARGEST = 1 << 26
"""Bytes that the file of one vector may have."""
_BLOCK_BYTES = 1 << 19
"""What is read before it is looked at and written: little enough to stay in a processor's cache."""

Vector = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Piece:
    """A contiguous piece of a pack."""

    root: str
    files: Sequence[str]
    first_row: int
    model: str
    """The file whose vector has the length that all must have."""
    target: PackTarget


def read_vector(root: str | Path, file: str) -> Vector:
    """The vector (D,) of a `.pt` or `.npy` file. DataError, naming the file, if there is none in it."""
    return _parser(file)(*_whole(root, file))


def _whole(root: str | Path, file: str) -> tuple[bytes, str]:
    """The bytes of a file, and its name for messages."""
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
    return data, name


def _is_pt(file: str) -> bool:
    return file[-3:].lower() == ".pt"


def _parser(file: str) -> Callable[[bytes, str], Vector]:
    return vector_from_pt if _is_pt(file) else vector_from_npy


class _AlikeFiles:
    """Reads plain `.pt` files that are laid out as one that was understood: the numbers go where they are wanted."""

    def __init__(self, plain: PlainFile) -> None:
        self._plain = plain
        # One byte more than the others may have, to see that they end where they should.
        self._frame = bytearray(plain.size - plain.n_bytes + 1)
        self._head = memoryview(self._frame)[: plain.start]
        self._tail = memoryview(self._frame)[plain.start :]

    def read(self, path: str, numbers: memoryview) -> bool:
        """Read a file's numbers; False if it is another kind of file, or cannot be read."""
        try:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                size = os.readv(descriptor, (self._head, numbers, self._tail))
            finally:
                os.close(descriptor)
        except OSError:
            return False
        return size == self._plain.size and self._plain.is_like(self._frame, numbers)


def pack_piece(piece: Piece) -> bool:
    """Write one piece; False if the pack is float16 and a vector is not, so that the pack is not to be.

    DataError as for `milstore.ingest.vectors.pack_vectors`.
    """
    dtype = np.dtype(piece.target.dtype)
    rows = max(1, _BLOCK_BYTES // (piece.target.n_features * dtype.itemsize))
    block = np.empty((min(rows, len(piece.files)), piece.target.n_features), dtype)
    read = _reader(piece, block)
    for first in range(0, len(piece.files), rows):
        files = piece.files[first : first + rows]
        if not all(read(row, file) for row, file in enumerate(files)):
            return False
        vectors = block[: len(files)]
        finite = _finite_rows(vectors)
        if not finite.all():
            raise DataError(
                f"{clip(files[int(np.argmin(finite))], 200)} holds NaN, infinity or numbers too large for "
                f"{piece.target.dtype}: make it anew"
            )
        piece.target.write(piece.first_row + first, vectors)
    return True


def _reader(piece: Piece, block: Vector) -> Callable[[int, str], bool]:
    """What reads a file into a row of the block; False, as `pack_piece`, if its numbers are too wide for that."""
    width, root = block.shape[1], piece.root
    half = block.dtype == np.float16
    rows = [memoryview(row) for row in block.view(np.uint8)]
    # The folder inside a file is called as the file is, so that those of a length of name are laid out alike.
    known: dict[int, _AlikeFiles] = {}

    def read(row: int, file: str) -> bool:
        length = len(file) - file.rfind("/")
        alike = known.get(length)
        if alike is not None and alike.read(f"{root}/{file}", rows[row]):
            return True
        data, name = _whole(root, file)
        vector = _parser(file)(data, name)
        if len(vector) != width:
            raise DataError(
                f"{clip(file, 200)} has {len(vector)} numbers and {clip(piece.model, 200)} has {width}: "
                "the features of one encoder are of one length"
            )
        if half and vector.dtype.itemsize != 2:
            return False
        with np.errstate(over="ignore"):
            block[row] = vector
        plain = plain_file(data) if _is_pt(file) else None
        if plain is not None and plain.dtype == block.dtype.str:
            known[length] = _AlikeFiles(plain)
        return True

    return read


def _finite_rows(block: Vector) -> npt.NDArray[np.bool_]:
    """Which rows hold neither NaN nor infinity."""
    if block.dtype != np.float16:
        return np.asarray(np.isfinite(block).all(axis=1))
    # NumPy widens float16 to look at it; in both NaN and infinity all bits of the exponent are set.
    exponent = np.uint16(0x7C00)
    largest: npt.NDArray[np.uint16] = (block.view(np.uint16) & exponent).max(axis=1)
    return largest < exponent
