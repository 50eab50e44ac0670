"""Launching on this machine: each split in a process of its own, some at a time."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from milstore._version import PACKAGE_PARENT
from milstore.errors import Interrupted, UsageError
from milstore.launching.child import WATCHES
from milstore.launching.records import Launch
from milstore.processors import processors
from milstore.store import Store
from milstore.store.paths import store_option
from milstore.training.interruption import Interruption

Tell = Callable[[str], None]
_LOOK_EVERY = 0.2
_NOT_BEGUN = "stopped before its training began: launch it again"


def log_file(launch: Launch, split: int) -> Path:
    """Path of the log of the process that trains a split."""
    return launch.folder / f"split-{split}.log"


def threads_each(jobs: int) -> int:
    """Threads for each of some trainings at a time: an equal share of the CPUs given to this process, at least 1."""
    return max(1, processors() // jobs)


def run_side_by_side(store: Store, launch: Launch, jobs: int, tell: Tell = lambda _: None) -> list[str]:
    """Train every split of a launch, at most `jobs` at a time. Returns the ids of the finished runs, split by split.

    A signal is handed on to the processes, which write their checkpoints; a second Ctrl-C ends them at once. Where this
    process is killed, they write their checkpoints and end too.

    Raises:
        UsageError: `jobs` is less than 1, or a split cannot be trained; the others were trained.
        Interrupted: a signal asked to stop, or one of the processes was stopped.
    """
    if jobs < 1:
        raise UsageError(f"--jobs {jobs}: give 1 or more")
    waiting = deque(launch.facts["splits"])
    running: dict[int, subprocess.Popen[bytes]] = {}
    told: set[int] = set()
    with Interruption() as interruption:
        try:
            while running or (waiting and not interruption.requested):
                while waiting and len(running) < jobs and not interruption.requested:
                    split = waiting.popleft()
                    running[split] = _start(store, launch, split)
                    tell(f"split {split} is trained by process {running[split].pid}")
                if interruption.requested:
                    _warn(running, told)
                for split in [split for split, process in running.items() if process.poll() is not None]:
                    code = running.pop(split).returncode
                    if split in told and code == -signal.SIGTERM:
                        # Not yet so far that it could have written that down itself.
                        _stopped(launch, split)
                    tell(f"split {split}: {_outcome(launch, split)}")
                time.sleep(_LOOK_EVERY if running else 0)
        except BaseException as error:
            _kill(launch, running)
            for split in waiting:
                _stopped(launch, split)
            if isinstance(error, KeyboardInterrupt) and interruption.requested:
                raise Interrupted(
                    "stopped at once; what was trained since the last checkpoints is lost: the same command goes on"
                ) from None
            raise
        for split in waiting:
            _stopped(launch, split)
        return _result(store, launch)


def _start(store: Store, launch: Launch, split: int) -> "subprocess.Popen[bytes]":
    package = str(PACKAGE_PARENT)
    found = os.pathsep.join(part for part in (package, os.environ.get("PYTHONPATH", "")) if part)
    with log_file(launch, split).open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "milstore.launching.task", str(store.root), str(launch.folder), str(split), WATCHES],
            # Nothing is ever written to it: it closes when this process ends, however that ends.
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": found},
            # Ctrl-C at the terminal comes to the launcher alone, which hands it on once.
            start_new_session=True,
        )


def _warn(running: "dict[int, subprocess.Popen[bytes]]", told: set[int]) -> None:
    for split in running.keys() - told:
        running[split].send_signal(signal.SIGTERM)
        told.add(split)


def _kill(launch: Launch, running: "dict[int, subprocess.Popen[bytes]]") -> None:
    for split, process in running.items():
        process.kill()
        process.wait()
        _stopped(launch, split)


def _stopped(launch: Launch, split: int) -> None:
    """Record that a process was ended by its launcher, unless it recorded a reason itself."""
    if launch.record(split).read().get("state") in (None, "running"):
        launch.record(split).update(state="interrupted", error=_NOT_BEGUN)


def _outcome(launch: Launch, split: int) -> str:
    known = launch.record(split).read()
    state = known.get("state")
    if state == "done":
        return f"run {known['run_id']} is finished"
    if state in ("interrupted", "failed"):
        return f"{state}: {known.get('error')}"
    return f"its process died: see {log_file(launch, split)}"


def _result(store: Store, launch: Launch) -> list[str]:
    splits = launch.facts["splits"]
    known = {split: launch.record(split).read() for split in splits}
    failed = [split for split in splits if known[split].get("state") in ("failed", "running")]
    if failed:
        raise UsageError(
            f"split {failed[0]} failed, {_outcome(launch, failed[0])}; its log is {log_file(launch, failed[0])}"
        )
    unfinished = [split for split in splits if known[split].get("state") != "done"]
    if unfinished:
        raise Interrupted(
            f"stopped with {len(unfinished)} of {len(splits)} splits unfinished: the same command goes on, "
            f"milstore runs list{store_option(store)} names them"
        )
    return [known[split]["run_id"] for split in splits]
