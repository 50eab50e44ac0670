"""Bare reading of many small files by several processes that have been started: what packing them is compared with."""

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from types import TracebackType
from typing import Self

_PIECE = 1000

Read = Callable[[str, Sequence[str]], int]


def read_bytes(folder: str, files: Sequence[str]) -> int:
    """Open, read and close each file, and nothing else. How many bytes there were."""
    total = 0
    for file in files:
        descriptor = os.open(f"{folder}/{file}", os.O_RDONLY)
        total += len(os.read(descriptor, os.fstat(descriptor).st_size))
        os.close(descriptor)
    return total


def load_tensors(folder: str, files: Sequence[str]) -> int:
    """Load each file as it is commonly done. How many numbers there were."""
    import torch

    torch.set_num_threads(1)
    return sum(torch.load(f"{folder}/{file}", weights_only=True).numel() for file in files)


class Readers:
    """Processes that read files: started, with everything imported, before anything is timed."""

    def __init__(self, processes: int) -> None:
        self._pool = ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))
        for started in [self._pool.submit(_ready) for _ in range(4 * processes)]:
            started.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()

    def read(self, read: Read, folder: str, files: Sequence[str]) -> int:
        """Let the processes read all files. The sum of what `read` gave."""
        pieces = [files[first : first + _PIECE] for first in range(0, len(files), _PIECE)]
        return sum(self._pool.map(read, [folder] * len(pieces), pieces))


def _ready() -> None:
    import torch

    torch.zeros(1)
    # Long enough for the other processes to get one of these each.
    time.sleep(0.2)
