"""Bare reading of many small files by several processes that have been started: what packing them is compared with."""

import hashlib
import multiprocessing
import os
import time
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

_PIECE = 1000
_LARGE = 1 << 20
_TOGETHER = 64
"""Files whose bytes are hashed and written at once: little enough to stay in a processor's cache."""

Read = Callable[[str, Sequence[str]], int]


def read_bytes(folder: str, files: Sequence[str]) -> int:
    """Open, read and close each file, and nothing else. How many bytes there were."""
    total = 0
    for file in files:
        descriptor = os.open(f"{folder}/{file}", os.O_RDONLY)
        total += len(os.read(descriptor, os.fstat(descriptor).st_size))
        os.close(descriptor)
    return total


def load_checked(folder: str, files: Sequence[str]) -> int:
    """Compare the checksums of each `.pt` file, and load it mapped if it is large. How many tensors there were."""
    import torch

    torch.set_num_threads(1)
    count = 0
    for file in files:
        path = f"{folder}/{file}"
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
        loaded = torch.load(path, weights_only=True, mmap=Path(path).stat().st_size > _LARGE)
        count += len(loaded) if isinstance(loaded, dict) else 1
    return count


def by_fresh_processes(read: Read, processes: int, folder: str, files: Sequence[str]) -> int:
    """Let processes that are started for it read all files. The sum of what `read` gave."""
    size = max(1, min(_PIECE, len(files) // (8 * processes)))
    pieces = [files[first : first + size] for first in range(0, len(files), size)]
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        return sum(pool.map(read, [folder] * len(pieces), pieces))


def store_bytes(target: str, size: int, folder: str, files: Sequence[str]) -> int:
    """Read the files, hash `size` bytes of each and bring them to the disk, in a file of `target` of their own.

    How many bytes there were.
    """
    digest = hashlib.sha256()
    with Path(target, uuid4().hex).open("xb", buffering=0) as stream:
        for first in range(0, len(files), _TOGETHER):
            block = b"".join(_bytes_of(f"{folder}/{file}")[-size:] for file in files[first : first + _TOGETHER])
            digest.update(block)
            stream.write(block)
        os.fsync(stream.fileno())
        return stream.tell()


def _bytes_of(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)


def forget(folder: str, files: Sequence[str]) -> int:
    """Take files out of memory; what holds for a file's name and place stays in it. How many there were."""
    for file in files:
        descriptor = os.open(f"{folder}/{file}", os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    return len(files)


def is_in_memory(path: str) -> bool:
    """Whether a file is, or the system cannot say. It may be afterwards: asking has some systems fetch it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.preadv(descriptor, [bytearray(1)], 0, os.RWF_NOWAIT) > 0
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        os.close(descriptor)


class Readers:
    """Processes that read files: started, with everything imported, before anything is timed."""

    def __init__(self, processes: int) -> None:
        self.processes = processes
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
