"""Intervals that say how far a share of few cases can be trusted."""

import math
from statistics import NormalDist


def wilson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927, without continuity correction).

    Args:
        successes: how often it happened, 0 to n.
        n: how often it could have. With 0 the proportion is undefined and the interval says nothing: (0, 1).
        level: confidence, above 0 and below 1.

    Returns:
        Lower and upper bound, each 0 to 1.

    Raises:
        ValueError: successes is not between 0 and n, or the level not between 0 and 1.

    >>> low, high = wilson(0, 6)
    >>> round(low, 3), round(high, 3)
    (0.0, 0.39)
    """
    if not 0 <= successes <= n or not 0 < level < 1:
        raise ValueError(f"no interval for {successes} of {n} at level {level}")
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # The bounds are 0 and 1 exactly where the formula is, whatever rounding says.
    return (0.0 if successes == 0 else max(0.0, middle - half)), (1.0 if successes == n else min(1.0, middle + half))
