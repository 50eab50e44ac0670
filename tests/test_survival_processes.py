"""Trainings in real processes that are killed, interrupted, suspended and contended for."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests import interrupting
from tests.forking import done
from tests.killing import kill_again_and_again
from tests.trainings import CONFIGS

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="forks, and looks at processes through /proc"
)


def made(folder: Path, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What some work comes to, in a process without threads, so that it can fork."""
    told = folder / "made.json"
    done(folder, lambda: told.write_text(json.dumps(work())) and 0)
    found: dict[str, Any] = json.loads(told.read_text())
    return found


def test_trainings_killed_six_times_end_as_their_twins(tmp_path: Path) -> None:
    """Trainings killed at random times, at writes and within commits come to what they would have come to.

    Predictions, attention, epochs and weights are equal to the last bit to those of an uninterrupted training, each run is
    there once, and the doctor finds no damage. `make torture` kills 500 times, longer trainings, and while milstore.duckdb
    is made too.
    """
    configs = {name: replace(config, epochs=8, min_epochs=5) for name, config in CONFIGS.items()}
    killed = made(tmp_path, partial(kill_again_and_again, tmp_path, 6, 7, configs=configs, most=3))
    assert killed["kills"] == 6
    assert killed["trainings"] >= 2


ALONE = ("signals", "twice", "contended", "raced-once", "suspended", "suspended-at-commit-twice")
"""Of one split."""


def test_signals_contenders_and_takeovers(tmp_path: Path) -> None:
    """Each of five signals ends with exit 75 and a run that the same command continues exactly.

    A second Ctrl-C stops at once; a run that a living process trains is refused to others. One of several takers gets a
    run; a suspended trainer whose run was taken over wakes, says so and harms nothing, in its training and at operations
    of its commit. `make torture` has three rounds of takers, and suspends at every operation.
    """
    assert made(tmp_path, partial(interrupting.run, tmp_path, ALONE))["suspended-at-commit-twice"] == 2


def test_signals_to_several_splits(tmp_path: Path) -> None:
    """SIGTERM ends a training of all splits with exit 75, and the same command ends in an uninterrupted one's numbers.

    So it is in one process and side by side, by --launcher local; a second Ctrl-C to the launcher ends all at once. `make
    torture` sends the other signals, and has the launcher start interpreters, where it is forks here.
    """
    assert made(tmp_path, partial(interrupting.run, tmp_path, ("a-signal-to-all", "twice-by-forks")))
