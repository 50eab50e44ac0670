"""Trainings in real processes that are killed, interrupted, suspended and contended for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_layout import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="forks, and looks at processes through /proc"),
]


def work(*words: str) -> str:
    """What a program of the tests prints, in a process without threads, so that it can fork."""
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_trainings_killed_ten_times_end_as_their_twins(tmp_path: Path) -> None:
    """Trainings killed at random times, at writes and within commits come to what they would have come to.

    Predictions, attention, epochs and weights are equal to the last bit to those of an uninterrupted training, each run is
    there once, and the doctor finds no damage. `make torture` kills 500 times.
    """
    made = json.loads(work("tests.killing", str(tmp_path), "10", "7"))
    assert made["kills"] == 10
    assert made["trainings"] >= 2


ALONE = ("signals", "twice", "contended", "raced", "suspended", "suspended-at-commit")
"""Of one split: in one process, which imports for seconds what its children train with."""


def test_signals_contenders_and_takeovers(tmp_path: Path) -> None:
    """Each of five signals ends with exit 75 and a run that the same command continues exactly.

    A second Ctrl-C stops at once; a run that a living process trains is refused to others. One of several takers gets a
    run; a suspended trainer whose run was taken over wakes, says so and harms nothing, in its training and at operations of
    its commit.
    """
    work("tests.interrupting", str(tmp_path), *ALONE)


def test_signals_to_several_splits(tmp_path: Path) -> None:
    """SIGTERM ends a training of all splits with exit 75, and the same command ends in an uninterrupted one's numbers.

    So it is in one process and side by side, by --launcher local; a second Ctrl-C to the launcher ends all at once. `make
    torture` sends the other signals.
    """
    work("tests.interrupting", str(tmp_path), "a-signal-to-all", "twice-side-by-side")
