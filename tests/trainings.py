"""Trainings to be forked, and what has come of them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import milstore.cli.main
import milstore.cli.train
import milstore.training.experiment
from milstore.store import Store, open_store
from milstore.store.run_reader import read_run, run_ids
from milstore.store.run_writer import list_drafts
from milstore.training.config import TrainingConfig
from tests.training_cohort import SMALL

LONG = replace(SMALL, epochs=25, min_epochs=25, lr=0.003)
"""Takes about a second, so that there is time to be killed in."""
SHORT = replace(LONG, epochs=6, min_epochs=6)
"""Has epochs enough to be stopped in, where that does not go by time."""
CONFIGS = {
    "plain": LONG,
    "capped": replace(LONG, max_patches_per_slice=2, dropout=0.5, standardise="train"),
    "flat": replace(LONG, pooling="flat", patch_entropy=0.1, class_weights="1,2", plateau_patience=1),
    "corrected": replace(LONG, pooling="size-corrected", min_epochs=5, patience=12, lr=0.02, stain_entropy=0.05),
}


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
