"""The lock of a DuckDB file, held while the file is read and replaced.

DuckDB locks a file by `fcntl`. Such locks belong to a process and not to a handle: a process never stands in its own
way, and whatever handle of the file it closes first ends its lock. So nothing here opens a file that this process
already has open, and the lock is taken again after DuckDB has opened the file and put its own in the place of ours.
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


class PutOff(Exception):  # noqa: N818 - that something has to wait is an outcome, not a fault
    """Raised when a file cannot be read or replaced now.

    The message continues a sentence that begins with the file's name.
    """


IN_USE = "is in use elsewhere"
OPEN_HERE = "is open in this process"
REPLACED = "was put in place by another command meanwhile"
WAITING = "waits for a command that changes the cohort"
PASSING = frozenset({IN_USE, OPEN_HERE, REPLACED, WAITING})
"""Reasons that go away by themselves."""


@dataclass
class Hold:
    """The lock of a file, as long as the block of `hold` lasts."""

    path: Path
    _descriptor: int
    _exclusive: bool
    _handles: int = 0

    def take(self) -> None:
        """Take the lock, or take it again where DuckDB's own has taken its place. PutOff if somebody else has it."""
        kind = fcntl.LOCK_EX if self._exclusive else fcntl.LOCK_SH
        try:
            fcntl.lockf(self._descriptor, kind | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise PutOff(IN_USE) from error
        self._handles = open_here(self.path)
        self.check()

    def check(self) -> None:
        """Raises PutOff unless the locked file is still the one at the path, and no write-ahead log lies beside it."""
        try:
            same = os.path.samestat(os.fstat(self._descriptor), os.lstat(self.path))
        except FileNotFoundError:
            same = False
        if not same:
            raise PutOff(REPLACED)
        # Another handle is one that this process opened since: its lock would not have stood in ours.
        if open_here(self.path) != self._handles:
            raise PutOff(OPEN_HERE)
        check_no_log(self.path)


@contextmanager
def hold(path: Path, *, exclusive: bool = True) -> Iterator[Hold]:
    """Hold a file's lock: nobody else has it open for writing, and with `exclusive` nobody else opens it at all.

    Raises:
        PutOff: it is in use, is a link or no file, or a log lies beside it.
        OSError: it cannot be opened.
    """
    check_plain(path)
    if open_here(path):
        raise PutOff(OPEN_HERE)
    descriptor = os.open(path, (os.O_RDWR if exclusive else os.O_RDONLY) | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        held = Hold(path, descriptor, exclusive)
        held.take()
        yield held
    finally:
        os.close(descriptor)


def check_plain(path: Path) -> None:
    """Raises PutOff for a link, which may lead out of the store, and for anything but a plain file, such as a pipe."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise PutOff("is a link, or no file: remove it, and a later command makes it")


def check_no_log(path: Path) -> None:
    """PutOff if DuckDB's write-ahead log lies beside the file: it would be put into whatever takes the file's place."""
    logs = sorted(entry.name for entry in path.parent.iterdir() if entry.name.startswith(f"{path.name}.wal"))
    if logs:
        raise PutOff(
            f"has a log beside it ({logs[0]}), as a shell leaves it that was cut off: "
            "open and close the file in a duckdb shell, and a later command brings it up to date; where the shell ends "
            "with an error, too, move the log away: its changes never came into the file"
        )


def open_here(path: Path) -> int:
    """How many handles of a file this process has open."""
    try:
        wanted = path.stat()
    except OSError:
        return 0
    found = 0
    for entry in Path("/dev/fd").iterdir():
        # The handle by which the folder was listed is closed by now.
        with suppress(OSError, ValueError):
            found += os.path.samestat(os.fstat(int(entry.name)), wanted)
    return found
