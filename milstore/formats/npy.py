"""Reads arrays in NumPy's format. Declared sizes are checked before memory is allocated; nothing is unpickled."""

import io
import math
from functools import lru_cache
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from milstore.errors import DataError

_LONGEST_HEADER = 1 << 14


def read_header(stream: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, Fortran order and dtype that a `.npy` stream declares, the stream left at the first number.

    Raises:
        DataError: it is no such stream, or declares Python objects, which only pickle could read.
    """
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream, _LONGEST_HEADER)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream, _LONGEST_HEADER)
        else:
            raise DataError(f"{name} has version {version} of NumPy's format: save it with numpy.save")
    except DataError:
        raise
    except Exception as error:
        # NumPy reads the header as Python, and raises what that meets: ValueError, SyntaxError, TokenError, …
        raise DataError(f"{name} is damaged, or no array of NumPy's format: create it again") from error
    if dtype.hasobject:
        raise DataError(f"{name} holds Python objects, which only pickle could read: save it as an array of numbers")
    return shape, fortran, dtype


def check_size(shape: tuple[int, ...], dtype: np.dtype[Any], size: int, name: str) -> None:
    """Raises DataError unless an array of this shape takes exactly `size` bytes."""
    declared = math.prod(shape) * dtype.itemsize
    if declared != size:
        raise DataError(f"{name} declares {declared} bytes and has {max(size, 0)}: it is truncated or damaged")


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Whether this is how NumPy, which does not know bfloat16, stores it: two bytes without meaning."""
    return dtype.kind == "V" and dtype.itemsize == 2 and dtype.names is None


def from_bfloat16(bits: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """bfloat16 numbers, given by their bits, as float32: the same numbers, for bfloat16 is float32 cut short."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def vector_from_npy(data: bytes, name: str) -> npt.NDArray[np.floating]:
    """The vector (D,) of a `.npy` file; bfloat16 comes as float32. DataError if it holds anything else."""
    shape, dtype, start = _described(data[:_LONGEST_HEADER], name)
    check_size(shape, dtype, len(data) - start, name)
    if dtype.kind != "f" and not is_bfloat16(dtype):
        raise DataError(f"{name} holds {dtype}, not floats: save it as float16, float32 or float64")
    length = math.prod(shape)
    if not shape or length != max(shape):
        raise DataError(f"{name} has shape {shape}, and a patch has one vector (D)")
    if is_bfloat16(dtype):
        return from_bfloat16(np.frombuffer(data, np.uint16, length, start))
    return np.frombuffer(data, dtype, length, start)


def _described(head: bytes, name: str) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    # Headers are padded to 64 bytes, and those of a cohort's files are all alike.
    end = head.find(b"\n") + 1
    if not (0 < end <= 256 and head[:6] == b"\x93NUMPY"):
        return _parsed_as(head, name)
    try:
        return _parsed(head[:end])
    except DataError:
        # Errors are not kept, so that each names its own file.
        return _parsed_as(head, name)


@lru_cache(maxsize=256)
def _parsed(head: bytes) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    return _parsed_as(head, "the file")


def _parsed_as(head: bytes, name: str) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    stream = io.BytesIO(head)
    shape, _, dtype = read_header(stream, name)
    return shape, dtype, stream.tell()
