"""What ends a question that the database does not let go of.

DuckDB looks whether it was interrupted between two chunks of rows. A single value that takes minutes to compute is
therefore not stopped by it. A library has no means against that; a program can end itself, and the command line does.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

GRACE = 3.0
"""Seconds after the limit before a program ends itself."""
_leave: list[Callable[[str], None]] = []


@contextmanager
def leaving(leave: Callable[[str], None]) -> Iterator[None]:
    """While entered, `leave` is called with one line if a question is not over some seconds after its limit."""
    _leave.append(leave)
    try:
        yield
    finally:
        _leave.pop()


def last_resort(seconds: float, message: str) -> "threading.Timer | None":
    """A started timer that ends the program some seconds after the limit; None where nothing may end it."""
    if not _leave:
        return None
    timer = threading.Timer(seconds + GRACE, _leave[-1], [message])
    timer.daemon = True
    timer.start()
    return timer
