"""How much of a large space of cases is tried: all of it by `make torture`, of each kind at least one by the tests."""

import os
from collections.abc import Sequence
from itertools import product
from typing import Any

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
