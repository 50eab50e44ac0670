"""Trainings in processes that are forked from one that has imported everything and computed nothing.

Such a process is as fresh as a new interpreter, at a hundredth of its price, so it can be killed hundreds of times.
"""

import os
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import milstore.cli.main
import milstore.cli.train
import milstore.training.experiment
from milstore.errors import MilstoreError
from milstore.store import Store, open_store
from milstore.store.run_reader import read_run, run_ids
from milstore.store.run_writer import list_drafts
from milstore.training.config import TrainingConfig
from tests.training_cohort import SMALL

for name in ("sklearn.metrics", "torch._inductor.standalone_compile", "safetensors.torch"):
    # What a training imports on its way: here once, and not in each child.
    import_module(name)

LONG = replace(SMALL, epochs=25, min_epochs=25, lr=0.003)
"""Takes about a second, so that there is time to be killed in."""
CONFIGS = {
    "plain": LONG,
    "capped": replace(LONG, max_patches_per_slice=2, dropout=0.5, standardise="train"),
    "flat": replace(LONG, pooling="flat", patch_entropy=0.1, class_weights="1,2", plateau_patience=1),
    "corrected": replace(LONG, pooling="size-corrected", min_epochs=5, patience=12, lr=0.02, stain_entropy=0.05),
}
WRONG = 99
"""Exit code of a child that failed in an unforeseen way."""


@dataclass
class Child:
    """A forked process."""

    pid: int
    said: Path
    """The file that its stdout and stderr go to."""
    code: int | None = None
    """Exit code; minus the signal's number if one ended it; None while it is not known."""

    def wait(self) -> int:
        """Wait for its end, and return its exit code."""
        if self.code is None:
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.code

    def ended(self) -> bool:
        """Whether it has ended, without waiting."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is not None

    def ends_within(self, seconds: float) -> bool:
        """Whether it ends within some seconds."""
        watched = os.pidfd_open(self.pid)
        try:
            return bool(select.select([watched], [], [], seconds)[0])
        finally:
            os.close(watched)

    def send(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def text(self) -> str:
        """What it has said so far."""
        return self.said.read_text(encoding="utf-8", errors="replace")

    def is_stopped(self) -> bool:
        """Whether it was suspended by SIGSTOP."""
        return Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "T"


def fork(folder: Path, work: Callable[[], int | None]) -> Child:
    """Do some work in a process of its own; its exit code is what the work returns, 2 for an error of milstore's."""
    said = folder / f"said-{time.monotonic_ns()}.txt"
    sys.stdout.flush()
    child = os.fork()
    if child:
        return Child(child, said)
    code = WRONG
    try:
        stream = os.open(said, os.O_WRONLY | os.O_CREAT)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        # Whoever runs the tests may ignore some: nohup does SIGHUP, a shell in the background SIGINT.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        code = work() or 0
    except MilstoreError as error:
        sys.stderr.write(f"error: {error}\n")
        code = error.exit_code
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def done(folder: Path, work: Callable[[], int | None]) -> None:
    """Do some work in a process of its own, which must succeed."""
    child = fork(folder, work)
    assert child.wait() == 0, child.text()


def train(root: Path, config: TrainingConfig, experiment: str, **options: Any) -> Callable[[], None]:
    """A training on the first split of a store, to be forked."""

    def work() -> None:
        milstore.training.experiment.train(
            open_store(root), config, 1, **{"threads": 1, "experiment": experiment, **options}
        )

    return work


def command(root: Path, experiment: str, *words: str, config: TrainingConfig = LONG) -> Callable[[], int]:
    """`milstore train` on the first split of a store, to be forked."""
    line = command_line(root, experiment, *words, config=config)
    return lambda: milstore.cli.main.main(line)


def command_line(root: Path, experiment: str, *words: str, config: TrainingConfig = LONG) -> list[str]:
    """The words of that command, for a process of its own."""
    changed = [
        f"--{name.replace('_', '-')}={getattr(config, name)}"
        for name in ("hidden", "attention_dim", "epochs", "min_epochs", "lr")
    ]
    base = ["train", "--store", str(root), "--split", "1", "--threads", "1", "--experiment", experiment]
    return [*base, *changed, *words]


def epochs_of(store: Store, experiment: str) -> int:
    """Epochs that the unfinished run of an experiment has ended so far."""
    return max((len(each.epochs()) for each in list_drafts(store) if each.facts["experiment"] == experiment), default=0)


def finished(store: Store, experiment: str) -> list[str]:
    """The finished runs of an experiment."""
    return [run_id for run_id in run_ids(store) if run_id.startswith(f"{experiment}-s")]


def numbers(store: Store, run_id: str) -> dict[str, Any]:
    """Everything that a run computed, to the last bit; not when, and how long it took."""
    folder = store.run_folder(run_id)
    tables = {
        name: pq.read_table(folder / f"{name}.parquet", partitioning=None)
        for name in ("predictions", "probabilities", "attention", "coverage", "epochs")
    }
    tables["epochs"] = tables["epochs"].drop_columns(["seconds"])
    facts = read_run(store, run_id)
    return {**tables, **{name: facts[name] for name in ("weights_sha256", "best_epoch", "n_epochs", "config_hash")}}


def same_numbers(store: Store, experiment: str, twin: str) -> None:
    """AssertionError unless the run of each split of an experiment is equal to that of another."""
    # In the order of the splits, which their ids begin with.
    for ours, theirs in zip(finished(store, experiment), finished(store, twin), strict=True):
        here, there = numbers(store, ours), numbers(store, theirs)
        for name, value in there.items():
            equal = here[name].equals(value) if hasattr(value, "equals") else here[name] == value
            assert equal, f"{name} of {ours} differs from {theirs}"
    assert finished(store, experiment), f"{experiment} has no finished run"
