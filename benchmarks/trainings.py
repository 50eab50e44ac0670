"""What the timings of training share: the cohort, the split, and a training that has no end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from benchmarks.make_cohort import Shape, make_cohort
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.features import PackedFeatures, open_features
from milstore.training.bags import BagSource
from milstore.training.config import TrainingConfig
from milstore.training.data_loading import open_bags
from milstore.training.loop import Training
from milstore.training.progress import Watcher
from milstore.training.setup import plan_split
from milstore.training.split_cases import SplitCases

CPU = torch.device("cpu")
CONFIG = TrainingConfig(epochs=10**6, patience=10**6)
"""The defaults, and no end."""


@dataclass(frozen=True)
class Bench:
    """What the measurements share."""

    folder: Path
    shape: Shape
    threads: int
    rounds: int

    @cached_property
    def store(self) -> Store:
        return make_cohort(self.folder / f"cohort-{self.shape.cases}x{self.shape.features}", self.shape)

    @cached_property
    def packed(self) -> PackedFeatures:
        return open_features(self.store, read_cohort(self.store))

    @cached_property
    def cases(self) -> SplitCases:
        return plan_split(read_cohort(self.store), self.packed, "five", 1).cases

    @property
    def many(self) -> Shape:
        """8.5 times as many cases: 6 GB of features, where a sixth is 1 GB."""
        return replace(self.shape, cases=round(8.5 * self.shape.cases))

    def bags(self) -> BagSource:
        return open_bags(self.packed, self.cases.all, CPU)


def training(
    bags: BagSource,
    cases: SplitCases,
    device: torch.device = CPU,
    *,
    config: TrainingConfig = CONFIG,
    stains: Sequence[str] = (),
) -> Training:
    return Training(bags, cases, config, n_classes=2, seed=0, device=device, stains=stains)


def one_epoch(made: Training) -> None:
    made.train_epoch(Watcher(), lambda: False)


def steps(made: Training) -> Callable[[], None]:
    """The optimiser's steps of an epoch, without validation."""

    order = made.cases.of("train")

    def run() -> None:
        made.train_cases(order, 1, Watcher(), lambda: False)
        made.position = 0
        made.logits.clear()

    return run
