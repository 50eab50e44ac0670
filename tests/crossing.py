"""How much of a large space of cases is tried: all of it by `make torture`, of each kind at least one by the tests."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any, TypeVar

Case = TypeVar("Case", bound=tuple[object, ...])

WHOLE = bool(os.environ.get("MILSTORE_WHOLE"))
"""Whether every combination is tried. `make torture` asks for it."""


def crossed(
    *factors: Sequence[Any], times: int = 1, besides: Sequence[tuple[Any, ...]] = (), whole: bool = WHOLE
) -> list[tuple[Any, ...]]:
    """Combinations of one value of each factor: all of them, or as few as have every value of every factor.

    Of few, the i-th has the i-th value of each factor, and a shorter factor begins again. With `times` so often as many,
    the other factors moved on by one against the first each time; with `besides` these too.

    >>> crossed(["cases", "slices", "splits"], ["cut", "gone"], whole=False)
    [('cases', 'cut'), ('slices', 'gone'), ('splits', 'cut')]
    >>> len(crossed(["cases", "slices", "splits"], ["cut", "gone"], whole=True))
    6
    >>> crossed(["cases", "slices"], ["cut", "gone"], times=2, besides=[("splits", "gone")], whole=False)
    [('cases', 'cut'), ('slices', 'gone'), ('cases', 'gone'), ('slices', 'cut'), ('splits', 'gone')]
    """
    if whole:
        return list(product(*factors))
    few = [
        tuple(factor[(i + turn * (factor is not factors[0])) % len(factor)] for factor in factors)
        for turn in range(times)
        for i in range(max(map(len, factors)))
    ]
    return list(dict.fromkeys([*few, *besides]))


def covering(space: Iterable[Case], whole: bool = WHOLE) -> list[Case]:
    """Of a space in which not all combine: all cases, or as few as have every value of every factor, or nearly so.

    One after another that has the most values that none had before; of several, the one whose values were had least.

    >>> covering([(one, other) for one in "ab" for other in (1, 2, 3)], whole=False)
    [('a', 1), ('a', 3), ('b', 2)]
    """
    left = list(space)
    if whole:
        return left
    had: Counter[tuple[int, object]] = Counter()
    kept: list[Case] = []

    def news(case: Case) -> tuple[int, int]:
        times = [had[value] for value in enumerate(case)]
        return times.count(0), -sum(times)

    while left and news(best := max(left, key=news))[0]:
        kept.append(best)
        had.update(enumerate(best))
    return sorted(kept, key=left.index)
