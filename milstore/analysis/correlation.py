"""Spearman's rank correlation over the cases of each class, its interval and its p-value."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from milstore.analysis.arrays import array
from milstore.store.names import natural_key


class RankCorrelation(NamedTuple):
    """Spearman's rho of pairs of numbers."""

    rho: float | None
    """-1 to 1; None where it is undefined: fewer than two pairs, or one side all the same."""
    p_value: float | None
    """Two-sided, by the t distribution; None where rho is, or for fewer than three pairs."""
    n: int
    """Number of pairs."""
    low: float | None = None
    high: float | None = None
    """95% interval, see `interval`; None where rho is, for fewer than four pairs, or where rho is 1 or -1."""


def spearman(x: Sequence[float], y: Sequence[float]) -> RankCorrelation:
    """Spearman's rho of two lists of the same length; ties share their mean rank.

    >>> spearman([1, 2, 3], [2, 9, 4]).rho
    0.5
    >>> spearman([1, 1], [2, 3])
    RankCorrelation(rho=None, p_value=None, n=2, low=None, high=None)
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
    return RankCorrelation(rho, float(2 * stdtr(freedom, -t)), len(x), *interval(rho, len(x) - 3))


def interval(rho: float, freedom: int, level: float = 0.95) -> tuple[float | None, float | None]:
    """Interval of Spearman's rho: tanh(atanh(rho) +- z sqrt((1 + rho^2 / 2) / freedom)), with freedom = pairs - 3.

    Bonett and Wright (2000), Sample size requirements for estimating Pearson, Kendall and Spearman correlations,
    Psychometrika 65, 23-28. It supposes independent pairs, and is good for |rho| < 0.95 and some ten pairs or more.

    Args:
        rho: -1 to 1.
        freedom: pairs less three. Below 1 there is no interval, as there is none where rho is 1 or -1.
        level: confidence, above 0 and below 1.

    >>> [round(bound, 4) for bound in interval(0.5, 25)]
    [0.1327, 0.7465]
    >>> interval(1.0, 25)
    (None, None)
    """
    if freedom < 1 or abs(rho) >= 1 - 1e-12:
        return None, None
    half = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt((1 + rho * rho / 2) / freedom)
    return math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)


def pooled(classes: Sequence[RankCorrelation]) -> RankCorrelation | None:
    """One rho within the classes, where all of them go the same way; None where they do not, or where it is not known.

    It is the mean of the classes' rhos weighted by their pairs (Hunter and Schmidt 2004, Methods of Meta-Analysis, ch. 3), so
    that differences between the classes are no part of it: a rho over all pairs at once can have the other sign than
    every class (Simpson 1951). Its interval is that of `interval` with the classes' degrees of freedom added up.

    Args:
        classes: of each class. It says a direction if it has four pairs or more, and a rho that is not 0.

    >>> one, other = spearman([1, 2, 3, 4], [1, 2, 4, 3]), spearman([1, 2, 3, 4], [2, 1, 4, 3])
    >>> round(one.rho, 9), round(other.rho, 9), round(pooled([one, other]).rho, 9)
    (0.8, 0.6, 0.7)
    >>> pooled([one, spearman([1, 2, 3, 4], [4, 3, 2, 1])]) is None
    True
    """
    known = [(found.rho, found.n) for found in classes if found.rho is not None and found.n >= _FEWEST]
    if len(known) < len(classes) or len(known) < 2 or len({math.copysign(1, rho) for rho, _ in known}) > 1:
        return None
    if any(abs(rho) < 1e-12 for rho, _ in known):
        return None
    n = sum(pairs for _, pairs in known)
    rho = sum(rho * pairs for rho, pairs in known) / n
    return RankCorrelation(rho, None, n, *interval(rho, n - 3 * len(known)))


def mean_ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """The rank of each value, 1 for the lowest; equal values share the mean of their ranks.

    >>> mean_ranks([5, 7, 5]).tolist()
    [1.5, 3.0, 1.5]
    """
    _, place_N, count_U = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(count_U) - (count_U - 1) / 2)[place_N]
    return ranks


Row = tuple[float | None, float | None, str]
"""Of a prediction: what may go with its error, the error, and the case."""
COLUMNS = {
    "rho": pa.float64(),
    "rho_low": pa.float64(),
    "rho_high": pa.float64(),
    "p_value": pa.float64(),
    "n": pa.int64(),
    "n_cases": pa.int64(),
    "pooled_rho": pa.float64(),
    "pooled_low": pa.float64(),
    "pooled_high": pa.float64(),
}
"""Columns that are added to each row: the correlation within its class, and the one pooled over all classes."""
_FEWEST = 4
"""Pairs from which on there is an interval; of fewer the sign says nothing."""


def with_error_correlation(table: pa.Table, group: str, x: str) -> pa.Table:
    """Add Spearman's rho of a column with the error, among the rows of each value of `group` and each class.

    Args:
        table: has `group`, `x`, `case_id`, `true_class` and `error`.
        group: name of the column whose values are taken one by one.
        x: name of the column to correlate with the error.

    Returns:
        The table with the columns of `COLUMNS`. rho with its 95% interval, p_value, n (predictions) and n_cases are of the
        row's class; pooled_rho and its interval are of all classes, and null unless their signs agree. P-value and
        intervals suppose that rows are independent: they are null where several runs predicted the same case.
    """
    groups = table[group].to_pylist()
    classes = table["true_class"].to_pylist()
    rows = list(zip(*(table[name].to_pylist() for name in (x, "error", "case_id")), strict=True))
    found: list[dict[str, Any]] = [{}] * len(rows)
    for name in set(groups):
        places = [i for i, own in enumerate(groups) if own == name]
        statistics = by_class([rows[i] for i in places], [classes[i] for i in places])
        for i in places:
            found[i] = statistics[classes[i]]
    for column, kind in COLUMNS.items():
        table = table.append_column(column, array([statistics[column] for statistics in found], kind))
    return table


def by_class(rows: Sequence[Row], classes: Sequence[str | None]) -> dict[str | None, dict[str, Any]]:
    """For each class the numbers of `COLUMNS`, over the rows that have both a value and an error."""
    names = dict.fromkeys(classes)
    of = {name: _known_rows([row for row, own in zip(rows, classes, strict=True) if own == name]) for name in names}
    found = {name: _spearman(known) for name, known in of.items()}
    # A case without a label has no error, and belongs to no class.
    labelled = [found[name] for name, known in of.items() if known]
    n_cases = {name: len({case_id for _, _, case_id in known}) for name, known in of.items()}
    together = pooled(labelled)
    once = all(n_cases[name] == found[name].n for name in names)
    return {name: _numbers(found[name], n_cases[name], together, once=once) for name in names}


def _known_rows(rows: Sequence[Row]) -> list[tuple[float, float, str]]:
    return [(x, error, case_id) for x, error, case_id in rows if x is not None and error is not None]


def _spearman(rows: Sequence[tuple[float, float, str]]) -> RankCorrelation:
    # Attention is stored as floats: sums that agree to six digits are ties, in whatever order they were added up.
    return spearman([round(x, 6) for x, _, _ in rows], [error for _, error, _ in rows])


def _numbers(found: RankCorrelation, n_cases: int, together: RankCorrelation | None, *, once: bool) -> dict[str, Any]:
    independent = n_cases == found.n
    return {
        "rho": found.rho,
        "rho_low": found.low if independent else None,
        "rho_high": found.high if independent else None,
        "p_value": found.p_value if independent else None,
        "n": found.n,
        "n_cases": n_cases,
        "pooled_rho": together.rho if together else None,
        "pooled_low": together.low if together and once else None,
        "pooled_high": together.high if together and once else None,
    }


_PARTS = ("top", "counted")
"""Columns that tell several correlations of one answer apart."""


def answer(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for the correlation of each class, and for the pooled one where there is one, in the order of the rows.

    Args:
        rows: true_class and the columns of COLUMNS, and perhaps one of `top` and `counted`.
    """
    lines: dict[tuple[str, str | None], str] = {}
    for row in rows:
        part = next((f"{row[name]}, " for name in _PARTS if name in row), "")
        lines.setdefault((part, row["true_class"]), f"{part}{row['true_class'] or 'no label'}: {sentence(row)}")
        if _known(row["pooled_rho"]) is not None:
            lines.setdefault((part, ""), f"{part}{pooled_sentence(row)}")
    parts = [*dict.fromkeys(part for part, _ in lines)]
    # What is pooled comes after the classes.
    order = sorted(lines, key=lambda key: (parts.index(key[0]), key[1] == "", natural_key(key[1] or "")))
    return [lines[key] for key in order]


