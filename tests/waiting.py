"""The one place where a test sleeps: between two looks at a condition that must hold before a deadline."""

import time
from collections.abc import Callable

PATIENCE = 60.0
"""Seconds that a condition has, where nothing else is said: far more than it needs, as the machine may be busy."""


def holds_within(condition: Callable[[], object], seconds: float, every: float = 0.005) -> bool:
    """Whether a condition comes true within some seconds; it is looked at once more when they are over."""
    end = time.monotonic() + seconds
    while not condition():
        left = end - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(every, left))
    return True


def wait_for(condition: Callable[[], object], what: str, seconds: float = PATIENCE, every: float = 0.005) -> None:
    """Wait until a condition holds. AssertionError if it does not in a while."""
    assert holds_within(condition, seconds, every), f"waited in vain for {what}"


def take(seconds: float) -> None:
    """Be at work for so long, whatever signals come: for work that a test makes slower, and never to wait for anything."""
    holds_within(lambda: False, seconds)
