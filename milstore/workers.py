"""Work on many files in several processes."""

import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib import import_module
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from threading import Thread
from types import TracebackType
from typing import Any, Self, TypeVar

from milstore.errors import DataError
from milstore.processors import processors

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")

_MOST = 16
_AHEAD = 4


def end_with_parent() -> None:
    """Let this process, one of a crew, end when the one that started it does, however that ends: by kill -9 too.

    Else it would wait for work for ever, for the processes of a crew keep each other's pipe open. The pipe that is watched
    here is the parent's alone.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        Thread(target=_end_after, args=(parent,), daemon=True, name="parent").start()


def _end_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


class _Process(SpawnProcess):
    """A process that does not run the program's own file again.

    It would, to find functions that are defined there, and no work of ours is: a script without
    `if __name__ == "__main__":` would do everything a second time.
    """

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802 - the name is multiprocessing's
        main = sys.modules["__main__"].__dict__
        file = main.pop("__file__", None) if main.get("__spec__") is None else None
        try:
            return SpawnProcess._Popen(process_obj)
        finally:
            if file is not None:
                main["__file__"] = file


class _Context(SpawnContext):
    Process = _Process


class Crew:
    """Processes for work on many files: `jobs` of them (default: one a processor), or none for one job.

    With `apart` one job has a process of its own too: what it imports, and what it dies of, is not this one's. They start,
    and import the module of that name, while whoever wants them prepares their work. Each is started afresh: a forked one
    would inherit the locks of Arrow's threads.
    """

    def __init__(self, jobs: int | None, module: str = __name__, *, apart: bool = False) -> None:
        self.jobs = min(jobs or processors(), _MOST)
        """How many there are; one works in this process, unless it is to be apart."""
        self._module = module
        self._apart = apart
        self._pool: ProcessPoolExecutor | None = None
        self._ending: Thread | None = None

    def __enter__(self) -> Self:
        """Start them."""
        if self.jobs > 1 or self._apart:
            self._pool = ProcessPoolExecutor(self.jobs, mp_context=_Context(), initializer=end_with_parent)
            for _ in range(self.jobs):
                self._pool.submit(import_module, self._module)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End them; what they have not begun is not done."""
        if self._ending is not None:
            self._ending.join()
        elif self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def dismiss(self) -> None:
        """Let them end while other work goes on: no more comes for them."""
        if self._pool is not None:
            self._ending = Thread(target=self._pool.shutdown)
            self._ending.start()

    def mapped(self, work: Callable[[Task], Outcome], tasks: Sequence[Task]) -> Iterator[Outcome]:
        """The outcomes of all tasks, in their order. `work` is a function of a module. The first error ends everything."""
        if self._pool is None:
            yield from map(work, tasks)
            return
        waiting: deque[Future[Outcome]] = deque()
        try:
            for task in tasks:
                waiting.append(self._pool.submit(work, task))
                if len(waiting) >= self.jobs * _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise DataError(
                "a process that read files died (killed, out of memory, or by a damaged file): try again with fewer jobs"
            ) from error
        finally:
            for future in waiting:
                future.cancel()


def mapped(work: Callable[[Task], Outcome], tasks: Sequence[Task], *, jobs: int | None = None) -> Iterator[Outcome]:
    """The outcomes of all tasks, in their order, from a crew of at most one process a task."""
    with Crew(max(1, min(jobs or processors(), len(tasks))), work.__module__) as crew:
        yield from crew.mapped(work, tasks)
