"""Reads NumPy arrays in torch's `.pt` files. Imports torch.

`torch.load(weights_only=True)` refuses them until the types that rebuild an array are allowed by name. Allowed in their place
are stand-ins of ours, which take down what the file says: NumPy's own code sees nothing of it before it was checked.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from milstore.errors import DataError
from milstore.formats.interface import Vectors
from milstore.formats.npy import from_bfloat16
from milstore.formats.pt_load import load
from milstore.formats.slice_arrays import LARGEST
from milstore.store.names import clip

_KINDS = ("f2", "f4", "f8")


class _Kind:
    """In the place of `numpy.dtype`."""

    def __init__(self, code: object, *_: object) -> None:
        self.code = code
        self.order = "<"

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "=", "|"):
            raise ValueError("the type of an array cannot be understood")
        self.order = state[1]


class _Array:
    """In the place of `numpy.ndarray`."""

    def __init__(self) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("an array cannot be understood")
        self.state = state


def _made(*_: object) -> _Array:
    """In the place of NumPy's `_reconstruct`, which makes an empty array to be filled."""
    return _Array()


_ALLOWED = [
    (_made, "numpy._core.multiarray._reconstruct"),
    (_made, "numpy.core.multiarray._reconstruct"),
    (_Array, "numpy.ndarray"),
    (_Kind, "numpy.dtype"),
]


def load_array(path: Path) -> Vectors:
    """The one array of floats that a `.pt` file holds.

    Raises:
        DataError: the file is damaged, or holds anything else than an array of float16, float32, float64 or bfloat16.
    """
    loaded, shown = load(path, LARGEST, "the features of one slide", allowed=_ALLOWED), clip(str(path), 300)
    if not isinstance(loaded, _Array) or not loaded.state:
        raise DataError(f"{shown} holds no NumPy array: save the features (N, D) alone")
    _, shape, kind, fortran, data = loaded.state
    fits = isinstance(shape, tuple) and all(type(each) is int and each >= 0 for each in shape)
    if not fits or not isinstance(kind, _Kind):
        raise DataError(f"{shown} holds an array that cannot be understood: save the features (N, D) by torch.save")
    if kind.code not in _KINDS and not _is_bfloat16(kind):
        raise DataError(f"{shown} holds an array of type {clip(str(kind.code), 20)}: features are floats (N, D)")
    dtype = np.dtype(f"{'>' if kind.order == '>' else '<'}{kind.code if kind.code in _KINDS else 'u2'}")
    if not isinstance(data, bytes) or len(data) != math.prod(shape) * dtype.itemsize:
        raise DataError(f"{shown} declares an array of shape {clip(str(shape))} and holds other bytes: it is damaged")
    values = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    array: Vectors = from_bfloat16(values) if dtype.kind == "u" else values
    return array


def _is_bfloat16(kind: _Kind) -> bool:
    """Whether this is how NumPy pickles what it does not know: two bytes without meaning."""
    return kind.code == "V2"