def sentence(row: Mapping[Any, Any]) -> str:
    """What is said of a row's class, in words.

    >>> sentence({"rho": -0.456, "rho_low": -0.61, "rho_high": -0.27, "p_value": 0.00001, "n": 86, "n_cases": 86})
    'ρ = −0.46 (95% interval −0.61 to −0.27), p < 0.001, 86 cases'
    >>> sentence({"rho": 0.5, "p_value": None, "n": 10, "n_cases": 5})
    'ρ = 0.50, 10 predictions of 5 cases'
    """
    rho, p_value, n, n_cases = (_known(row[name]) for name in ("rho", "p_value", "n", "n_cases"))
    cases = f"{n_cases} case{'s' if n_cases != 1 else ''}"
    counted = cases if n == n_cases else f"{n} predictions of {cases}"
    if rho is None:
        return f"ρ undefined, {counted}"
    chance = "" if p_value is None else ", p < 0.001" if p_value < 0.001 else f", p = {p_value:.3f}"
    return f"{with_interval(rho, row.get('rho_low'), row.get('rho_high'))}{chance}, {counted}"


def pooled_sentence(row: Mapping[Any, Any]) -> str:
    """What is said of all classes together: the pooled rho, or why there is none; nothing of a single class's rows.

    >>> pooled_sentence({"pooled_rho": 0.3, "pooled_low": 0.1, "pooled_high": 0.48})
    'pooled within the classes: ρ = 0.30 (95% interval 0.10 to 0.48)'
    >>> pooled_sentence({"pooled_rho": None})
    'not pooled: not all classes go the same way'
    """
    rho = _known(row["pooled_rho"])
    if rho is None:
        return "not pooled: not all classes go the same way"
    return f"pooled within the classes: {with_interval(rho, row.get('pooled_low'), row.get('pooled_high'))}"


