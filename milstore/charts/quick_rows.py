"""Rows of tables for Vega-Lite without Altair's copies of the table.

For each part of a chart that has a table, Altair copies the table, then each of its columns two or three times as pandas
does it, whatever their size: a quarter of the time of a report. Columns of plain numbers, truth values and texts become
lists here; a table with any other is left to Altair.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

_NAME = "milstore"


@contextmanager
def quick_rows() -> Iterator[None]:
    """In this block, charts take their rows out of tables in the quick way, unless somebody has set another.

    >>> frame = pd.DataFrame({"case": ["2", None], "error": [0.5, float("nan")], "n": [1, 2]})
    >>> chart = alt.Chart(frame).mark_point().encode(x="error:Q", y="case:N")
    >>> usual = chart.to_dict()
    >>> with quick_rows():
    ...     chart.to_dict() == usual
    True
    """
    transformers = alt.data_transformers
    if transformers.active != "default":
        yield
        return
    transformers.register(_NAME, _taken)
    with transformers.enable(_NAME, **transformers.options):
        yield


def _taken(data: Any = None, **options: Any) -> Any:
    """Altair's transformer of data, with rows taken in the quick way where they can be."""
    if data is None:
        return lambda late: _taken(late, **options)
    rows = rows_of(data) if isinstance(data, pd.DataFrame) else None
    if rows is None:
        return alt.default_data_transformer(data, **options)
    limited: Any = alt.limit_rows({"values": rows}, **options)
    return limited


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]] | None:
    """The rows of a table as Altair has them: what is missing or infinite is None. None where Altair itself must look."""
    names = frame.columns
    if not (names.is_unique and all(type(name) is str for name in names)) or isinstance(frame.index, pd.MultiIndex):
        return None
    columns = [_values(frame[name]) for name in names]
    if not columns or any(column is None for column in columns):
        return None
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _values(column: Any) -> list[Any] | None:
    """What stands in a column of a table, in Python's own kinds. None where Altair itself must look."""
    if isinstance(column.dtype, pd.StringDtype):
        texts: list[Any] = column.to_numpy(dtype=object, na_value=None).tolist()
        return texts
    if not isinstance(column.dtype, np.dtype) or column.dtype.kind not in "fiubO":
        return None
    values: list[Any] = column.tolist()
    if column.dtype.kind == "f":
        return [value if math.isfinite(value) else None for value in values]
    # A mixture may come out of Altair as pandas takes it to be.
    return values if column.dtype.kind != "O" or {type(value) for value in values} in ({str}, {type(None)}) else None
