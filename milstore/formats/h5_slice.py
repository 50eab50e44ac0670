"""The features of a slice in HDF5."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from milstore.errors import DataError
from milstore.formats.csv_table import file_size
from milstore.formats.hdf5 import check_filled, opened_hdf5, own_dataset, read_whole
from milstore.formats.interface import Layout, reported
from milstore.formats.slice_arrays import PARTS, Array, SliceArrays
from milstore.formats.tool_h5 import found_in
from milstore.store.names import named

_EXPECTED = (
    "milstore's own: features and patch_idx",
    "TRIDENT: features, and coords with attributes",
    "CLAM: features and coords",
    "STAMP: feats and coords",
)


class H5Slice(SliceArrays):
    """A slice a file: HDF5 with features (N, D), patch_idx (N) and perhaps coords (N, 2)."""

    endings = ("h5", "hdf5")

    def recognises(self, path: Path) -> bool:
        """An HDF5 file with `features` and `patch_idx`."""
        with opened_hdf5(path) as file:
            return "features" in file and "patch_idx" in file

    def layout(self, path: Path) -> Layout:
        """The declared contents of a file. Raises DataError, naming what was found, if no format knows it."""
        if file_size(path, "a file of features"):
            with reported(path), opened_hdf5(path) as file:
                _check_known(file, path)
        return super().layout(path)

    @contextmanager
    def opened(self, path: Path) -> Iterator["_H5"]:
        """Its arrays."""
        with opened_hdf5(path) as file:
            yield _H5(file, path)


def _check_known(file: Any, path: Path) -> None:
    missing = [name for name in PARTS[:2] if name not in file]
    if missing:
        raise DataError(
            f"{path} has no {named(missing)}; it holds {found_in(file)}, and a folder holds files of one tool: {'; '.join(_EXPECTED)}"
        )


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
