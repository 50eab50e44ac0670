"""Locks of a store, also on a disk that has none.

Some shared disks refuse locks: ENOLCK, as an NFS without its lock daemon says. Reading and asking take none, so they go on
there. What changes the store then holds a file instead, which one process at a time can make: it is named beside the lock,
says whose it is, and one that a process of this host left is taken over.
"""

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from milstore.errors import ConflictError
from milstore.store.io import temporary_sibling
from milstore.store.lease import pid_namespace, process_start
from milstore.store.plain import read_object

REFUSALS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS})
"""What a disk says that has no locks."""
_LOOK_EVERY = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """The process that holds a file serving as a lock."""

    host: str
    pid: int
    started: float
    namespace: str = ""

    def is_gone(self) -> bool:
        """Whether it has certainly ended; False for a process of another host."""
        here = self.host == socket.gethostname() and self.namespace in ("", pid_namespace())
        return here and process_start(self.pid) != self.started

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def is_refusal(error: OSError) -> bool:
    """Whether the error of taking a lock means that the disk has no locks."""
    return error.errno in REFUSALS


def refuses_locks(folder: Path) -> bool:
    """Whether the disk of a folder refuses locks; False where the folder cannot be written to either."""
    probe = temporary_sibling(folder / "lock")
    try:
        descriptor = os.open(probe, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return is_refusal(error)
    finally:
        os.close(descriptor)
        probe.unlink(missing_ok=True)
    return False


@contextmanager
def in_work(folder: Path) -> Iterator[None]:
    """Mark a folder as being filled or removed, also after a rename, so that `doctor --repair` does not take it for a leftover.

    Where the disk has no locks, or the folder is gone, nothing is held.
    """
    descriptor = None
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        # Whoever looks holds it for a moment.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def is_in_work(folder: Path) -> bool:
    """Whether a living process holds a folder by `in_work`."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


@contextmanager
def held(path: Path, *, wait: bool, what: str) -> Iterator[None]:
    """Hold a file that serves as a lock.

    Args:
        path: the file, which is there only while it is held.
        wait: wait until whoever holds it lets it go.
        what: what is done meanwhile, for the error.

    Raises:
        ConflictError: somebody else holds it, and not `wait`.
        OSError: it cannot be written.
    """
    while not _take(path):
        holder = _holder(path)
        if holder is not None and holder.is_gone():
            _take_away(path, holder)
        elif not wait:
            raise ConflictError(
                f"the disk of this store refuses locks, so one process at a time {what}, and {holder or 'another'} does: "
                f"wait for it, or remove {path} if it runs no more"
            )
        else:
            time.sleep(_LOOK_EVERY)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _take(path: Path) -> bool:
    """Create the file atomically, unless it exists."""
    start = process_start(os.getpid()) or 0.0
    own = Holder(host=socket.gethostname(), pid=os.getpid(), started=start, namespace=pid_namespace())
    temporary = temporary_sibling(path)
    temporary.write_text(json.dumps(asdict(own)), encoding="utf-8")
    try:
        link_whole(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def link_whole(whole: Path, path: Path) -> None:
    """Let a file be there under another name too, in one step; FileExistsError if one of that name is there."""
    try:
        os.link(whole, path)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError:
        # A disk without links has at least this; for a moment the file is empty, and says not whose it is.
        with path.open("x", encoding="utf-8") as file:
            file.write(whole.read_text(encoding="utf-8"))


def _holder(path: Path) -> Holder | None:
    try:
        return Holder(**read_object(path, largest=1 << 20))
    except (OSError, ValueError, TypeError):
        return None


def _take_away(path: Path, gone: Holder) -> None:
    """Remove what a process left that is gone. Of several that do so at once, each looks at what it has moved away."""
    aside = temporary_sibling(path)
    with suppress(FileNotFoundError):
        path.rename(aside)
        if _holder(aside) != gone:
            # Somebody was sooner, and holds it by now.
            with suppress(FileExistsError):
                link_whole(aside, path)
        aside.unlink(missing_ok=True)
