"""Large spaces of cases: `make test` tries a part in which everything occurs, `make torture` tries all."""

import os
from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

Case = TypeVar("Case", bound=tuple[object, ...])


def whole() -> bool:
    """Whether all is to be tried."""
    return bool(os.environ.get("MILSTORE_WHOLE"))


def covering(space: Iterable[Case]) -> list[Case]:
    """The fewest cases of a space in which each value of each factor occurs, or nearly so; with MILSTORE_WHOLE=1 all.

    One after another that has the most values that none had before; of several, the one whose values were had least.

    >>> covering([(one, other) for one in "ab" for other in (1, 2, 3)])
    [('a', 1), ('a', 3), ('b', 2)]
    """
    left = list(space)
    if whole():
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
