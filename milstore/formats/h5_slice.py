"""The features of a slice in HDF5."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from milstore.formats.hdf5 import check_filled, opened_hdf5, own_dataset, read_whole
from milstore.formats.slice_arrays import Array, SliceArrays


class H5Slice(SliceArrays):
    """A slice a file: HDF5 with features (N, D), patch_idx (N) and perhaps coords (N, 2)."""

    endings = ("h5", "hdf5")

    def recognises(self, path: Path) -> bool:
        """An HDF5 file with `features` and `patch_idx`."""
        with opened_hdf5(path) as file:
            return "features" in file and "patch_idx" in file

    @contextmanager
    def opened(self, path: Path) -> Iterator["_H5"]:
        """Its arrays."""
        with opened_hdf5(path) as file:
            yield _H5(file, path)


class _H5:
    def __init__(self, file: Any, path: Path) -> None:
        self._file = file
        self._path = path

    def has(self, name: str) -> bool:
        return name in self._file

    def declared(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        dataset = own_dataset(self._file, name, self._path)
        return dataset.shape, dataset.dtype

    def read(self, name: str) -> Array:
        dataset = own_dataset(self._file, name, self._path)
        values = read_whole(dataset, name, self._path)
        check_filled(dataset, values, name, self._path)
        return values
