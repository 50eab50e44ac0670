"""Threads that wait for each other sleep, so that a busy machine is no slower than it must be."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from milstore.processors import wait_asleep
from tests.forking import fork

ROOT = Path(__file__).parents[1]
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


@pytest.fixture
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in WAITING:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("_unset")
def test_what_the_user_says_of_waiting_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default threads sleep; a policy or a spin count of the user's own is left alone."""
    wait_asleep()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    wait_asleep()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setenv("GOMP_SPINCOUNT", "100")
    wait_asleep()
    assert "OMP_WAIT_POLICY" not in os.environ


def trained() -> None:
    """Train with two threads, and print the weights' SHA-256."""
    import torch

    from milstore.training.loop import Training
    from milstore.training.progress import Watcher
    from milstore.training.provenance import repeatable_arithmetic
    from tests.training_cohort import SMALL, bags, cases

    with repeatable_arithmetic(2):
        config = replace(SMALL, hidden=256, attention_dim=128, epochs=2)
        training = Training(bags(), cases(), config, n_classes=2, seed=0, device=torch.device("cpu"))
        for _ in range(2):
            training.train_epoch(Watcher(), lambda: False)
    state = training.model.state_dict()
    sys.stdout.write(hashlib.sha256(b"".join(state[name].numpy().tobytes() for name in sorted(state))).hexdigest())


def run(program: str, **environment: str) -> str:
    """What a fresh process prints."""
    env = {name: value for name, value in os.environ.items() if name not in WAITING}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env={**env, **environment},
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    return done.stdout.strip()


def test_it_is_set_before_torch_is_imported() -> None:
    """Torch's threads ask once, when they are loaded: by then it is set."""
    program = "import milstore.training, os, sys; print('torch' in sys.modules, os.environ['OMP_WAIT_POLICY'])"
    assert run(program) == "False PASSIVE"


def test_how_threads_wait_changes_no_bit(tmp_path: Path) -> None:
    """Two threads give the same weights asleep, as in a process that imported milstore's training first, and spinning."""
    asleep = fork(tmp_path, trained)
    assert asleep.wait() == 0, asleep.text()
    assert len(asleep.text()) == len(hashlib.sha256().hexdigest())
    program = "from tests.test_training_threads import trained; trained()"
    assert run(program, GOMP_SPINCOUNT="1000") == asleep.text()
