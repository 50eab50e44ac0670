"""The features of a whole slice in one file: .npz, .h5 or .parquet with `features`, `patch_idx` and maybe `coords`.

Every file is looked at twice: first what it declares, then, once that is known to fit the cohort, the numbers.
"""

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from milstore.errors import DataError
from milstore.formats.csv_table import file_size
from milstore.formats.hdf5 import check_filled, own_dataset
from milstore.formats.npy import check_size, is_bfloat16, read_header
from milstore.formats.pt import from_bfloat16
from milstore.store.names import clip, named

EXTENSIONS = ("npz", "h5", "hdf5", "parquet")
LARGEST = 1 << 33
"""Bytes that the arrays of one slice may take."""
PARTS = ("features", "patch_idx", "coords")

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class SliceIndex:
    """Which patches the rows of a slice's file are."""

    patch_idx: npt.NDArray[np.int64]
    """(N,), ascending"""
    order: npt.NDArray[np.int64]
    """(N,): row of the file that holds each of them"""
    coords: npt.NDArray[np.int64] | None
    """(N, 2): x and y of each, in pixels"""


@dataclass(frozen=True, slots=True)
class Declared:
    """What a slice's file says that it holds."""

    rows: int
    width: int
    half: bool
    """Whether the features are float16."""


def declared(path: Path) -> Declared:
    """What a file says that it holds, no array read.

    Raises:
        DataError: it is damaged, a part is missing, or the parts do not fit each other.
    """
    with _reported(path), _opened(path) as source:
        parts = {name: source.declared(name) for name in PARTS if source.has(name)}
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
    return Declared(shape[0], shape[1], dtype == np.float16)


def read_features(path: Path, index: SliceIndex) -> npt.NDArray[np.floating]:
    """The vectors (N, D) of a file that `declared` has looked at, by ascending patch_idx; bfloat16 comes as float32."""
    with _reported(path), _opened(path) as source:
        features = source.read("features")
    if len(features) != len(index.order):
        raise DataError(f"{path} holds {len(features)} rows and declares {len(index.order)}: it is damaged")
    if is_bfloat16(features.dtype):
        features = from_bfloat16(features.view(np.uint16))
    chosen: npt.NDArray[np.floating] = features[index.order]
    return chosen


def read_index(path: Path) -> SliceIndex:
    """Which patches the rows of a file are that `declared` has looked at. DataError if one stands twice."""
    with _reported(path), _opened(path) as source:
        patch_idx = source.read("patch_idx")
        coords = source.read("coords") if source.has("coords") else None
    whole = coords is None or (np.isfinite(coords).all() and (np.abs(coords) < 2**31).all())
    if patch_idx.min(initial=0) < 0 or patch_idx.max(initial=0) >= 2**31 or not whole:
        raise DataError(f"{path} has a patch_idx or coords outside 0 to {2**31 - 1}: correct it")
    order = np.argsort(patch_idx, kind="stable")
    numbers = patch_idx[order].astype(np.int64)
    double = numbers[1:][numbers[1:] == numbers[:-1]]
    if len(double):
        raise DataError(f"{path} has patch {named(double.tolist())} more than once: remove one")
    rounded = None if coords is None else np.rint(coords[order].astype(np.float64)).astype(np.int64)
    return SliceIndex(numbers, order, rounded)


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    """Turn what the libraries raise over a damaged file into a DataError that names it."""
    try:
        yield
    except DataError:
        raise
    except PermissionError as error:
        raise DataError(f"{path} cannot be read: Permission denied") from error
    except Exception as error:
        # zipfile, NumPy, h5py and Arrow raise what they meet.
        reason = clip(str(error).replace("\n", " "), 100)
        raise DataError(f"{path} is damaged, or not of the kind its name says ({reason}): make it anew") from error


@contextmanager
def _opened(path: Path) -> Iterator["_Npz | _H5 | _Parquet"]:
    if not file_size(path, "a file of features"):
        raise DataError(f"{path} is empty: make it anew")
    kind = path.suffix.lower()
    if kind == ".npz":
        with zipfile.ZipFile(path) as archive:
            yield _Npz(archive, path)
    elif kind == ".parquet":
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            yield _Parquet(file, path)
    else:
        import h5py

        with h5py.File(path, "r") as file:
            yield _H5(file, path)


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
        values = np.asarray(dataset[()])
        check_filled(dataset, values, name, self._path)
        return values


class _Parquet:
    def __init__(self, file: Any, path: Path) -> None:
        self._file = file
        self._path = path
        self._schema = file.schema_arrow

    def has(self, name: str) -> bool:
        return name in self._schema.names or (name == "coords" and {"x", "y"} <= set(self._schema.names))

    def declared(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        import pyarrow as pa

        rows = self._file.metadata.num_rows
        size = sum(self._file.metadata.row_group(i).total_byte_size for i in range(self._file.metadata.num_row_groups))
        if size > LARGEST:
            raise DataError(f"{self._path} declares {size} bytes: that is too large for one slice")
        if name == "coords" and name not in self._schema.names:
            return (rows, 2), np.dtype(np.float64)
        kind = self._schema.field(name).type
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
            return (rows,), np.dtype(kind.to_pandas_dtype())
        return (rows, self._width(name)), np.dtype(kind.value_type.to_pandas_dtype())

    def _width(self, name: str) -> int:
        for batch in self._file.iter_batches(batch_size=1, columns=[name]):
            first = batch.column(0)[0].as_py()
            return 0 if first is None else len(first)
        return 0

    def read(self, name: str) -> Array:
        import pyarrow as pa

        if name == "coords" and name not in self._schema.names:
            return np.stack([self.read("x"), self.read("y")], axis=1)
        column = self._file.read(columns=[name]).column(0).combine_chunks()
        if column.null_count:
            raise DataError(f"{self._path} has rows without {name}: fill or drop them")
        if not pa.types.is_nested(column.type):
            return np.asarray(column)
        values = column.flatten()
        if values.null_count or len(values) != len(column) * self._width(name) or not self._even(column):
            raise DataError(f"{self._path} has {name} of differing lengths: every row needs as many numbers")
        return np.asarray(values).reshape(len(column), -1)

    @staticmethod
    def _even(column: Any) -> bool:
        import pyarrow.compute as pc

        lengths = pc.min_max(pc.list_value_length(column)).as_py()
        return bool(lengths["min"] == lengths["max"])
