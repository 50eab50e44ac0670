"""Wilson intervals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milstore.analysis.intervals import wilson


@pytest.mark.parametrize(
    ("successes", "n", "expected"),
    [
        (0, 6, (0.0, 0.3903343)),
        (5, 10, (0.2365931, 0.7634069)),
        (12, 12, (0.7575060, 1.0)),
        (81, 263, (0.2552861, 0.3661804)),  # Newcombe 1998, table I: 0.2553 to 0.3662
    ],
)
def test_known_intervals(successes: int, n: int, expected: tuple[float, float]) -> None:
    """The interval of 0 of 6 says how little six cases tell."""
    assert wilson(successes, n) == pytest.approx(expected, abs=1e-4)


def test_nothing_seen_says_nothing() -> None:
    """Without a case the interval is everything."""
    assert wilson(0, 0) == (0.0, 1.0)


@given(st.integers(0, 200), st.integers(0, 200), st.floats(0.01, 0.999))
def test_the_interval_holds_the_share_and_mirrors(hits: int, misses: int, level: float) -> None:
    """0 <= low <= share <= high <= 1, and the interval of the misses is the mirror image."""
    n = hits + misses
    low, high = wilson(hits, n, level)
    assert 0 <= low <= high <= 1
    if n:
        assert low <= hits / n + 1e-12
        assert high >= hits / n - 1e-12
        assert wilson(misses, n, level) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(("successes", "n", "level"), [(-1, 5, 0.95), (6, 5, 0.95), (1, 5, 0.0), (1, 5, 1.0)])
def test_impossible_counts_are_refused(successes: int, n: int, level: float) -> None:
    """More successes than tries, or a level that is none, is an error."""
    with pytest.raises(ValueError, match="no interval for"):
        wilson(successes, n, level)
