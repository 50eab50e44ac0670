"""The loop: one optimiser step for one case or several, one row an epoch, the best epoch's weights kept.

Everything that the next step depends on is in `Training.state()`, and random numbers are functions of (seed, epoch,
position), so a training that goes on from a checkpoint computes what it would have computed, to the last bit.
"""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from milstore.errors import DataError, UsageError
from milstore.models import interface
from milstore.models.interface import cross_entropy
from milstore.models.layers import Standardiser
from milstore.store.names import named
from milstore.training.bags import Bag, BagSource, Float32Rows, feature_moments
from milstore.training.config import TrainingConfig
from milstore.training.model_choice import ChosenModel, choose_model
from milstore.training.objective import Standardised, check_numbers, check_output, fill_gradients
from milstore.training.progress import Watcher
from milstore.training.randomness import Purpose, generator, seed_torch
from milstore.training.split_cases import SplitCases, class_weights

CHECKPOINT_FORMAT = 4


class DivergedError(UsageError):
    """Raised when the loss is NaN or infinite: continuing, or training again with the same settings, would give the same."""


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
        chosen: ChosenModel | None = None,
        stains: Sequence[str] = (),
    ) -> None:
        """A new model, with weights drawn from the seed. `bags` must hold every case of the split.

        Args:
            bags: the cases.
            cases: their subsets and labels.
            config: how to train.
            n_classes: how many classes there are.
            seed: of weights, order and dropout.
            device: where to compute.
            chosen: the model that `config` names, where it is loaded already.
            stains: names of the store's stains, for a model that asks for them.

        Raises:
            DataError: the training subset has no case, or of one class only; the validation subset has no case.
            UsageError: class weights that do not fit the classes, a precision that the device does not have, or as
                `choose_model`.
        """
        if config.precision == "bf16" and device.type != "cuda":
            raise UsageError("--precision bf16 needs a GPU, and this training has none: leave it out")
        self.bags, self.cases, self.config, self.seed, self.device = bags, cases, config, seed, device
        self.chosen, self.n_classes = chosen or choose_model(config), n_classes
        self.class_weight = class_weights(cases, config.class_weights, n_classes)
        if self._keeps_best and not cases.of("val"):
            raise DataError(
                "the validation subset has no case, so the best epoch cannot be told: --keep last or --evaluate-epoch "
                "needs none"
            )
        seed_torch(device, seed, Purpose.WEIGHTS)
        self.model = Standardised(
            self.chosen.build(bags.n_features, n_classes, stains),
            bags.n_features,
            standardise=config.standardise == "train",
        )
        if isinstance(self.model.standardise, Standardiser):
            self.model.standardise.take(*feature_moments(bags, cases.of("train")), clip=config.clip)
        self.model.to(device)
        self._weight_C = torch.tensor(self.class_weight, device=device)
        self._trained = [each for each in self.model.parameters() if each.requires_grad]
        optimiser = torch.optim.Adam if config.optimiser == "adam" else torch.optim.AdamW
        self.optimizer = optimiser(self._trained, lr=config.lr, weight_decay=config.weight_decay, fused=True)
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
    def _keeps_best(self) -> bool:
        """Whether the weights of the lowest validation loss are the ones that are evaluated."""
        return self.config.keep == "best" and not self.config.evaluate_epoch

    @property
    def finished(self) -> bool:
        """Whether the last epoch has been trained, or (with `keep` best) early stopping applies."""
        done = len(self.history)
        if self.config.keep == "last" or not self.cases.of("val"):
            return done >= self.config.epochs
        if done < self.config.evaluate_epoch:
            return False
        stalled = done >= self.config.min_epochs and done - self._improved_epoch >= self.config.patience
        return done >= self.config.epochs or stalled

    @property
    def _improved_epoch(self) -> int:
        """The last epoch whose validation loss fell by at least `min_delta`."""
        improved, lowest = 0, math.inf
        for row in self.history:
            if row["val_loss"] is not None and row["val_loss"] < lowest - self.config.min_delta:
                improved, lowest = row["epoch"], row["val_loss"]
        return improved

    def try_out(self) -> None:
        """Run one forward and backward pass without changing the training. Raises UsageError if the model fails."""
        before = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.model.train()
        first = next(iter(self.bags.in_order(self.cases.of("train")[:1])))
        output, bag = self._take_in(first, 1, 1)
        check_numbers(output, self.model.inner, bag, first.case_id)
        name, later = type(self.model.inner).__name__, sorted(self.model.state_dict().keys() - before.keys())
        if later:
            raise UsageError(f"model {name}: forward makes weights ({named(later)}): make them in __init__")
        self.optimizer.zero_grad()
        self.logits.clear()
        self.model.load_state_dict(before)

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
        watcher.epoch(self.history[-1], best=self._keeps_best and self.best_epoch == epoch)
        return True

    def train_cases(self, order: list[str], epoch: int, watcher: Watcher, stop: Callable[[], bool]) -> bool:
        """Train on what is left of an epoch's cases. Returns whether that was all: false if `stop` said so before."""
        self.model.train()
        for bag in self.bags.in_order(order[self.position :]):
            self._take_in(bag, epoch, self._step_size(len(order)))
            self.position += 1
            if self.position % self.config.cases_per_step == 0 or self.position == len(order):
                self._step()
            watcher.case()
            if stop() and self.position < len(order):
                return False
        return True

    def _step_size(self, n_cases: int) -> int:
        """Number of cases in the optimiser step of the current case: fewer at the end of an epoch."""
        per_step = self.config.cases_per_step
        return min(per_step, n_cases - self.position // per_step * per_step)

    def _take_in(self, stored: Bag, epoch: int, step_size: int) -> tuple[interface.CaseOutput, interface.Bag]:
        """Add the gradients of a case to those of its step, which are the mean over the step's cases."""
        if self.config.max_slices_per_stain:
            slices = generator(self.seed, Purpose.SLICES, epoch, self.position)
            stored = stored.with_slices(self.config.max_slices_per_stain, slices)
        if self.config.max_patches_per_slice:
            rng = generator(self.seed, Purpose.CAP, epoch, self.position)
            stored = stored.capped(self.config.max_patches_per_slice, rng)
        bag = self._seen(stored)
        label = self.cases.label_of[stored.case_id]
        seed_torch(self.device, self.seed, Purpose.DROPOUT, epoch, self.position)
        with self.chosen.calling():
            with self._precision():
                output = self.model(bag)
                check_output(output, self.model.inner, bag, self.n_classes)
                loss = self.model.loss(output, bag, label, self._weight_C, self.config)
            (loss / step_size).backward()  # type: ignore[no-untyped-call]
        self.logits.append(output.logits_C.detach().float())
        return output, bag

    def _step(self) -> None:
        fill_gradients(self._trained)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def _precision(self) -> AbstractContextManager[Any]:
        if self.config.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def _seen(self, stored: Bag) -> interface.Bag:
        """A case as the model's input: features as float32, in a buffer that is reused for the next case."""
        bag = stored.to(self.device)
        return bag.seen(self.float32(bag.feature_ND))

    def _loss_and_accuracy(self, logits: list[Tensor], case_ids: list[str]) -> Tensor:
        """Mean cross-entropy and accuracy over cases, as a tensor of two numbers, float64; whatever a model's own loss
        adds."""
        labels = [self.cases.label_of[case_id] for case_id in case_ids]
        loss_N = torch.stack(
            [cross_entropy(logits_C, label, self._weight_C) for logits_C, label in zip(logits, labels, strict=True)]
        )
        label_N = torch.tensor(labels, device=self.device)
        right_N = torch.stack(logits).argmax(1) == label_N
        return torch.stack([loss_N.double().mean(), right_N.double().mean()])

    @torch.no_grad()
    def _validate(self) -> Tensor:
        """Mean loss and accuracy over the validation cases, as a tensor of two numbers; NaN where there are none."""
        cases = self.cases.of("val")
        if not cases:
            return torch.full((2,), math.nan, dtype=torch.float64, device=self.device)
        self.model.eval()
        logits = []
        for stored in self.bags.in_order(cases):
            with self.chosen.calling():
                logits.append(self.model(self._seen(stored)).logits_C)
        return self._loss_and_accuracy(logits, cases)

    def _end_epoch(
        self, epoch: int, train_loss: float, train_accuracy: float, val_loss: float, val_accuracy: float
    ) -> None:
        validated = bool(self.cases.of("val"))
        # Without validation cases, the learning rate goes by the training loss.
        followed = val_loss if validated else train_loss
        if not (math.isfinite(train_loss) and math.isfinite(followed)):
            raise DivergedError(f"the loss is {train_loss + followed} in epoch {epoch}: train with a lower --lr")
        row = {
            "epoch": epoch,
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "val_loss": val_loss if validated else None,
            "val_accuracy": val_accuracy if validated else None,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "seconds": self.epoch_seconds,
        }
        if self._is_kept(epoch, val_loss):
            self.best_epoch = epoch
            self.best_weights = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.history.append(row)
        self.scheduler.step(followed)
        self.position = 0
        self.logits.clear()
        self.epoch_seconds = 0.0

    def _is_kept(self, epoch: int, val_loss: float) -> bool:
        """Whether an epoch that has just ended takes the place of the one whose weights were kept."""
        if self.config.evaluate_epoch:
            return epoch == self.config.evaluate_epoch
        if self.config.keep == "last":
            return True
        return val_loss < min((old["val_loss"] for old in self.history), default=math.inf)

    def restore_best(self) -> None:
        """Give the model the weights of the epoch that is evaluated: that of the lowest validation loss, or the one that
        `keep` or `evaluate_epoch` says."""
        self.model.load_state_dict(self.best_weights)

    def state(self) -> dict[str, Any]:
        """The complete state for resuming: plain types and tensors, as `torch.load(weights_only=True)` requires."""
        return {
            "format": CHECKPOINT_FORMAT,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "position": self.position,
            # Of a step that is not complete; else there are none.
            "gradients": [each.grad for each in self._trained],
            "logits": list(self.logits),
            "epoch_seconds": self.epoch_seconds,
            "history": self.history,
            "best_epoch": self.best_epoch,
            "best_weights": self.best_weights,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Restore what `state()` gave.

        Raises:
            DataError: a state of another version of milstore.
        """
        if state.get("format") != CHECKPOINT_FORMAT:
            found = state.get("format")
            raise DataError(
                f"the checkpoint has format {found}, not {CHECKPOINT_FORMAT}, as another version of milstore wrote it: "
                "train that split again by milstore train ... --fresh"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.position = state["position"]
        for each, gradient in zip(self._trained, state["gradients"], strict=True):
            each.grad = None if gradient is None else gradient.to(self.device)
        self.logits = [logits_C.to(self.device) for logits_C in state["logits"]]
        self.epoch_seconds = state["epoch_seconds"]
        self.history = list(state["history"])
        self.best_epoch = state["best_epoch"]
        self.best_weights = {name: value.to(self.device) for name, value in state["best_weights"].items()}
