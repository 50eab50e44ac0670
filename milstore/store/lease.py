"""The lease of an unfinished run: a file in its folder that the process writing to it renews while it lives.

A lease names host, process and a token. It is stale when its process is gone (seen from the same host) or when it was
not renewed for a while (seen from anywhere). How long ago that was is told by the disk's clock alone: the lease's mtime is
compared with that of a file made beside it at this moment, so that no host's clock matters. A stale run is taken over by renaming its folder, so that a suspended old
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
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

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
WATCHED_FOR = 30.0
"""Seconds for which a lease that looks stale must not change before a trainer on another host is taken for dead: a clock that
was put forward makes every lease look old, and the living one is renewed within that time."""


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
    job: str = ""
    """Id of the scheduler's job that the process belongs to; empty outside one."""
    restart: int = 0
    """How often the scheduler had queued that job again."""
    age: float = field(default=0.0, compare=False)
    """Seconds since it was renewed, by the clock of the disk that it lies on. It is not written down."""

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
        """Whether the process, if it lives, is visible from this one."""
        return self.host == socket.gethostname() and self.namespace in ("", pid_namespace())

    def is_stale(self) -> bool:
        """Whether the owner of this lease can no longer be writing."""
        return self.is_gone() or (not self.is_here and self.age > STALE_AFTER)

    def is_gone(self) -> bool:
        """Whether the process has certainly ended: it would be visible here, or its job was requeued and is this one."""
        if self.is_here:
            return process_start(self.pid) != self.started
        return bool(self.job) and self.job == scheduled_job() and self.restart < scheduled_restarts()

    @classmethod
    def of_this_process(cls, token: str) -> "Lease":
        """The claim that this process makes now."""
        return cls(
            host=socket.gethostname(),
            pid=os.getpid(),
            started=process_start(os.getpid()) or 0.0,
            token=token,
            heartbeat=time.time(),
            namespace=pid_namespace(),
            job=scheduled_job(),
            restart=scheduled_restarts(),
        )

    def text(self) -> str:
        """The lease as JSON."""
        return json.dumps({name: value for name, value in asdict(self).items() if name != "age"})


def scheduled_job() -> str:
    """Id of the SLURM job that this process belongs to, such as 12 or 12_3; empty outside one."""
    array, index = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{index}" if array and index else os.environ.get("SLURM_JOB_ID", "")


def scheduled_restarts() -> int:
    """How often SLURM has queued this process's job again."""
    count = os.environ.get("SLURM_RESTART_COUNT", "")
    return int(count) if count.isdigit() else 0


def age_of(path: Path) -> float:
    """Seconds since a file was changed, by the clock of the disk that it lies on. OSError if it is not there."""
    changed = path.stat().st_mtime
    probe = temporary_sibling(path.with_name("clock"))
    try:
        probe.touch()
        return probe.stat().st_mtime - changed
    except OSError:
        # Who may only read has no other clock than their own.
        return time.time() - changed
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


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
    """Path of the lease that is valid in an unfinished run's folder."""
    token = folder.name.partition(TAKEN)[2]
    return folder / (f"lease{TAKEN}{token}.json" if token else FILE)


def read_lease(folder: Path) -> Lease | None:
    """The lease of an unfinished run; None if nobody claims it."""
    path = lease_file(folder)
    try:
        lease = _lease(read_object(path, folder.parents[1], 1 << 20))
        return lease if lease.is_here else replace(lease, age=age_of(path))
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def lease_of(text: str) -> Lease:
    """A lease from its JSON; unknown keys are ignored. Raises ValueError, TypeError or AttributeError if it is none."""
    return _lease(json.loads(text))


def _lease(content: dict[str, Any]) -> Lease:
    known = {each.name for each in fields(Lease)} - {"age"}
    return Lease(**{name: value for name, value in content.items() if name in known})


def write_lease(folder: Path, token: str, name: str | None = None) -> Lease:
    """Claim a run for this process, or renew the claim. OSError if the folder is there no more.

    Args:
        folder: the unfinished run's.
        token: of the claim.
        name: of the file, where the folder is to be renamed; else that of the lease that counts.
    """
    lease = Lease.of_this_process(token)
    path = folder / name if name else lease_file(folder)
    temporary = temporary_sibling(path)
    try:
        # Not waited for: a lease that a dying machine loses is of a process that died with it.
        temporary.write_text(lease.text(), encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return lease


def refuse_if_alive(
    folder: Path,
    *,
    wait: Callable[[Lease], bool] = lambda _: False,
    sleep: Callable[[float], None] = time.sleep,
    watched: bool = False,
) -> None:
    """ConflictError, naming the owner, if a living process claims the run.

    A trainer on another host may have died a moment ago, as when its node went down. Whether it lives is seen when it
    renews its lease, or does not.

    Args:
        folder: the unfinished run's.
        wait: asked each second, with another host's lease that is not stale yet, whether to wait on; told of one that is,
            while it is watched.
        sleep: waits for some seconds.
        watched: that a lease that is old was seen not to change already.
    """
    first = lease = read_lease(folder)
    seconds = WATCHED_FOR if watched else 0.0
    while lease is not None and not lease.is_gone():
        stale = lease.is_stale()
        if stale and seconds >= WATCHED_FOR:
            return
        if lease.is_here or lease != first or not (wait(lease) or stale):
            raise ConflictError(f"run {run_id_of(folder)} is being trained by {lease.owner}: wait for it, or stop it")
        sleep(1.0)
        seconds += 1.0
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
    """Whether a folder certainly does not exist: an I/O error does not count."""
    try:
        folder.stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False
