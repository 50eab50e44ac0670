"""The features of a slice as arrays of one file: `features` (N, D), `patch_idx` (N,) and maybe `coords` (N, 2).

A container that holds arrays by name is a format by its `opened` alone.
"""

import math
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from milstore.errors import DataError
from milstore.formats.csv_table import file_size
from milstore.formats.interface import Layout, Vectors, reported
from milstore.formats.npy import is_bfloat16
from milstore.store.names import named

LARGEST = 1 << 33
"""Bytes that the arrays of one slice may take."""
PARTS = ("features", "patch_idx", "coords")

Array = npt.NDArray[Any]


class NamedArrays(Protocol):
    """Arrays of an open file."""

    def has(self, name: str) -> bool:
        """Whether there is an array of this name."""

    def declared(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and type that the file declares, the array not read."""

    def read(self, name: str) -> Array:
        """The array."""


class SliceArrays(ABC):
    """A format whose files hold these arrays by their names."""

    @abstractmethod
    def opened(self, path: Path) -> AbstractContextManager[NamedArrays]:
        """The arrays of a file that is no empty one."""

    def layout(self, path: Path) -> Layout:
        """The declared contents of a file.

        Raises:
            DataError: it is damaged, a part is missing, or the parts do not fit each other.
        """
        if not file_size(path, "a file of features"):
            raise DataError(f"{path} is empty: create it again")
        with reported(path), self.opened(path) as source:
            parts = {name: _without_batch(name, *source.declared(name)) for name in PARTS if source.has(name)}
            _check_parts(path, parts)
            patch_idx = source.read("patch_idx").reshape(parts["patch_idx"][0])
            coords = source.read("coords").reshape(parts["coords"][0]) if "coords" in parts else None
        (rows, width), dtype = parts["features"]
        return Layout(rows=rows, width=width, half=dtype == np.float16, patch_idx=patch_idx, xy=coords)

    def vectors(self, path: Path) -> Vectors:
        """The vectors (N, D) of a file, in the order of its rows."""
        with reported(path), self.opened(path) as source:
            values = source.read("features")
            return values.reshape(_without_batch("features", values.shape, values.dtype)[0])


def _without_batch(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of a part without the axis of one bag that some encoders leave in front: (1, N, D) is (N, D)."""
    own = 1 if name == "patch_idx" else 2
    return (shape[1:] if len(shape) == own + 1 and shape[0] == 1 else shape), dtype


def _check_parts(path: Path, parts: dict[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> None:
    missing = [name for name in PARTS[:2] if name not in parts]
    if missing:
        raise DataError(f"{path} has no {named(missing)}: it must hold features (N, D) and patch_idx (N)")
    (shape, dtype), (index_shape, index_dtype) = parts["features"], parts["patch_idx"]
    if len(shape) != 2 or 0 in shape or not (dtype.kind == "f" or is_bfloat16(dtype)):
        raise DataError(f"{path} has features of shape {shape} and type {dtype}: they must be floats (N, D)")
    if index_shape != shape[:1] or index_dtype.kind not in "iu":
        raise DataError(
            f"{path} has patch_idx of shape {index_shape} and type {index_dtype}: it must be {shape[0]} integers"
        )
    if "coords" in parts and (parts["coords"][0] != (shape[0], 2) or parts["coords"][1].kind not in "iuf"):
        raise DataError(f"{path} has coords of shape {parts['coords'][0]}: they must be numbers ({shape[0]}, 2)")
    if sum(math.prod(part) * kind.itemsize for part, kind in parts.values()) > LARGEST:
        raise DataError(f"{path} declares features of shape {shape}: that is too large for one slice")
