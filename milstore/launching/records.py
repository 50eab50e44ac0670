"""The folder of a launch: `launch.json` says what is to be trained, `split-<k>.json` the state of a split.

The folder also holds the logs and, for SLURM, submitit's files. Among these is a pickle, which a job runs: so the folder
can be written to by its owner alone, and the place where it lies is closed to renaming by others.
"""

import os
import secrets
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from milstore.errors import StoreError
from milstore.store.io import write_json
from milstore.store.lease import process_start
from milstore.store.paths import Store
from milstore.store.plain import read_json, read_object

_LAUNCH = "launch.json"


def logs_folder(store: Store) -> Path:
    """Where launches lie; it need not exist."""
    return store.root / "logs"


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process that can be recognised, even if its id has been reused since."""

    host: str
    pid: int
    started: float

    @classmethod
    def this(cls) -> "Process":
        """This process."""
        return cls(host=socket.gethostname(), pid=os.getpid(), started=process_start(os.getpid()) or 0.0)

    def is_alive(self) -> bool | None:
        """Whether it still runs; None if it is another host's."""
        return process_start(self.pid) == self.started if self.host == socket.gethostname() else None

    def facts(self) -> dict[str, Any]:
        """It as plain JSON values."""
        return {"host": self.host, "pid": self.pid, "started": self.started}


@dataclass(frozen=True)
class SplitRecord:
    """The record of one split of a launch, in a file of its own, since jobs write at the same time."""

    path: Path

    def read(self) -> dict[str, Any]:
        """The recorded facts; empty before the split has begun, or if the file cannot be read."""
        try:
            facts: dict[str, Any] = read_json(self.path)
        except (OSError, ValueError):
            return {}
        return facts if isinstance(facts, dict) else {}

    def update(self, **facts: Any) -> dict[str, Any]:
        """Write facts over those that are there. Returns all of them."""
        changed = {**self.read(), **facts, "changed_at": now()}
        write_json(self.path, changed)
        return changed


@dataclass(frozen=True)
class Launch:
    """A launch as it lies on the disk."""

    folder: Path
    facts: dict[str, Any]
    """launcher, experiment, split_set, encoder, seed, splits, jobs (by split), submitter, submitted_at, epochs, config
    and whatever else the training is told."""

    @property
    def jobs(self) -> dict[int, str]:
        """Id of the job of each split; empty until the jobs are submitted, and for processes."""
        return {int(split): job for split, job in self.facts["jobs"].items()}

    @property
    def submitter(self) -> Process:
        """Who launched it."""
        return Process(**self.facts["submitter"])

    def record(self, split: int) -> SplitRecord:
        """The record of a split."""
        return SplitRecord(self.folder / f"split-{split}.json")

    def update(self, **facts: Any) -> "Launch":
        """The launch with some facts changed, on disk too."""
        changed = {**self.facts, **facts}
        write_json(self.folder / _LAUNCH, changed)
        return Launch(self.folder, changed)


def begin_launch(store: Store, facts: dict[str, Any]) -> Launch:
    """Make the folder of a new launch.

    Args:
        store: the store.
        facts: what `Launch.facts` says, without jobs, submitter and submitted_at.

    Raises:
        StoreError: the disk refuses.
    """
    whole = {**facts, "jobs": {}, "submitter": Process.this().facts(), "submitted_at": now()}
    try:
        folder = new_folder(store, facts["experiment"])
        write_json(folder / _LAUNCH, whole)
    except OSError as error:
        raise StoreError(f"no launch can be written to {logs_folder(store)}: {error.strerror}") from error
    return Launch(folder, whole)


def new_folder(store: Store, name: str) -> Path:
    """An empty folder for what is launched and its logs, whose name begins so. OSError if the disk refuses."""
    logs = logs_folder(store)
    folder = logs / f"{name}-{datetime.now(UTC):%Y%m%dt%H%M%S}-{secrets.token_hex(2)}"
    logs.mkdir(exist_ok=True)
    _close_to_renaming(logs)
    folder.mkdir()
    # Whatever the umask of the group: who could write here could have a job run anything.
    folder.chmod(0o755)
    return folder


def _close_to_renaming(folder: Path) -> None:
    """Set the sticky bit: in a folder that a group shares, nobody may put another folder in the place of somebody's."""
    mode = folder.stat().st_mode
    if not mode & stat.S_ISVTX:
        # Only its owner may change it, and where that is somebody else, the bit was set when it was made.
        with suppress(PermissionError):
            folder.chmod(stat.S_IMODE(mode) | stat.S_ISVTX)


def read_launch(folder: Path) -> Launch:
    """The launch of a folder. StoreError if it cannot be read."""
    try:
        facts = read_object(folder / _LAUNCH)
        launch = Launch(folder, facts)
        for name in ("launcher", "experiment", "split_set", "seed", "splits", "pooling", "epochs"):
            facts[name]
        _ = launch.jobs, launch.submitter
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{folder / _LAUNCH} cannot be read ({error}): launch that training again") from error
    return launch


def launches(store: Store) -> Iterator[Launch]:
    """The launches of a store, the oldest first; what cannot be read is passed over, as it can tell nothing."""
    logs = logs_folder(store)
    folders = [path for path in logs.iterdir() if (path / _LAUNCH).is_file()] if logs.is_dir() else []
    found = []
    for folder in folders:
        with suppress(StoreError):
            found.append(read_launch(folder))
    return iter(sorted(found, key=lambda launch: (launch.facts["submitted_at"], launch.folder.name)))


def now() -> str:
    """The time as an ISO text in UTC, to the second."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="seconds")
