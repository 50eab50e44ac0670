"""The features of a slice in NumPy's .npz."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from milstore.formats.npy import check_size, read_header
from milstore.formats.slice_arrays import Array, SliceArrays


class NpzSlice(SliceArrays):
    """A slice a file: NumPy's .npz with features (N, D), patch_idx (N) and perhaps coords (N, 2)."""

    endings = ("npz",)

    def recognises(self, path: Path) -> bool:
        """A zip file with an array `features`."""
        with zipfile.ZipFile(path) as archive:
            return "features.npy" in archive.namelist()

    @contextmanager
    def opened(self, path: Path) -> Iterator["_Npz"]:
        """Its arrays."""
        with zipfile.ZipFile(path) as archive:
            yield _Npz(archive, path)


class _Npz:
    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self._archive = archive
        self._path = path

    def has(self, name: str) -> bool:
        return f"{name}.npy" in self._archive.namelist()

    def declared(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        entry = self._archive.getinfo(f"{name}.npy")
        with self._archive.open(entry) as stream:
            shape, _, dtype = read_header(stream, f"{name} in {self._path}")
            check_size(shape, dtype, entry.file_size - stream.tell(), f"{name} in {self._path}")
        return shape, dtype

    def read(self, name: str) -> Array:
        with self._archive.open(f"{name}.npy") as stream:
            array: Array = np.lib.format.read_array(stream, allow_pickle=False)
            # The checksum is compared when the end is met.
            stream.read(1)
        return array
