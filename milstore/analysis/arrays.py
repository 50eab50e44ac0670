"""Arrow arrays made from their buffers: `pyarrow.array` imports pandas, which takes longer than most answers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_NUMBERS = {pa.int32(): np.int32, pa.int64(): np.int64, pa.float64(): np.float64}


def array(values: Sequence[Any] | NDArray[Any], kind: pa.DataType, valid: NDArray[np.bool_] | None = None) -> pa.Array:
    """An array of texts or numbers, None for what is null.

    Args:
        values: of the type, or None.
        kind: string, int32, int64 or float64.
        valid: which values are not null, of many numbers among which there is no None.

    >>> array(["a", None, "ö"], pa.string()).to_pylist(), array([1, None], pa.int64()).to_pylist()
    (['a', None, 'ö'], [1, None])
    >>> array(np.array([2, 3]), pa.int32(), np.array([True, False])).to_pylist()
    [2, None]
    """
    if valid is None:
        valid = np.array([value is not None for value in values], np.bool_)
        values = [0 if value is None else value for value in values] if kind != pa.string() else values
    there = pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    if kind != pa.string():
        numbers = np.array(values, _NUMBERS[kind])
        return pa.Array.from_buffers(kind, len(valid), [there, pa.py_buffer(numbers.tobytes())])
    texts = [b"" if value is None else value.encode() for value in values]
    ends = np.cumsum([0, *map(len, texts)], dtype=np.int32)
    return pa.Array.from_buffers(kind, len(valid), [there, pa.py_buffer(ends.tobytes()), pa.py_buffer(b"".join(texts))])


def table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """A table of rows; what a row does not name is null in it."""
    columns = [array([row.get(field.name) for row in rows], field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)