def with_interval(rho: float, low: float | None, high: float | None) -> str:
    """Rho and its interval, if it has one.

    >>> with_interval(-0.001, -0.2, 0.2)
    'ρ = 0.00 (95% interval −0.20 to 0.20)'
    """
    low, high = _known(low), _known(high)
    between = "" if low is None or high is None else f" (95% interval {signed(low)} to {signed(high)})"
    return f"ρ = {signed(rho)}{between}"


def signed(value: float) -> str:
    """A number of two decimals, with a minus that is as long as a plus, and none before zero."""
    text = f"{value:.2f}".replace("-", "−")
    return "0.00" if text == "−0.00" else text


def _known(value: Any) -> Any:
    """pandas turns what is null into NaN."""
    return None if value is None or value != value else value  # noqa: PLR0124


def report(rows: Iterable[Mapping[str, Any]], group: str) -> str:
    """For each value of `group` a line a class, and one of all classes together where there are several."""
    return "".join(
        "".join(f"{name}, {line}\n" for line in lines_of(list(of_group)))
        for name, of_group in groupby(rows, lambda row: row[group])
    )


def in_short(rows: Sequence[Mapping[Any, Any]], classes: Sequence[str] = ()) -> str:
    """What is said of the classes of some rows, in one sentence; nothing where no case has a label.

    >>> one = {"true_class": "a", "rho": 0.5, "rho_low": 0.1, "rho_high": 0.8, "n": 20, "n_cases": 20, "pooled_rho": None}
    >>> in_short([one, {**one, "true_class": "b", "rho": -0.2, "rho_low": None}])
    'a ρ = 0.50 (95% interval 0.10 to 0.80), b ρ = −0.20; not pooled: not all classes go the same way'
    """
    first = _first_of_class(rows)
    order = _in_order(first, classes)
    said = [
        f"{name} {with_interval(first[name]['rho'], first[name]['rho_low'], first[name]['rho_high'])}"
        if _known(first[name]["rho"]) is not None
        else f"{name} ρ undefined"
        for name in order
    ]
    pooling = f"; {pooled_sentence(first[order[0]])}" if len(order) > 1 else ""
    return ", ".join(said) + pooling


def _first_of_class(rows: Sequence[Mapping[Any, Any]]) -> dict[str, Mapping[Any, Any]]:
    """The first row of each class of which an error is known: all rows of a class say the same."""
    first: dict[str, Mapping[Any, Any]] = {}
    for row in rows:
        if row["n"]:
            first.setdefault(str(row["true_class"]), row)
    return first


def _in_order(found: Collection[str], classes: Sequence[str]) -> list[str]:
    return [*(name for name in classes if name in found), *sorted(set(found) - set(classes))]


def lines_of(rows: Sequence[Mapping[Any, Any]], classes: Sequence[str] = ()) -> list[str]:
    """What is said of the classes of some rows, each in a line, and of all together where there are several.

    Args:
        rows: with `true_class` and the numbers of `COLUMNS`.
        classes: the classes in their order; others follow by name.
    """
    first = _first_of_class(rows)
    order = _in_order(first, classes)
    lines = [f"{name}: {sentence(first[name])}" for name in order]
    return [*lines, pooled_sentence(first[order[0]])] if len(order) > 1 else lines
