"""The processes of the local launcher, forked from one that has imported all that trains: for tests of what they do, and
not of how they start.
"""

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

from milstore.launching import local, task
from tests.forking import Child, Forker, serve

Launching = Callable[[Callable[[], Any]], Callable[[], Any]]


def by_interpreters(work: Callable[[], Any]) -> Callable[[], Any]:
    """The same work, whose launcher starts its processes as it does for a user."""
    return work


def by_forks(work: Callable[[], Any]) -> Callable[[], Any]:
    """The same work, whose launcher has its processes forked. They see what was patched before."""

    def launch() -> Any:
        ours, theirs = Pipe()
        # Now, as this process has no threads yet.
        if not os.fork():
            ours.close()
            serve(theirs)
            os._exit(0)
        theirs.close()
        forked = partial(ForkedTask, Forker(ours))
        local.subprocess = SimpleNamespace(  # type: ignore[attr-defined]
            Popen=forked, PIPE=subprocess.PIPE, STDOUT=subprocess.STDOUT
        )
        return work()

    return launch


class ForkedTask:
    """What the launcher uses of a `Popen`, for `python -m milstore.launching.task WORDS …`.

    Its stdin is a pipe that the launcher alone can write to, and ends with it.
    """

    def __init__(self, forker: Forker, words: list[str], *, stdout: IO[bytes], **_: object) -> None:
        with tempfile.TemporaryDirectory() as folder:
            pipe = Path(folder) / "stdin"
            os.mkfifo(pipe)

            def work() -> int:
                os.setsid()
                os.dup2(os.open(pipe, os.O_RDONLY), 0)
                return task.main(words[3:])

            log = Path(str(stdout.name))
            self._child = Child(forker.fork(log, work), log, forker.waitpid)
            # Waits for the other end to be opened.
            self._stdin = pipe.open("wb", buffering=0)
        self.pid, self.send_signal, self.wait = self._child.pid, self._child.send, self._child.wait
        self.kill = partial(self.send_signal, signal.SIGKILL)

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""
        self._child.ended()
        return self._child.code

    @property
    def returncode(self) -> int | None:
        """Its exit code, if that is known."""
        return self._child.code
