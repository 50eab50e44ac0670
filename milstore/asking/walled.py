"""A connection behind the wall: it is made, asked and closed in a thread that has given up writing.

The wall binds the thread that raised it and the threads that it starts later, DuckDB's among them. So the connection is
made after the wall stands, and never used from another thread: that one could write. The rest of the process goes on as
free as before.
"""

import os
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

import duckdb

from milstore.asking import wall
from milstore.errors import UsageError

T = TypeVar("T")
Work = Callable[[duckdb.DuckDBPyConnection], Any]
_CLOSING = 1.0
"""Seconds to wait for the thread when nobody needs it any more: what DuckDB cannot interrupt goes on without us."""
_PRESSING = 20
"""How often work that nobody waits for any more is interrupted, until it hears it."""


class Walled:
    """A connection in a thread of its own, which the kernel, where it can, does not let write files."""

    def __init__(self, connect: Callable[[], duckdb.DuckDBPyConnection]) -> None:
        """Raise the wall in a new thread and connect there. Errors are those of `connect`.

        Args:
            connect: makes the connection.
        """
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._process = os.getpid()
        self._connection: list[duckdb.DuckDBPyConnection] = []
        # Daemon: a program that ends does not wait for a question.
        self._thread = threading.Thread(
            target=_serve, args=(self._jobs, self._connection), name="milstore-walled", daemon=True
        )
        self._thread.start()
        self._end = weakref.finalize(self, _close, self._process, self._jobs, self._thread, self._connection)
        try:
            self.wall = self._hand_over(lambda _: wall.give_up_writing())
            """Which wall stands: `landlock 7`, `seccomp` or `none`."""
            self._hand_over(lambda connection: connection.append(connect()))
        except BaseException:
            self._end()
            raise

    def do(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Do something with the connection, in its thread, and wait for what comes of it. Errors are those of `work`.

        What it gives back must have been fetched: an answer that is still to be computed would be computed elsewhere.
        """
        if os.getpid() != self._process:
            raise UsageError("this answer belongs to the process that asked: ask again in this one")
        return self._hand_over(lambda con: work(con[0]))

    def interrupt(self) -> None:
        """Stop what the connection is doing. Nothing happens if that is nothing."""
        for con in self._connection:
            con.interrupt()

    def close(self) -> None:
        """Close the connection and end its thread."""
        self._end()

    def _hand_over(self, work: "Callable[[list[duckdb.DuckDBPyConnection]], T]") -> T:
        job = _Job(work)
        try:
            self._jobs.put(job)
            job.done.wait()
        except BaseException:
            # Ctrl-C. DuckDB forgets an interruption that comes between two statements.
            for _ in range(_PRESSING):
                self.interrupt()
                if job.done.wait(0.01):
                    break
            raise
        if job.error is not None:
            try:
                raise job.error
            finally:
                # The error knows its frames, and they know the error.
                del job
        result: T = job.result
        return result


class _Job:
    """A task for the thread, and its result or error."""

    def __init__(self, work: "Callable[[list[duckdb.DuckDBPyConnection]], Any]") -> None:
        self.work = work
        self.done = threading.Event()
        self.result: Any = None
        self.error: BaseException | None = None


def _serve(jobs: "SimpleQueue[_Job | None]", connection: list[duckdb.DuckDBPyConnection]) -> None:
    """What the thread does: one thing after another, of which the first raises the wall; then close the connection."""
    while (job := jobs.get()) is not None:
        try:
            job.result = job.work(connection)
        except BaseException as error:
            job.error = error
        finally:
            job.done.set()
            del job
    # What was still to be written, such as a log that is kept back, is written now, or rather is not.
    for con in connection:
        con.close()


def _close(
    process: int,
    jobs: "SimpleQueue[_Job | None]",
    thread: threading.Thread,
    connection: list[duckdb.DuckDBPyConnection],
) -> None:
    if os.getpid() != process:
        # A forked process has neither the thread nor DuckDB's.
        return
    for con in connection:
        con.interrupt()
    # Only now may the thread close the connection, which then cannot be interrupted any more.
    jobs.put(None)
    if thread is not threading.current_thread():
        thread.join(_CLOSING)
