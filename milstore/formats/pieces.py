"""One feature vector a patch, each in a file of its own: pieces of a pack, gathered by processes that start quickly."""

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from milstore.errors import DataError
from milstore.formats.npy import vector_from_npy
from milstore.formats.pt import vector_from_pt
from milstore.formats.pt_plain import PlainFile, plain_file
from milstore.store.names import clip
from milstore.store.pack_matrix import PackTarget

LARGEST = 1 << 26
"""Bytes that the file of one vector may have."""
_BLOCK_BYTES = 1 << 19
"""What is read before it is looked at and written: little enough to stay in a processor's cache."""
_TOGETHER = 64
"""Files that are open at once: those that are not in memory yet are asked for together, and waited for only then."""
_NOW = getattr(os, "RWF_NOWAIT", 0)
"""Reads what is in memory and waits for no disk, on systems that can."""

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
    path = f"{root}/{file}"
    descriptor = _opened(path)
    try:
        return _parser(file)(_whole(descriptor, path), _shown(path))
    finally:
        os.close(descriptor)


def _shown(path: str) -> str:
    return path if len(path) <= 300 else clip(path, 300)


def _opened(path: str) -> int:
    # Half the system calls of a file object, a hundred thousand times.
    try:
        return os.open(path, os.O_RDONLY)
    except OSError as error:
        raise DataError(f"{_shown(path)} cannot be read: {error.strerror}") from error


def _whole(descriptor: int, path: str) -> bytes:
    """The bytes of a file."""
    try:
        size = os.fstat(descriptor).st_size
        data = os.pread(descriptor, size, 0) if size <= LARGEST else b""
    except OSError as error:
        raise DataError(f"{_shown(path)} cannot be read: {error.strerror}") from error
    if size > LARGEST:
        raise DataError(f"{_shown(path)} has {size} bytes: that is too large for the vector of one patch")
    if not data:
        raise DataError(f"{_shown(path)} is empty: make it anew")
    return data


def _ask_for(descriptor: int) -> None:
    """Have the system fetch a file, without waiting for it."""
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)


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

    def read(self, descriptor: int, numbers: memoryview, flags: int = 0) -> bool:
        """Read a file's numbers; False if it is another kind of file, cannot be read, or is not there at once."""
        try:
            size = os.preadv(descriptor, (self._head, numbers, self._tail), 0, flags)
        except OSError:
            return False
        return size == self._plain.size and self._plain.is_like(self._frame, numbers)


def pack_piece(piece: Piece) -> bool:
    """Write one piece; False if the pack is float16 and a vector is not, so that the pack is not to be.

    DataError as for `milstore.formats.vectors.pack_vectors`.
    """
    dtype = np.dtype(piece.target.dtype)
    rows = max(1, _BLOCK_BYTES // (piece.target.n_features * dtype.itemsize))
    block = np.empty((min(rows, len(piece.files)), piece.target.n_features), dtype)
    reader = _Reader(piece, block)
    for first in range(0, len(piece.files), rows):
        files = piece.files[first : first + rows]
        if not all(reader.read(i, files[i : i + _TOGETHER]) for i in range(0, len(files), _TOGETHER)):
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


class _Reader:
    """Reads the files of a piece into rows of a block."""

    def __init__(self, piece: Piece, block: Vector) -> None:
        self._piece = piece
        self._block = block
        self._rows = [memoryview(row) for row in block.view(np.uint8)]
        # The folder inside a file is called as the file is, so that those of a length of name are laid out alike.
        self._alike: dict[int, _AlikeFiles] = {}

    def read(self, first: int, files: Sequence[str]) -> bool:
        """Read files into rows from `first` on. False, as `pack_piece`, if numbers are too wide for the pack.

        A disk takes long to answer but answers many at once, and so does a server: whoever asks for one file after
        another waits for each.
        """
        waiting: list[tuple[int, int]] = []
        try:
            for i, file in enumerate(files):
                descriptor = _opened(f"{self._piece.root}/{file}")
                if self._read_alike(descriptor, first + i, file, _NOW):
                    os.close(descriptor)
                else:
                    waiting.append((i, descriptor))
                    _ask_for(descriptor)
            return all(
                self._read_alike(descriptor, first + i, files[i]) or self._read_any(descriptor, first + i, files[i])
                for i, descriptor in waiting
            )
        finally:
            for _, descriptor in waiting:
                os.close(descriptor)

    def _read_alike(self, descriptor: int, row: int, file: str, flags: int = 0) -> bool:
        """Read a file that is laid out as one before it; False if it is not, or not there at once."""
        alike = self._alike.get(_length_of_name(file))
        return alike is not None and alike.read(descriptor, self._rows[row], flags)

    def _read_any(self, descriptor: int, row: int, file: str) -> bool:
        """Read any file; False if its numbers are too wide for the pack."""
        path, width = f"{self._piece.root}/{file}", self._block.shape[1]
        data = _whole(descriptor, path)
        vector = _parser(file)(data, _shown(path))
        if len(vector) != width:
            raise DataError(
                f"{clip(file, 200)} has {len(vector)} numbers and {clip(self._piece.model, 200)} has {width}: "
                "the features of one encoder are of one length"
            )
        if self._block.dtype == np.float16 and vector.dtype.itemsize != 2:
            return False
        with np.errstate(over="ignore"):
            self._block[row] = vector
        plain = plain_file(data) if _is_pt(file) else None
        if plain is not None and plain.dtype == self._block.dtype.str:
            self._alike[_length_of_name(file)] = _AlikeFiles(plain)
        return True


def _length_of_name(file: str) -> int:
    return len(file) - file.rfind("/")


def _finite_rows(block: Vector) -> npt.NDArray[np.bool_]:
    """Which rows hold neither NaN nor infinity."""
    if block.dtype != np.float16:
        return np.asarray(np.isfinite(block).all(axis=1))
    # NumPy widens float16 to look at it; in both NaN and infinity all bits of the exponent are set.
    exponent = np.uint16(0x7C00)
    largest: npt.NDArray[np.uint16] = (block.view(np.uint16) & exponent).max(axis=1)
    return largest < exponent
