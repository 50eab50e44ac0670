"""The features of a slice in Parquet."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from milstore.errors import DataError
from milstore.formats.slice_arrays import LARGEST, Array, SliceArrays


class ParquetSlice(SliceArrays):
    """A slice a file: Parquet with a list of numbers a row (features), patch_idx and perhaps coords, or x and y."""

    endings = ("parquet",)

    def recognises(self, path: Path) -> bool:
        """A Parquet file with a column `features`."""
        return "features" in pq.read_schema(path).names

    @contextmanager
    def opened(self, path: Path) -> Iterator["_Parquet"]:
        """Its columns as arrays."""
        with pq.ParquetFile(path) as file:
            yield _Parquet(file, path)


class _Parquet:
    def __init__(self, file: Any, path: Path) -> None:
        self._file = file
        self._path = path
        self._schema = file.schema_arrow

    def has(self, name: str) -> bool:
        return name in self._schema.names or (name == "coords" and {"x", "y"} <= set(self._schema.names))

    def declared(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
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
        lengths = pc.min_max(pc.list_value_length(column)).as_py()
        return bool(lengths["min"] == lengths["max"])
