"""Spearman's rank correlation over cases, and its p-value."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from milstore.analysis.arrays import array


class RankCorrelation(NamedTuple):
    """Spearman's rho of pairs of numbers."""

    rho: float | None
    """-1 to 1; None where it is undefined: fewer than two pairs, or one side all the same."""
    p_value: float | None
    """Two-sided, by the t distribution; None where rho is, or for fewer than three pairs."""
    n: int
    """Number of pairs."""


def spearman(x: Sequence[float], y: Sequence[float]) -> RankCorrelation:
    """Spearman's rho of two lists of the same length; ties share their mean rank.

    >>> spearman([1, 2, 3], [2, 9, 4]).rho
    0.5
    >>> spearman([1, 1], [2, 3])
    RankCorrelation(rho=None, p_value=None, n=2)
    """
    if len(x) < 2 or len(set(x)) == 1 or len(set(y)) == 1:
        return RankCorrelation(None, None, len(x))
    # scipy.stats has all of this, and takes longer to import than the question to answer.
    from scipy.special import stdtr

    rho = float(np.corrcoef(mean_ranks(x), mean_ranks(y))[0, 1])
    freedom = len(x) - 2
    if not freedom:
        # Of two pairs rho is always 1 or -1: that is no evidence.
        return RankCorrelation(rho, None, len(x))
    t = math.inf if abs(rho) >= 1 else abs(rho) * math.sqrt(freedom / ((1 + rho) * (1 - rho)))
    return RankCorrelation(rho, float(2 * stdtr(freedom, -t)), len(x))


def mean_ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """The rank of each value, 1 for the lowest; equal values share the mean of their ranks.

    >>> mean_ranks([5, 7, 5]).tolist()
    [1.5, 3.0, 1.5]
    """
    _, place_N, count_U = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(count_U) - (count_U - 1) / 2)[place_N]
    return ranks


def with_error_correlation(table: pa.Table, group: str, x: str) -> pa.Table:
    """Add Spearman's rho of a column with the error, among the rows of each value of `group`.

    Args:
        table: has `group`, `x`, `case_id` and `error`.
        group: name of the column whose values are taken one by one.
        x: name of the column to correlate with the error.

    Returns:
        The table with the columns rho, p_value, n (predictions) and n_cases. The p-value supposes that rows are
        independent: it is null where several runs predicted the same case.
    """
    groups = table[group].to_pylist()
    rows = list(zip(groups, *(table[name].to_pylist() for name in (x, "error", "case_id")), strict=True))
    statistics = {name: _statistics([row[1:] for row in rows if row[0] == name]) for name in set(groups)}
    types = {"rho": pa.float64(), "p_value": pa.float64(), "n": pa.int64(), "n_cases": pa.int64()}
    for i, (column, kind) in enumerate(types.items()):
        table = table.append_column(column, array([statistics[name][i] for name in groups], kind))
    return table


def _statistics(rows: Sequence[tuple[float, float, str]]) -> tuple[float | None, float | None, int, int]:
    """rho, p_value, n and n_cases of rows of x, error and case; a case without a label has no error, and is left out."""
    rows = [row for row in rows if row[0] is not None and row[1] is not None]
    # Attention is stored as floats: sums that agree to six digits are ties, in whatever order they were added up.
    found = spearman([round(x, 6) for x, _, _ in rows], [error for _, error, _ in rows])
    n_cases = len({case_id for _, _, case_id in rows})
    return found.rho, found.p_value if n_cases == found.n else None, found.n, n_cases


def sentence(row: Mapping[Any, Any]) -> str:
    """What the columns of `with_error_correlation` say, in words.

    >>> sentence({"rho": -0.456, "p_value": 0.00001, "n": 86, "n_cases": 86})
    'ρ = -0.46, p < 0.001, 86 cases'
    >>> sentence({"rho": 0.5, "p_value": None, "n": 10, "n_cases": 5})
    'ρ = 0.50, 10 predictions of 5 cases'
    """
    rho, p_value, n, n_cases = (_known(row[name]) for name in ("rho", "p_value", "n", "n_cases"))
    cases = f"{n_cases} case{'s' if n_cases != 1 else ''}"
    counted = cases if n == n_cases else f"{n} predictions of {cases}"
    if rho is None:
        return f"ρ undefined, {counted}"
    chance = "" if p_value is None else ", p < 0.001" if p_value < 0.001 else f", p = {p_value:.3f}"
    return f"ρ = {rho:.2f}{chance}, {counted}"


def _known(value: Any) -> Any:
    """pandas turns what is null into NaN."""
    return None if value is None or value != value else value  # noqa: PLR0124


def report(rows: Iterable[Mapping[str, Any]], group: str) -> str:
    """A line for each value of `group`, in the order of the rows."""
    return "".join(f"{name}: {sentence(next(of_group))}\n" for name, of_group in groupby(rows, lambda row: row[group]))
