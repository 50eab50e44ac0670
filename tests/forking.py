"""Work in processes of its own, forked from one that has imported everything and computed nothing.

Such a process is as fresh as a new interpreter, at a hundredth of its price, so it can be killed hundreds of times. The
programs of the tests fork themselves. A process that runs tests has threads and has asked DuckDB, whose locks a child may
wait for without end: it has another fork for it, `python -m tests.forking DESCRIPTOR`.
"""

import atexit
import contextlib
import os
import pickle
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event
from typing import Any

import cloudpickle

from milstore.errors import MilstoreError
from tests import putting_off

ROOT = Path(__file__).resolve().parents[1]
WRONG = 99
"""Exit code of a child that failed in an unforeseen way."""

Work = Callable[[], int | None]
_serves = Event()
"""Set in a process that forks for another, and in those that it has forked: they fork themselves, pytest imported or not."""


@dataclass
class Child:
    """A forked process."""

    pid: int
    said: Path
    """The file that its stdout and stderr go to."""
    waitpid: Callable[[int, int], tuple[int, int]] = os.waitpid
    """That of its parent."""
    code: int | None = None
    """Exit code; minus the signal's number if one ended it; None while it is not known."""

    def wait(self) -> int:
        """Wait for its end, and return its exit code."""
        if self.code is None:
            self.code = os.waitstatus_to_exitcode(self.waitpid(self.pid, 0)[1])
        return self.code

    def ended(self) -> bool:
        """Whether it has ended, without waiting."""
        if self.code is None:
            pid, status = self.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is not None

    def ends_within(self, seconds: float) -> bool:
        """Whether it ends within some seconds."""
        watched = os.pidfd_open(self.pid)
        try:
            return bool(select.select([watched], [], [], seconds)[0])
        finally:
            os.close(watched)

    def send(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def text(self) -> str:
        """What it has said so far."""
        return self.said.read_text(encoding="utf-8", errors="replace")

    def is_stopped(self) -> bool:
        """Whether it was suspended by SIGSTOP."""
        return Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "T"


def fork(folder: Path, work: Work) -> Child:
    """Do some work in a process of its own; its exit code is what the work returns, 2 for an error of milstore's.

    The work sees the files and the environment of who asks, and nothing that a test has patched.
    """
    said = folder / f"said-{time.monotonic_ns()}.txt"
    if "pytest" not in sys.modules or _serves.is_set():
        return Child(_forked(said, work), said)
    forker = _forker()
    return Child(forker.fork(said, work), said, forker.waitpid)


def done(folder: Path, work: Work) -> None:
    """Do some work in a process of its own, which must succeed."""
    child = fork(folder, work)
    assert child.wait() == 0, child.text()


def _forked(said: Path, work: Work) -> int:
    """Process id of a child that does some work."""
    _import_what_trains()
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = WRONG
    try:
        stream = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        # Whoever runs the tests may ignore some: nohup does SIGHUP, a shell in the background SIGINT.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        code = work() or 0
    except MilstoreError as error:
        sys.stderr.write(f"error: {error}\n")
        code = error.exit_code
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@cache
def _import_what_trains() -> None:
    """What a training imports on its way: once, and not in each child."""
    for name in (
        *("tests.trainings", "milstore.models.hierarchical", "torch._inductor.standalone_compile"),
        *("safetensors.torch", "pyarrow.dataset", "pyarrow.pandas_compat"),
    ):
        import_module(name)


@dataclass(frozen=True)
class Forker:
    """The process that forks for one that cannot."""

    channel: "Connection[Any, Any]"

    def fork(self, said: Path, work: Work) -> int:
        """Process id of a child that does some work."""
        self.channel.send(("fork", said, cloudpickle.dumps(work), dict(os.environ), putting_off.is_put_off()))
        return int(self.channel.recv())

    def waitpid(self, pid: int, options: int) -> tuple[int, int]:
        """What os.waitpid says to its parent."""
        self.channel.send(("waitpid", pid, options))
        found: tuple[int, int] = self.channel.recv()
        return found


@cache
def _forker() -> Forker:
    """One for this process, which ends with it."""
    ours, theirs = Pipe()
    words = [sys.executable, "-m", "tests.forking", str(theirs.fileno())]
    process = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return Forker(ours)


def serve(channel: "Connection[Any, Any]") -> None:
    """Fork, and wait for children, as the other end says, until it is closed."""
    _serves.set()
    while True:
        try:
            what, *words = channel.recv()
        except EOFError:
            return
        if what == "fork":
            said, *work = words
            # What it needs is imported here, once, and not in each child. What cannot be had, the child will say.
            with contextlib.suppress(Exception):
                pickle.loads(work[0])
            channel.send(_forked(said, partial(_work_of_another, channel, *work)))
        else:
            channel.send(os.waitpid(*words))


def _work_of_another(
    channel: "Connection[Any, Any]", pickled: bytes, environment: dict[str, str], put_off: bool
) -> int | None:
    """Do what another process asks for, in its environment."""
    channel.close()
    os.environ.update(environment)
    putting_off.put_off(put_off)
    work: Work = pickle.loads(pickled)
    return work()


if __name__ == "__main__":
    # The module that the work imports, not this second one of the same text.
    import_module("tests.forking").serve(Connection(int(sys.argv[1])))
