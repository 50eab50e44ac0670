"""Common to all processes that a local launcher starts: log lines, and ending when the launcher ends."""

import os
import sys
import threading
from collections.abc import Callable, Collection
from contextlib import suppress

WATCHES = "--ends-with-launcher"
"""Given to a process whose stdin is a pipe that its launcher holds open as long as it lives."""


def log(text: str) -> None:
    """Write a line to the log at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def watch_launcher(words: Collection[str], end: Callable[[], object]) -> None:
    """If the command line asks for it: call `end`, in a thread, when the launcher has ended.

    Nobody else would know of this process, and of what it takes.
    """
    if WATCHES not in words:
        return

    def wait() -> None:
        with suppress(OSError):
            while os.read(0, 1):
                pass
        end()

    threading.Thread(target=wait, daemon=True, name="launcher").start()
