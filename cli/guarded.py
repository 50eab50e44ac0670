"""Runs questions in a child process, so that a crash or memory exhaustion in DuckDB ends in an error of one line.

The child is forked before anything large is loaded, which costs some milliseconds.
"""

import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType

from milstore.asking.limits import BESIDE, MEMORY
from milstore.cli.output import fail, report

ASKING = frozenset({"query", "sql", "shell", "plot"})
"""The commands that ask."""
_PASSED_ON = ("SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
_DEATH_OF_PARENT = 1
"""`PR_SET_PDEATHSIG` of Linux."""


def in_child(words: list[str]) -> int | None:
    """Fork, if the command is a question and forking is possible.

    Returns:
        None in the child, and where none was made: go on. In the parent, once the child has ended, the exit code.
    """
    asks = bool(words) and words[0] in ASKING
    if not asks or not hasattr(os, "fork") or "duckdb" in sys.modules or threading.active_count() > 1:
        return None
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _limit(parent)
        return None
    return _outcome(_waited_for(child))


def _limit(parent: int) -> None:
    """Bound the memory of this process, and let it end with its parent."""
    import ctypes
    import resource

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_OF_PARENT, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
    wanted = (MEMORY + BESIDE) * 10**9
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    lowest = min([wanted, *(each for each in (soft, hard) if each != resource.RLIM_INFINITY)])
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (lowest, hard))
        # What crashes here is said in a line, and leaves no file.
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _waited_for(child: int) -> int:
    """The wait status of the child. Signals are its own matter; Ctrl-C reaches it by itself."""

    def pass_on(number: int, _: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(child, number)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in _PASSED_ON:
        signal.signal(getattr(signal, name), pass_on)
    return os.waitpid(child, 0)[1]


def _outcome(status: int) -> int:
    """The exit code for a child's end, after printing an error where needed."""
    if not os.WIFSIGNALED(status):
        return os.waitstatus_to_exitcode(status)
    number = os.WTERMSIG(status)
    if number == signal.SIGINT:
        report("stopped")
        return 130
    if number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        # As if there were no child.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    name = signal.Signals(number).name
    if number == signal.SIGKILL:
        fail(f"the process that answered was killed ({name}), most likely for want of memory: narrow the question")
    else:
        fail(f"the question crashed DuckDB ({name}), and nothing was changed: ask it in another way")
    return 2
