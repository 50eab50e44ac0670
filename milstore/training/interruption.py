"""Handles requests to stop: a signal is noted, and the loop ends after the current case."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from milstore.errors import Interrupted

_NAMES = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP")
SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
"""Ctrl-C, the scheduler's time limit, the warnings that a batch script can ask for, and a terminal that is closed."""
AT_ONCE = "stopped at once: the same command goes on after the last checkpoint"


class Interruption:
    """While entered, the `SIGNALS` only set `requested`; a second Ctrl-C stops at once, as an `Interrupted` too.

    An `Interrupted` that leaves it carries the signal that came first: a job is queued again after a warning, and not
    after it was cancelled. One that is entered within another takes over what was asked before. Outside the main
    thread, where Python takes no signal handlers, nothing is caught.
    """

    def __init__(self) -> None:
        self.requested = False
        self.signal: int | None = None
        """The signal that came first."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Install the handlers."""
        if threading.current_thread() is threading.main_thread():
            taken = [number for number in SIGNALS if not _is_kept_off(number)]
            self._before = {number: signal.signal(number, self._note) for number in taken}
        for handler in self._before.values():
            outer = getattr(handler, "__self__", None)
            if isinstance(outer, Interruption) and outer.requested:
                self.requested, self.signal = True, outer.signal
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore the former handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if isinstance(error, Interrupted):
            error.signal = error.signal or self.signal
        elif isinstance(error, KeyboardInterrupt) and self.requested:
            stopped = Interrupted(AT_ONCE)
            stopped.signal = self.signal
            raise stopped from None

    def settle(self) -> None:
        """Ignore further Ctrl-C while the state is saved, which takes a moment."""
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.requested = True
        self.signal = self.signal or number
        if number == signal.SIGINT:
            # Not what was there before: a shell that puts a job in the background has it ignored.
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _is_kept_off(number: int) -> bool:
    """Whether SIGHUP is ignored, as under nohup: then closing the terminal stops nothing."""
    return number == getattr(signal, "SIGHUP", None) and signal.getsignal(number) == signal.SIG_IGN
