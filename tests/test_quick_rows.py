"""Rows are taken out of tables in a quick way, and are what Altair makes of them."""

import json
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import pytest

from milstore.charts.quick_rows import quick_rows, rows_of

COLUMNS: dict[str, Any] = {
    "number": [0.5, float("nan"), float("inf")],
    "short": np.array([0.1, 0.2, 0.3], np.float32),
    "count": [1, -2, 3],
    "small": np.array([1, 2, 3], np.uint8),
    "truth": [True, False, True],
    "text": ["a", None, "c"],
    "object": pd.Series(["a", "b", "c"], dtype=object),
    "nothing": pd.Series([None, None, None], dtype=object),
}
"""By its kind: what becomes a list here."""
LEFT: dict[str, Any] = {
    "category": pd.Categorical(["a", "b", "a"]),
    "time": pd.to_datetime(["2026-01-01", "2026-01-02", None]),
    "nullable": pd.array([1, None, 3], dtype="Int64"),
    "mixed": pd.Series([1, "b", None], dtype=object),
    "lists": pd.Series([[1], [2, 3], []], dtype=object),
}
"""By its kind: what is left to Altair."""


def drawn(frame: pd.DataFrame) -> str:
    """All that a chart of a table says."""
    return json.dumps(alt.Chart(frame).mark_point().to_dict())


@pytest.mark.parametrize("name", [*COLUMNS, *LEFT])
def test_rows_are_what_altair_makes(name: str) -> None:
    """Of each kind of column, to the last letter; without rows too."""
    frame = pd.DataFrame({"name": ["x", "y", "z"], name: {**COLUMNS, **LEFT}[name]}).set_axis([7, 7, 8])
    for each in (frame, frame.iloc[:0]):
        usual = drawn(each)
        with quick_rows():
            assert drawn(each) == usual
    assert (rows_of(frame) is None) == (name in LEFT)


@pytest.mark.parametrize("columns", [["a", "a"], ["a", 1]])
def test_names_that_altair_refuses_are_left_to_it(columns: list[Any]) -> None:
    """A name twice, or one that is no text."""
    assert rows_of(pd.DataFrame([[1, 2]], columns=columns)) is None


def test_too_many_rows_are_refused_as_by_altair() -> None:
    """5000 are the most, unless somebody has said otherwise."""
    frame = pd.DataFrame({"x": range(5001)})
    with quick_rows(), pytest.raises(alt.MaxRowsError):
        drawn(frame)
    with alt.data_transformers.disable_max_rows(), quick_rows():
        assert drawn(frame).count('"x"') == 5001
    assert alt.data_transformers.active == "default"


def test_another_transformer_is_left_alone() -> None:
    """What somebody has set for Altair holds."""
    with alt.data_transformers.enable("csv"), quick_rows():
        assert alt.data_transformers.active == "csv"
