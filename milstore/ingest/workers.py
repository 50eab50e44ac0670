"""Work on many files in several processes."""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from milstore.errors import DataError

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")

_MOST = 16
_AHEAD = 4


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def mapped(work: Callable[[Task], Outcome], tasks: Sequence[Task], *, jobs: int | None = None) -> Iterator[Outcome]:
    """The outcomes of all tasks, in their order, from `jobs` processes (default: one a processor, none for one task).

    `work` is a function of a module, for each process is started afresh: a forked one would inherit the locks of
    Arrow's threads. The first error ends everything.
    """
    jobs = min(jobs or processors(), len(tasks), _MOST)
    if jobs <= 1:
        yield from map(work, tasks)
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting: deque[Future[Outcome]] = deque()
        try:
            for task in tasks:
                waiting.append(pool.submit(work, task))
                if len(waiting) >= jobs * _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise DataError("a process that read files died, out of memory perhaps: try again with less") from error
        finally:
            for future in waiting:
                future.cancel()
