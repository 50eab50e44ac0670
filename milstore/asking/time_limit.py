"""Seconds that a question may take, and what stops it then."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Protocol

import duckdb

from milstore.asking.watchdog import last_resort
from milstore.errors import UsageError, is_ctrl_c

DEFAULT_TIMEOUT = 60.0
"""Seconds a question may take."""


class Interruptible(Protocol):
    """A connection whose running statement can be interrupted."""

    def interrupt(self) -> None:
        """Stop what it is doing."""


class Limit:
    """Whether the time is over, for what DuckDB has no part in, such as writing."""

    def __init__(self, message: str) -> None:
        """The `message` says that it is."""
        self._message = message
        self._over = threading.Event()

    def end(self) -> None:
        """The time is over."""
        self._over.set()

    def is_over(self) -> bool:
        """Whether it is."""
        return self._over.is_set()

    def check(self) -> None:
        """UsageError if the time is over."""
        if self.is_over():
            raise UsageError(self._message)


@contextlib.contextmanager
def time_limit(con: Interruptible, seconds: float) -> Iterator[Limit]:
    """Interrupt what a connection does in the block after some seconds. UsageError then.

    Raises:
        UsageError: the time is over.
        KeyboardInterrupt: Ctrl-C, while DuckDB was at work.
    """
    message = f"the question took longer than {seconds:g} s: narrow it, or raise --timeout"

    over = Limit(message)

    def stop() -> None:
        over.end()
        con.interrupt()

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    last = last_resort(seconds, message)
    try:
        yield over
    except duckdb.Error as error:
        # Interrupted between two fetches, DuckDB speaks of a closed result.
        if over.is_over():
            raise UsageError(message) from error
        raise
    except RuntimeError as error:
        # DuckDB's threads go on, and closing the connection would wait for them.
        if is_ctrl_c(error):
            con.interrupt()
            raise KeyboardInterrupt from error
        raise
    finally:
        for each in (timer, last):
            if each is not None:
                each.cancel()
                # A thread that is still ending when the interpreter ends can take the process with it.
                each.join()
