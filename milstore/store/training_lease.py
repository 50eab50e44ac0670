"""One lease per training (experiment, split set, split, seed): only its holder may train it, in whichever run.

It lies in `running/leases/`, named by the training, and is made by whoever trains before a run is begun or continued. So two
commands, launchers or jobs that are asked for the same never train it twice. The file is made in one step that only one can
do, and renewed by touching it: what its holder touches is the file that it made, by whatever name, never another's.
"""

import hashlib
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from milstore.errors import ConflictError, StoreError
from milstore.store import lease as leases
from milstore.store.io import temporary_sibling
from milstore.store.lease import Lease, age_of, lease_of
from milstore.store.locks import in_work, link_whole
from milstore.store.paths import Store
from milstore.store.run_draft import LEASES

TRAINING = ("experiment", "split_set", "split", "seed")
"""Facts of a run that say which training it is of."""
_SUFFIX = ".json"
_ODD = re.compile(r"[^A-Za-z0-9_.-]+")

Wait = Callable[[Lease], bool]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A lease as it is on the disk at this moment."""

    lease: Lease
    mtime_ns: int

    def has_changed_since(self, other: "Seen") -> bool:
        """Whether it has changed: renewed, or taken by another."""
        return (self.lease.token, self.mtime_ns) != (other.lease.token, other.mtime_ns)


class TrainingLease:
    """While entered, this process alone trains a training; renewed from a thread, and given up at the end."""

    def __init__(
        self,
        store: Store,
        facts: Mapping[str, Any],
        *,
        wait: Wait = lambda _: False,
        patience: float = 0.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare the lease, without taking it.

        Args:
            store: the store.
            facts: of the run that is to be trained; those of TRAINING name the training.
            wait: asked each second whether to wait on for a trainer on another host, of which nobody can tell at once
                whether it lives.
            patience: seconds to wait for a living trainer to end.
            sleep: waits for some seconds.
        """
        self.path = lease_path(store, facts)
        self._training = {name: facts.get(name) for name in TRAINING}
        self._wait, self._patience, self._sleep = wait, patience, sleep
        self._descriptor: int | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="training lease", daemon=True)

    def __enter__(self) -> Self:
        """Take the lease.

        Raises:
            ConflictError: somebody else trains this.
            StoreError: the disk refuses.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._take()
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be written ({error.strerror or error}): nothing was trained"
            ) from error
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the lease, so that others can train this at once."""
        self._end.set()
        self._thread.join()
        with suppress(OSError):
            if not self.lost:
                self.path.unlink()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def lost(self) -> bool:
        """Whether another process has taken it, as from one that was suspended for long."""
        if self._descriptor is None:
            return True
        try:
            return not os.path.samestat(self.path.stat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return True
        except OSError:
            # A disk that is away for a moment says nothing of that.
            return False

    def check(self) -> None:
        """StoreError if another process has taken it."""
        if self.lost:
            seen = look(self.path)
            owner = "another process" if seen is None else seen.lease.owner
            raise StoreError(f"{self._words()} was taken over by {owner}: this process writes nothing more")

    def _words(self) -> str:
        of = self._training
        place = "" if of["split"] is None else f"split {of['split']} of {of['split_set']}, "
        return f"{place}experiment {of['experiment']}, seed {of['seed']}"

    def _take(self) -> None:
        first: Seen | None = None
        watched = waited = 0.0
        while not self._make():
            seen = look(self.path)
            if seen is None:
                continue
            first = first or seen
            if seen.lease.token != first.lease.token:
                first, watched = seen, 0.0
            if seen.lease.is_gone() or (_is_old(seen) and watched >= leases.WATCHED_FOR):
                put_away(self.path, seen.lease.token)
                continue
            alive = seen.lease.is_here or seen.has_changed_since(first)
            if alive and waited >= self._patience:
                raise self._refusal(seen)
            if not alive and not _is_old(seen) and not self._wait(seen.lease) and waited >= self._patience:
                raise self._refusal(seen)
            if not alive and _is_old(seen):
                self._wait(seen.lease)
            self._sleep(1.0)
            watched += 1.0
            waited += 1.0

    def _refusal(self, seen: Seen) -> ConflictError:
        return ConflictError(f"{self._words()} is being trained by {seen.lease.owner}: wait for it, or stop it")

    def _make(self) -> bool:
        """Make the file, whole, unless it is there."""
        lease = Lease.of_this_process(secrets.token_hex(8))
        temporary = temporary_sibling(self.path)
        try:
            temporary.write_text(json.dumps({**json.loads(lease.text()), "training": self._training}), encoding="utf-8")
            with in_work(self.path.parent):
                link_whole(temporary, self.path)
            seen = look(self.path)
            if seen is None or seen.lease.token != lease.token:
                return False
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except FileExistsError:
            return False
        except FileNotFoundError:
            # Somebody has tidied up meanwhile.
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return False
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def _renew(self) -> None:
        while not self._end.wait(leases.RENEW_EVERY):
            # What is full or away for a moment is no loss.
            with suppress(OSError):
                if self._descriptor is not None:
                    os.utime(self._descriptor)


def lease_path(store: Store, facts: Mapping[str, Any]) -> Path:
    """Where the lease of a training lies: named for people, and by what tells it from every other."""
    words = [facts.get(name) for name in TRAINING]
    exact = hashlib.sha256(json.dumps(words).encode()).hexdigest()[:12]
    plain = _ODD.sub("_", ".".join(str(word) for word in words if word is not None))[:80]
    return store.running / LEASES / f"{plain}.{exact}{_SUFFIX}"


def look(path: Path) -> Seen | None:
    """A lease as it is now; None if there is none. One that cannot be read is of nobody known."""
    try:
        mtime, text = path.stat().st_mtime_ns, path.read_text(encoding="utf-8", errors="replace")
        age = age_of(path)
    except OSError:
        return None
    try:
        lease = lease_of(text)
    except (ValueError, TypeError, AttributeError):
        lease = Lease(host="an unknown host", pid=0, started=0.0, token=text, heartbeat=mtime / 1e9)
    return Seen(lease=replace(lease, age=age), mtime_ns=mtime)


def training_of(path: Path) -> dict[str, Any]:
    """Which training a lease is of, as it says itself; nothing where it does not."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))["training"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return said if isinstance(said, dict) else {}


def _is_old(seen: Seen) -> bool:
    return not seen.lease.is_here and seen.lease.age > leases.STALE_AFTER


def put_away(path: Path, token: str) -> None:
    """Remove the lease that has a token; another's stays. One process at a time makes or removes a lease.

    On a disk without locks no two processes train on a store (see `milstore.training.experiment`).
    """
    with in_work(path.parent):
        seen = look(path)
        if seen is not None and seen.lease.token == token:
            path.unlink(missing_ok=True)
