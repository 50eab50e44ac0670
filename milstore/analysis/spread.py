"""How many slices a case's top patches touch, against what drawing by lot would touch."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from milstore.analysis import correlation
from milstore.analysis.correlation import COLUMNS, by_class
from milstore.analysis.ties import Columns, cut_note, of_columns

if TYPE_CHECKING:
    import pyarrow as pa

_RELATIVE = "_relative"
"""Behind the names of what is said of the relative spread."""


def expected_ratio(slice_sizes: Sequence[int], k: int) -> float:
    """Mean share of slices that hold one of k patches drawn without replacement from the case's n.

    A slice of m patches holds none with probability C(n - m, k) / C(n, k) (hypergeometric), and the mean of a sum is the
    sum of the means, whatever the slices have to do with each other.

    Args:
        slice_sizes: patches of each slice, each at least 1.
        k: patches drawn, 0 to the sum of the sizes.

    >>> expected_ratio([1, 1], 1), round(expected_ratio([3, 1], 2), 6)
    (0.5, 0.75)
    """
    size_G = np.asarray(slice_sizes, np.float64)
    left_K = size_G.sum() - np.arange(k)
    # C(n - m, k) / C(n, k) is the chance that each of k draws in turn misses the slice: (n - m - i) / (n - i).
    none_G = np.prod(np.maximum(0, left_K - size_G[:, None]) / left_K, axis=1)
    return float(np.mean(1 - none_G))


def told(column: Columns) -> list[str]:
    """How many of a case's top patches tie with one left out."""
    tied = of_columns(column, "tied_patches", "top_patches")
    return cut_note(tied, "top patches", "Where these lie, and so how far they spread, is decided by their names.")


def answer(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The correlations with the error by class: of the share of slices touched, and of the relative spread."""
    relative = [{**row, **{name: row.get(f"{name}{_RELATIVE}", row[name]) for name in COLUMNS}} for row in rows]
    named = [
        {**row, "counted": what} for of, what in ((rows, "slices touched"), (relative, "relative spread")) for row in of
    ]
    return correlation.answer(named)


def spread(table: "pa.Table", **_bound: object) -> "pa.Table":
    """Adds what is expected by lot, and the rank correlation with the error over all rows.

    Args:
        table: case_id, true_class, pred_class, outcome, error, patches, top_patches, slices, touched_slices, tied_patches, ratio,
            slice_sizes (a list), subset, split, run_id; a row per run and case.
        _bound: the question's parameters; the rows hold what they led to.

    Returns:
        The rows without slice_sizes and with expected_ratio, relative_spread (ratio over expected ratio), and the columns
        of `correlation.COLUMNS` of the ratio and the error; with `_relative` behind their names those of the relative
        spread and the error. The least spread first.
    """
    import pyarrow as pa

    from milstore.analysis.arrays import array

    expected = np.array(
        [
            expected_ratio(sizes, k)
            for sizes, k in zip(table["slice_sizes"].to_pylist(), table["top_patches"].to_pylist(), strict=True)
        ],
        dtype=np.float64,
    )
    ratio, error = np.array(table["ratio"].to_pylist(), np.float64), table["error"].to_pylist()
    relative = ratio / expected
    cases, classes = table["case_id"].to_pylist(), table["true_class"].to_pylist()
    # Rounded, because the same spread by two ways must be a tie and not a rank apart.
    found = {
        suffix: by_class(list(zip(np.round(values, 9).tolist(), error, cases, strict=True)), classes)
        for suffix, values in (("", ratio), (_RELATIVE, relative))
    }
    columns: dict[str, Any] = {
        name: table[name]
        for name in (
            "case_id",
            "true_class",
            "pred_class",
            "outcome",
            "patches",
            "top_patches",
            "slices",
            "touched_slices",
            "tied_patches",
        )
    }
    numbers = {"ratio": ratio, "expected_ratio": expected, "relative_spread": relative, "error": error}
    columns |= {name: array(values, pa.float64()) for name, values in numbers.items()}
    columns |= {name: table[name] for name in ("subset", "split", "run_id")}
    for suffix, statistics in found.items():
        for column, kind in COLUMNS.items():
            if not (suffix and column in ("n", "n_cases")):
                columns[f"{column}{suffix}"] = array([statistics[name][column] for name in classes], kind)
    with_statistics = pa.table(columns)
    # A stable sort: ties stay in natural order.
    return with_statistics.take(array(np.argsort(np.round(relative, 9), kind="stable"), pa.int64()))
