"""The loop: one optimiser step a case, one row an epoch, the best epoch's weights kept.

Everything that the next step depends on is in `Training.state()`, and random numbers are functions of (seed, epoch,
position), so a training that goes on from a checkpoint computes what it would have computed, to the last bit.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from milstore.errors import DataError, UsageError
from milstore.schema.columns import SUBSETS
from milstore.store.names import named, natural_key
from milstore.training.bags import Bag, BagSource, Float32Rows, feature_moments
from milstore.training.config import TrainingConfig, given_class_weights
from milstore.training.model import Attention, AttentionMIL, Standardiser, unevenness
from milstore.training.progress import Watcher
from milstore.training.randomness import Purpose, generator, seed_torch

CHECKPOINT_FORMAT = 3


class DivergedError(UsageError):
    """The loss is NaN or infinite: going on, or beginning again in the same way, comes to the same."""


@dataclass(frozen=True)
class SplitCases:
    """The cases of one split, with the labels that the run is told."""

    subset_of: Mapping[str, str]
    label_of: Mapping[str, int]

    def of(self, subset: str) -> list[str]:
        """The cases of a subset (train, val, test), in natural order."""
        return sorted((case for case, of in self.subset_of.items() if of == subset), key=natural_key)

    @property
    def all(self) -> list[str]:
        """All cases: training, then validation, then test."""
        return [case_id for subset in SUBSETS for case_id in self.of(subset)]


class Training:
    """A model in training on one split."""

    def __init__(
        self,
        bags: BagSource,
        cases: SplitCases,
        config: TrainingConfig,
        *,
        n_classes: int,
        seed: int,
        device: torch.device,
    ) -> None:
        """A new model, with weights drawn from the seed. `bags` must hold every case of the split.

        Raises:
            DataError: the training subset has no case, or of one class only; the validation subset has no case.
            UsageError: class weights that do not fit the classes.
        """
        self.bags, self.cases, self.config, self.seed, self.device = bags, cases, config, seed, device
        self.class_weight = class_weights(cases, config.class_weights, n_classes)
        if not cases.of("val"):
            raise DataError("the validation subset has no case: the best epoch cannot be told")
        seed_torch(device, seed, Purpose.WEIGHTS)
        self.model = AttentionMIL(bags.n_features, n_classes, config)
        if isinstance(self.model.standardise, Standardiser):
            mean_D, deviation_D = feature_moments(bags, cases.of("train"))
            self.model.standardise.shift_D.copy_(mean_D)
            self.model.standardise.scale_D.copy_(1 / deviation_D)
        self.model.to(device)
        optimiser = torch.optim.Adam if config.optimiser == "adam" else torch.optim.AdamW
        self.optimizer = optimiser(self.model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)
        self.scheduler = ReduceLROnPlateau(
            self.optimizer,
            factor=config.plateau_factor,
            patience=config.plateau_patience,
            min_lr=config.min_lr,
        )
        self.float32 = Float32Rows()
        self.position = 0
        """Cases of the current epoch that are done."""
        self.logits: list[Tensor] = []
        """Of the current epoch's cases that are done. Looked at once an epoch: looking waits for a GPU."""
        self.epoch_seconds = 0.0
        self.history: list[dict[str, Any]] = []
        """A row of the table `epochs` for each epoch that has ended."""
        self.best_epoch = 0
        self.best_weights: dict[str, Tensor] = {}

    @property
    def finished(self) -> bool:
        """Whether the last epoch has been trained, or (with `keep` best) the validation loss has not fallen for long."""
        done = len(self.history)
        if self.config.keep == "last":
            return done >= self.config.epochs
        stalled = done >= self.config.min_epochs and done - self._improved_epoch >= self.config.patience
        return done >= self.config.epochs or stalled

    @property
    def _improved_epoch(self) -> int:
        """The last epoch that put early stopping off."""
        improved, lowest = 0, math.inf
        for row in self.history:
            if row["val_loss"] < lowest - self.config.min_delta:
                improved, lowest = row["epoch"], row["val_loss"]
        return improved

    def train_epoch(self, watcher: Watcher, stop: Callable[[], bool]) -> bool:
        """Train what is left of the current epoch, and validate.

        Returns whether the epoch ended: false if `stop` said so after a case, where `state()` can be kept.

        Raises:
            DivergedError: the loss is NaN or infinite.
        """
        started = time.perf_counter()
        epoch = len(self.history) + 1
        train = self.cases.of("train")
        order = [train[i] for i in generator(self.seed, Purpose.ORDER, epoch).permutation(len(train))]
        if not self.train_cases(order, epoch, watcher, stop):
            self.epoch_seconds += time.perf_counter() - started
            return False
        # On a GPU, the one place of an epoch where the numbers are waited for.
        losses = torch.cat([self._loss_and_accuracy(self.logits, order), self._validate()]).tolist()
        self.epoch_seconds += time.perf_counter() - started
        self._end_epoch(epoch, *losses)
        watcher.epoch(self.history[-1], best=self.config.keep == "best" and self.best_epoch == epoch)
        return True

    def train_cases(self, order: list[str], epoch: int, watcher: Watcher, stop: Callable[[], bool]) -> bool:
        """Train on what is left of an epoch's cases. Returns whether that was all: false if `stop` said so before."""
        self.model.train()
        for bag in self.bags.in_order(order[self.position :]):
            self._step(bag, epoch)
            self.position += 1
            watcher.case()
            if stop() and self.position < len(order):
                return False
        return True

    def _step(self, bag: Bag, epoch: int) -> None:
        if self.config.max_patches_per_slice:
            rng = generator(self.seed, Purpose.CAP, epoch, self.position)
            bag = bag.capped(self.config.max_patches_per_slice, rng)
        bag = bag.to(self.device)
        seed_torch(self.device, self.seed, Purpose.DROPOUT, epoch, self.position)
        output = self.model(self.float32(bag.feature_ND), bag.slice_GN, bag.stain_SG)
        loss = self._loss(output.logits_C, bag.case_id) + self._penalty(output.attention, bag)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.logits.append(output.logits_C.detach())

    def _penalty(self, attention: Attention, bag: Bag) -> Tensor | float:
        """What attention that is far from even costs, summed over the levels."""
        config = self.config
        levels = (
            (config.stain_entropy, attention.log_stain_S, bag.stain_SG.any(1)[None]),
            (config.slice_entropy, attention.log_slice_G, bag.stain_SG),
            (config.patch_entropy, attention.log_patch_N, bag.slice_GN),
        )
        return sum(weight * unevenness(log_weight_M, member_KM) for weight, log_weight_M, member_KM in levels if weight)

    def _loss(self, logits_C: Tensor, case_id: str) -> Tensor:
        # Not cross_entropy(weight=...): its mean over one case divides by the case's weight, which undoes it.
        label = self.cases.label_of[case_id]
        return -self.class_weight[label] * logits_C.log_softmax(0)[label]

    def _loss_and_accuracy(self, logits: list[Tensor], case_ids: list[str]) -> Tensor:
        """Mean loss and accuracy over cases, as a tensor of two numbers, float64."""
        loss_N = torch.stack(
            [self._loss(logits_C, case_id) for logits_C, case_id in zip(logits, case_ids, strict=True)]
        )
        label_N = torch.tensor([self.cases.label_of[case_id] for case_id in case_ids], device=self.device)
        right_N = torch.stack(logits).argmax(1) == label_N
        return torch.stack([loss_N.double().mean(), right_N.double().mean()])

    @torch.no_grad()
    def _validate(self) -> Tensor:
        """Mean loss and accuracy over the validation cases, as a tensor of two numbers."""
        cases = self.cases.of("val")
        self.model.eval()
        logits = []
        for stored in self.bags.in_order(cases):
            bag = stored.to(self.device)
            logits.append(self.model(self.float32(bag.feature_ND), bag.slice_GN, bag.stain_SG).logits_C)
        return self._loss_and_accuracy(logits, cases)

    def _end_epoch(
        self, epoch: int, train_loss: float, train_accuracy: float, val_loss: float, val_accuracy: float
    ) -> None:
        if not (math.isfinite(train_loss) and math.isfinite(val_loss)):
            raise DivergedError(f"the loss is {train_loss + val_loss} in epoch {epoch}: train with a lower --lr")
        row = {
            "epoch": epoch,
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "val_loss": val_loss,
            "val_accuracy": val_accuracy,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "seconds": self.epoch_seconds,
        }
        lowest = min((old["val_loss"] for old in self.history), default=math.inf)
        if val_loss < lowest or self.config.keep == "last":
            self.best_epoch = epoch
            self.best_weights = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.history.append(row)
        self.scheduler.step(val_loss)
        self.position = 0
        self.logits.clear()
        self.epoch_seconds = 0.0

    def restore_best(self) -> None:
        """Give the model the weights of the best epoch: the one of the lowest validation loss, or with `keep` the last."""
        self.model.load_state_dict(self.best_weights)

    def state(self) -> dict[str, Any]:
        """Everything that going on depends on: plain types and tensors, as `torch.load(weights_only=True)` wants."""
        return {
            "format": CHECKPOINT_FORMAT,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "position": self.position,
            "logits": list(self.logits),
            "epoch_seconds": self.epoch_seconds,
            "history": self.history,
            "best_epoch": self.best_epoch,
            "best_weights": self.best_weights,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state()` gave.

        Raises:
            DataError: a state of another version of milstore.
        """
        if state.get("format") != CHECKPOINT_FORMAT:
            found = state.get("format")
            raise DataError(
                f"the checkpoint has format {found}, not {CHECKPOINT_FORMAT}: train that split anew by --fresh"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.position = state["position"]
        self.logits = [logits_C.to(self.device) for logits_C in state["logits"]]
        self.epoch_seconds = state["epoch_seconds"]
        self.history = list(state["history"])
        self.best_epoch = state["best_epoch"]
        self.best_weights = {name: value.to(self.device) for name, value in state["best_weights"].items()}


def class_weights(cases: SplitCases, wanted: str, n_classes: int) -> list[float]:
    """Weight of each class in the loss.

    Args:
        cases: the split.
        wanted: auto (training cases / (classes that occur x training cases of the class), 1 for a class that does not
            occur), none (1 each) or the numbers themselves.
        n_classes: how many classes there are.

    Raises:
        DataError: the training cases are of fewer than two classes.
        UsageError: not one number a class.
    """
    counts = [0] * n_classes
    train = cases.of("train")
    for case_id in train:
        counts[cases.label_of[case_id]] += 1
    present = sum(count > 0 for count in counts)
    if present < 2:
        raise DataError(f"the training subset has cases of {present} class, such as {named(train, 3)}: two are needed")
    given = given_class_weights(wanted)
    if given is not None and len(given) != n_classes:
        raise UsageError(f"--class-weights {wanted}: the store has {n_classes} classes, give {n_classes} numbers")
    if wanted == "auto":
        return [len(train) / (present * count) if count else 1.0 for count in counts]
    return list(given) if given is not None else [1.0] * n_classes
