"""The bytes of the many small files that hold a patch's vector each."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from milstore.errors import DataError
from milstore.store.names import clip

LARGEST = 1 << 26
"""Bytes that the file of one vector may have."""


def small_file(path: Path) -> bytes:
    """The bytes of a file. DataError if it cannot be read, is empty, or is too large for the vector of one patch."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            size = os.fstat(descriptor).st_size
            data = os.read(descriptor, size) if size <= LARGEST else b""
        finally:
            os.close(descriptor)
    except OSError as error:
        raise DataError(f"{clip(str(path), 300)} cannot be read: {error.strerror}") from error
    if size > LARGEST:
        raise DataError(f"{clip(str(path), 300)} has {size} bytes: that is too large for the vector of one patch")
    if not data:
        raise DataError(f"{clip(str(path), 300)} is empty: create it again")
    return data


def ask_for(paths: Iterable[Path]) -> None:
    """Have the system fetch files, without waiting for them.

    A disk takes long to answer but answers many at once, and so does a server: whoever asks for one file after another
    waits for each.
    """
    if not hasattr(os, "posix_fadvise"):
        return
    for path in paths:
        # Reading it says what is wrong with it.
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
            finally:
                os.close(descriptor)
