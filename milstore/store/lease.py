"""Who trains a run: a lease in its folder, renewed as long as the trainer lives.

A lease names host, process and a token. It is stale when its process is gone (seen from the same host) or when it was
not renewed for a while (seen from anywhere). A stale run is taken over by renaming its folder, so that a suspended old
writer that wakes up finds nothing to write to.
"""

import json
import os
import socket
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from milstore.errors import ConflictError
from milstore.store.files import write_json

FILE = "lease.json"
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

    @property
    def owner(self) -> str:
        """Such as `process 4711 on node3`."""
        return f"process {self.pid} on {self.host}"

    @property
    def heartbeat_text(self) -> str:
        """When it was last renewed, for people."""
        return f"{datetime.fromtimestamp(self.heartbeat, UTC):%Y-%m-%d %H:%M:%S} UTC"

    def is_stale(self) -> bool:
        """Whether nobody can be writing under this lease any more."""
        if self.host == socket.gethostname():
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


def read_lease(folder: Path) -> Lease | None:
    """The lease of an unfinished run; None if nobody claims it."""
    try:
        return Lease(**json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_lease(folder: Path, token: str) -> Lease:
    """Claim a run for this process, or renew the claim."""
    lease = Lease(
        host=socket.gethostname(),
        pid=os.getpid(),
        started=process_start(os.getpid()) or 0.0,
        token=token,
        heartbeat=time.time(),
    )
    write_json(folder / FILE, asdict(lease))
    return lease


def refuse_if_alive(folder: Path) -> None:
    """ConflictError, naming the owner, if a living process claims the run."""
    lease = read_lease(folder)
    if lease is not None and not lease.is_stale() and lease.pid != os.getpid():
        raise ConflictError(f"run {folder.name} is being trained by {lease.owner}: wait for it, or stop it first")
