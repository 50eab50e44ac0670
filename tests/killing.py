"""Kills trainings with SIGKILL again and again: `python -m tests.killing FOLDER [KILLS] [SEED]`, which prints JSON.

Each training is continued by the same call until it completes, and is then compared with a twin that nobody killed. A
kill comes at a random time, at a random operation on the disk, or at one of those of the commit.
"""

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from milstore.store import Store, doctor, open_store
from milstore.store.findings import DAMAGE, LEFTOVER
from milstore.store.run_reader import run_ids
from milstore.store.run_writer import list_drafts
from milstore.training import job
from milstore.training.config import TrainingConfig
from tests.faults import KILL, Faults
from tests.forking import done, fork
from tests.training_cohort import tiny_store
from tests.trainings import CONFIGS, finished, same_numbers, train

TIME, OPERATION, COMMIT = "at a random time", "at an operation on the disk", "at an operation of the commit"


class Struck(Faults):
    """Gets this process a signal at its n-th operation on the disk."""

    def __init__(self, at: int, number: int = signal.SIGKILL) -> None:
        super().__init__(at, KILL)
        self.number = number

    def _fail(self) -> None:
        os.kill(os.getpid(), self.number)

    def install_at_commit(self) -> None:
        """Count from the moment when the run is committed."""
        commit = job.write_run

        def committing(*args: Any, **options: Any) -> Path:
            self.install()
            return commit(*args, **options)

        job.write_run = committing


def kill_again_and_again(
    folder: Path,
    kills: int,
    seed: int = 0,
    tell: Callable[[str], None] = print,
    configs: Mapping[str, TrainingConfig] = CONFIGS,
    most: int | None = None,
) -> dict[str, Any]:
    """Kill trainings so many times in all, and compare each with its twin. AssertionError if one differs.

    With `most` a training is let go after so many kills.
    """
    chance, began = random.Random(seed), time.monotonic()
    root = folder / "store"
    done(folder, lambda: tiny_store.anew(root) and None)
    store = open_store(root)
    seconds: dict[str, float] = {}
    where: Counter[str] = Counter()
    restarts = []
    while where.total() < kills:
        name = list(configs)[len(restarts) % len(configs)]
        experiment = f"killed-{len(restarts)}"
        if name not in seconds:
            seconds[name] = _twin(folder, root, name, configs[name])
        restarts.append(
            _one_training(folder, store, configs[name], experiment, seconds[name], chance, where, kills, most)
        )
        done(folder, lambda name=name, experiment=experiment: same_numbers(store, experiment, f"twin-{name}"))
        tell(f"{where.total()} kills, {len(restarts)} trainings as their twins")
    done(folder, lambda: _whole(store))
    return {
        "kills": where.total(),
        "where": dict(where),
        "trainings": len(restarts),
        "most_kills_of_one": max(restarts),
        "seconds": round(time.monotonic() - began, 1),
    }


def _twin(folder: Path, root: Path, name: str, config: TrainingConfig) -> float:
    started = time.monotonic()
    done(folder, train(root, config, f"twin-{name}"))
    return time.monotonic() - started


def _one_training(
    folder: Path,
    store: Store,
    config: TrainingConfig,
    experiment: str,
    seconds: float,
    chance: random.Random,
    where: Counter[str],
    kills: int,
    most: int | None,
) -> int:
    """Train until the run is finished, killed on the way. Returns how often it was."""
    killed = 0
    while not finished(store, experiment):
        spared = where.total() == kills or killed == most
        kind = None if spared else chance.choices([TIME, OPERATION, COMMIT], [6, 3, 2])[0]
        struck = Struck(chance.randint(1, 60 if kind == OPERATION else 34))
        # Some write a checkpoint after every case.
        work = train(store.root, config, experiment, checkpoint_minutes=chance.choice([10.0, 1e-9]))

        def attempt(kind: str | None = kind, struck: Struck = struck, work: Callable[[], None] = work) -> None:
            if kind == OPERATION:
                struck.install()
            elif kind == COMMIT:
                struck.install_at_commit()
            work()

        child = fork(folder, attempt)
        if kind == TIME:
            child.ends_within(chance.uniform(0, 0.6 * seconds))
            child.send(signal.SIGKILL)
        code = child.wait()
        assert code in (0, -signal.SIGKILL), f"{experiment}: exit code {code}: {child.text()}"
        child.said.unlink(missing_ok=True)
        if code:
            killed += 1
            where[kind or ""] += 1
        there = [draft for draft in list_drafts(store) if draft.facts["experiment"] == experiment]
        assert len(there) + len(finished(store, experiment)) <= 1, f"{experiment} was begun twice"
    return killed


def _whole(store: Store) -> None:
    """What the kills left is no damage, and can be told from what is stored."""
    before = run_ids(store)
    found = doctor.check(store, young=0)
    assert not [finding for finding in found if finding.kind == DAMAGE], found
    doctor.repair(store, found)
    assert not [finding for finding in doctor.check(store, young=0) if finding.kind in (DAMAGE, LEFTOVER)]
    assert (run_ids(store), list_drafts(store)) == (before, [])


if __name__ == "__main__":
    place, *numbers = sys.argv[1:]
    made = kill_again_and_again(
        Path(place), *map(int, numbers or ["20"]), tell=lambda text: sys.stderr.write(text + "\n")
    )
    sys.stdout.write(json.dumps(made) + "\n")
