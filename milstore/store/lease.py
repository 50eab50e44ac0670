"""Who trains a run: a lease in its folder, renewed as long as the trainer lives.

A lease names host, process and a token. It is stale when its process is gone (seen from the same host) or when it was
not renewed for a while (seen from anywhere). A stale run is taken over by renaming its folder, so that a suspended old
writer that wakes up finds nothing to write to: every path that it knows is gone.

The new name, `<run_id>~<token>`, also names the lease that counts in it, `lease~<token>.json`. The taker writes that
file before it renames, so the folder never shows a taker without a lease; and of two takers only one can rename.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from milstore.errors import ConflictError
from milstore.store.io import temporary_sibling
from milstore.store.plain import read_object

FILE = "lease.json"
TAKEN = "~"
"""Between run id and token in the name of a folder that was taken over. It occurs in no run id."""
STALE_AFTER = 180.0
"""Seconds without a renewal after which a trainer on another host is taken for dead."""
RENEW_EVERY = 20.0
"""Seconds between renewals."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """The claim of one process on an unfinished run."""

    host: str
    pid: int
    started: float
    """When the process started, by its own host's clock, so that a pid that was given to another process is not taken for it."""
    token: str
    """Differs for every claim."""
    heartbeat: float
    """When it was last renewed, in seconds since 1970."""
    namespace: str = ""
    """Boot and process namespace of the host: where the pid means something. Containers may share a host's name."""

    @property
    def owner(self) -> str:
        """Such as `process 4711 on node3`."""
        return f"process {self.pid} on {self.host}"

    @property
    def heartbeat_text(self) -> str:
        """When it was last renewed, for people."""
        return f"{datetime.fromtimestamp(self.heartbeat, UTC):%Y-%m-%d %H:%M:%S} UTC"

    @property
    def is_here(self) -> bool:
        """Whether the process would be seen from this one."""
        return self.host == socket.gethostname() and self.namespace in ("", pid_namespace())

    def is_stale(self) -> bool:
        """Whether nobody can be writing under this lease any more."""
        if self.is_here:
            return process_start(self.pid) != self.started
        return time.time() - self.heartbeat > STALE_AFTER


def process_start(pid: int) -> float | None:
    """When a process of this host started (clock ticks since boot); None if there is none. 0 where it cannot be told."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            return 0.0
        return 0.0
    # A zombie computes nothing any more.
    return None if fields[0] == "Z" else float(fields[19])


def pid_namespace() -> str:
    """Names the boot and the process namespace that this process lives in; empty where it cannot be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def run_id_of(folder: Path) -> str:
    """The run whose unfinished folder this is.

    >>> run_id_of(Path("running/mil-s1-0~3f2a")), run_id_of(Path("running/mil-s1-0"))
    ('mil-s1-0', 'mil-s1-0')
    """
    return folder.name.partition(TAKEN)[0]


def lease_file(folder: Path) -> Path:
    """Where the lease lies that counts in an unfinished run's folder."""
    token = folder.name.partition(TAKEN)[2]
    return folder / (f"lease{TAKEN}{token}.json" if token else FILE)


def read_lease(folder: Path) -> Lease | None:
    """The lease of an unfinished run; None if nobody claims it."""
    known = {field.name for field in fields(Lease)}
    try:
        content = read_object(lease_file(folder), folder.parents[1], 1 << 20)
        return Lease(**{name: value for name, value in content.items() if name in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def write_lease(folder: Path, token: str, name: str | None = None) -> Lease:
    """Claim a run for this process, or renew the claim. OSError if the folder is there no more.

    Args:
        folder: the unfinished run's.
        token: of the claim.
        name: of the file, where the folder is to be renamed; else that of the lease that counts.
    """
    lease = Lease(
        host=socket.gethostname(),
        pid=os.getpid(),
        started=process_start(os.getpid()) or 0.0,
        token=token,
        heartbeat=time.time(),
        namespace=pid_namespace(),
    )
    path = folder / name if name else lease_file(folder)
    temporary = temporary_sibling(path)
    try:
        # Not waited for: a lease that a dying machine loses is of a process that died with it.
        temporary.write_text(json.dumps(asdict(lease)), encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return lease


def refuse_if_alive(
    folder: Path, *, wait: Callable[[Lease], bool] = lambda _: False, sleep: Callable[[float], None] = time.sleep
) -> None:
    """ConflictError, naming the owner, if a living process claims the run.

    A trainer on another host may have died a moment ago, as when a scheduler starts its job again at once. Whether it
    lives is seen when it renews its lease, or does not.

    Args:
        folder: the unfinished run's.
        wait: asked each second, with another host's lease that is not stale yet, whether to wait on.
        sleep: waits for some seconds.
    """
    first = lease = read_lease(folder)
    while lease is not None and not lease.is_stale():
        if lease.is_here or lease != first or not wait(lease):
            raise ConflictError(f"run {run_id_of(folder)} is being trained by {lease.owner}: wait for it, or stop it")
        sleep(1.0)
        lease = read_lease(folder)


class Hold:
    """While entered, renews this process's claim on an unfinished run from a thread, and gives it up at the end.

    Renewing costs the training nothing: a file of a hundred bytes three times a minute.
    """

    def __init__(self, folder: Path, token: str, every: float | None = None) -> None:
        self.folder = folder
        self.lost = False
        """Whether another process has taken the run over. What is written after that goes nowhere."""
        self._token = token
        self._every = RENEW_EVERY if every is None else every
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> Self:
        """Begin to renew."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the claim up, so that the run can be continued at once from anywhere."""
        self._end.set()
        self._thread.join()
        try:
            lease_file(self.folder).unlink(missing_ok=True)
        except OSError:
            # It becomes stale by itself.
            return

    def _renew(self) -> None:
        while not self._end.wait(self._every):
            try:
                write_lease(self.folder, self._token)
            except OSError:
                # A disk that is full or away for a moment is no loss: the folder's own absence is.
                self.lost = self.lost or is_gone(self.folder)


def is_gone(folder: Path) -> bool:
    """Whether a folder is certainly not there: an error of the disk says nothing of that."""
    try:
        folder.stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False
