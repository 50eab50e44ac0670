"""Hashes a file and flushes it to the disk while it is still being written from front to back."""

import errno
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from milstore.store.io import sync_file

_BLOCK = 1 << 20
_STEP = 1 << 23


class Settling:
    """Hashes and flushes what has been written of a file, in two threads beside the writers.

    Hashing takes about as long as writing does, and so does the disk: together they are not to begin at the end.
    """

    def __init__(self, path: Path, digest: Any) -> None:
        """Begin with a file that exists.

        `digest`, a hash of `hashlib`, gets its bytes after what it was given before.
        """
        self._path = path
        self._digest = digest
        self._descriptor = os.open(path, os.O_RDONLY)
        self._settled = 0
        self._hashed = 0
        # One at a time: a hash takes bytes in their order, and one wait for the disk covers all that came before it.
        self._hasher, self._syncer = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        self._hashes: list[Future[None]] = []
        self._syncs: list[Future[None]] = []

    def settle(self, end: int) -> None:
        """Declare that the bytes before `end` will not change again."""
        if end - self._settled < _STEP:
            return
        self._settled = end
        self._hashes.append(self._hasher.submit(self._hash, end))
        if not self._syncs or self._syncs[-1].done():
            self._syncs.append(self._syncer.submit(sync_file, self._path))

    def end(self, size: int) -> None:
        """Declare that the file is complete and has `size` bytes."""
        self._hashes.append(self._hasher.submit(self._hash, size))
        self._syncs.append(self._syncer.submit(sync_file, self._path))

    def result(self) -> str:
        """Wait until all bytes are hashed and on the disk, and return the hash in hex.

        Raises OSError if a write failed.
        """
        for each in (*self._syncs, *self._hashes):
            # Of all, for a system tells of a failed write to the first that asks.
            each.result()
        return str(self._digest.hexdigest())

    def close(self) -> None:
        """Cancel the work that has not started."""
        for threads in (self._hasher, self._syncer):
            threads.shutdown(cancel_futures=True)
        os.close(self._descriptor)

    def _hash(self, end: int) -> None:
        block = memoryview(bytearray(_BLOCK))
        while self._hashed < end:
            size = os.preadv(self._descriptor, [block[: end - self._hashed]], self._hashed)
            if not size:
                raise OSError(errno.EIO, f"{self._path.name} ends after {self._hashed} bytes")
            self._digest.update(block[:size])
            self._hashed += size
