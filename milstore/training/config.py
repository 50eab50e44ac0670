"""The configuration of a training, as one frozen dataclass.

Nothing here imports torch, so that `milstore train --help` and a refused option answer at once.
"""

import ast
import inspect
import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal, get_args

from milstore.errors import UsageError
from milstore.models.registry import DEFAULT as DEFAULT_MODEL
from milstore.training.model_settings import MODEL_FIELDS, refuse_fields_of_default

Pooling = Literal["hierarchical", "size-corrected", "flat"]
Standardise = Literal["none", "train"]
Keep = Literal["best", "last"]
Optimiser = Literal["adamw", "adam"]
Precision = Literal["float32", "bf16"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """How to train: the model, the optimiser and when to stop. Values out of range raise UsageError.

    The line under each field is the help of the option of the same name. The fields from `pooling` to
    `classifier_dropout` are the settings of the default model; those of any other are in `settings`.
    """

    model: str = DEFAULT_MODEL
    """Which model: one that `milstore models` lists, or ./file.py:Class for your own.

    Its settings are given by --set.
    """

    pooling: Pooling = "hierarchical"
    """How attention is made: hierarchical (a softmax a level), size-corrected (a level's score plus the log of the
    patches beneath it) or flat (one softmax over the case)."""

    hidden: int = 512
    """Width of the projected patch features."""

    attention_dim: int = 128
    """Width of the attention networks."""

    gated: bool = True
    """Gate the attention networks (Ilse et al. 2018, equation 9), or not (equation 8)."""

    dropout: float = 0.3
    """Share of the projected features that is dropped in training, from 0 to below 1."""

    attention_dropout: float = 0.0
    """Share of each attention network's hidden values that is dropped in training, from 0 to below 1."""

    classifier_dropout: float = 0.0
    """Share of the case's pooled features that is dropped before the classifier in training, from 0 to below 1."""

    standardise: Standardise = "train"
    """train: shift and scale each feature by its mean and deviation over the training subset's patches; none: take
    features as they are."""

    clip: float = 5.0
    """Clip standardised features at this many deviations on either side of the mean; 0 for never."""

    epochs: int = 30
    """Most epochs to train."""

    min_epochs: int = 10
    """Epochs before early stopping may end the training."""

    patience: int = 8
    """Stop after this many epochs without a lower validation loss."""

    min_delta: float = 0.0
    """By how much a validation loss must be lower to put early stopping off; the epoch kept is always the lowest."""

    keep: Keep = "best"
    """best: evaluate the weights of the epoch with the lowest validation loss, and stop early; last: train all epochs and
    evaluate the weights of the last, where the number of epochs is known beforehand; this needs no validation subset."""

    evaluate_epoch: int = 0
    """Keep the weights of this epoch and evaluate them in place of the best; early stopping waits for it. 0 for what
    --keep says."""

    optimiser: Optimiser = "adamw"
    """adamw (weight decay apart from the gradients) or adam (weight decay as an L2 penalty in the gradients)."""

    lr: float = 3e-4
    """Learning rate at the start."""

    weight_decay: float = 2e-4
    """Weight decay."""

    plateau_factor: float = 0.3
    """Multiply the learning rate by this when the validation loss stops falling, above 0 and below 1."""

    plateau_patience: int = 3
    """Epochs without a lower validation loss that the learning rate waits for."""

    min_lr: float = 0.0
    """The learning rate falls no lower than this."""

    cases_per_step: int = 1
    """Cases over which gradients are averaged before the weights change; the last step of an epoch takes those that are
    left. No loss is of several cases."""

    precision: Precision = "float32"
    """bf16: train with half the digits where that is faster (torch's autocast, on a GPU alone); evaluation is float32."""

    allow_nondeterministic: bool = False
    """Let a model use operations that do not give the same bits each time, and give up that the run can be repeated."""

    class_weights: str = "auto"
    """Weight of each class in the loss: auto (from how many training cases each has), none, or numbers such as 1,2.5
    in the order of the labels."""

    max_patches_per_slice: int = 0
    """Train on at most this many patches of a slice, a fresh random choice each epoch; 0 for all. Evaluation always
    takes all."""

    max_slices_per_stain: int = 0
    """Train on at most this many slices of a stain, a fresh random choice each epoch; 0 for all.

    Evaluation always takes
    all."""

    stain_entropy: float = 0.0
    """Weight of the penalty on uneven attention over a case's stains."""

    slice_entropy: float = 0.0
    """Weight of the penalty on uneven attention over a stain's slices."""

    patch_entropy: float = 0.0
    """Weight of the penalty on uneven attention over a slice's patches."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of a model that is not the default one, by name; those that are missing are as its `Config` says."""

    model_sha256: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the files of a user's own model, by name, once it is loaded."""

    def __post_init__(self) -> None:
        for each in option_fields():
            _check_type(each.name, getattr(self, each.name), type(each.default))
        self._check_model()
        check_choice("pooling", self.pooling, get_args(Pooling))
        check_choice("standardise", self.standardise, get_args(Standardise))
        check_choice("keep", self.keep, get_args(Keep))
        check_choice("optimiser", self.optimiser, get_args(Optimiser))
        check_choice("precision", self.precision, get_args(Precision))
        for name in ("hidden", "attention_dim", "epochs", "min_epochs", "patience", "cases_per_step"):
            _check(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        caps = ("max_patches_per_slice", "max_slices_per_stain", "evaluate_epoch")
        for name in ("plateau_patience", *caps, "weight_decay", "clip", "min_delta", "min_lr"):
            _check(name, getattr(self, name), getattr(self, name) >= 0, "0 or more")
        _check("evaluate_epoch", self.evaluate_epoch, self.evaluate_epoch <= self.epochs, "of at most --epochs")
        if self.evaluate_epoch and self.keep == "last":
            raise UsageError("--evaluate-epoch and --keep last both say which weights are evaluated: give one of them")
        for name in ("stain_entropy", "slice_entropy", "patch_entropy"):
            _check(name, getattr(self, name), getattr(self, name) >= 0, "0 or more")
        _check("lr", self.lr, self.lr > 0, "above 0")
        _check("min_lr", self.min_lr, self.min_lr <= self.lr, "of at most --lr")
        for name in ("dropout", "attention_dropout", "classifier_dropout"):
            _check(name, getattr(self, name), 0 <= getattr(self, name) < 1, "from 0 to below 1")
        _check("plateau_factor", self.plateau_factor, 0 < self.plateau_factor < 1, "above 0 and below 1")
        given_class_weights(self.class_weights)

    def _check_model(self) -> None:
        if self.model != DEFAULT_MODEL:
            changed = [each.name for each in fields(self) if each.name in MODEL_FIELDS]
            refuse_fields_of_default(
                self.model, {name: getattr(self, name) for name in changed if getattr(self, name) != _default(name)}
            )
        elif self.settings:
            raise UsageError(f"settings of {DEFAULT_MODEL} are fields of their own: {', '.join(MODEL_FIELDS)}")


def option_fields() -> tuple[Field[Any], ...]:
    """The fields of TrainingConfig that are options of their own."""
    return tuple(each for each in fields(TrainingConfig) if each.default is not MISSING)


def _default(name: str) -> Any:
    return next(each.default for each in fields(TrainingConfig) if each.name == name)


def option_name(field: str) -> str:
    """The command line's option for a field.

    >>> option_name("max_patches_per_slice")
    '--max-patches-per-slice'
    """
    return "--" + field.replace("_", "-")


def given_class_weights(text: str) -> tuple[float, ...] | None:
    """The numbers of `--class-weights a,b`, in the order of the labels; None for auto and none.

    Raises UsageError for anything else, and for weights that are not above 0.

    >>> given_class_weights("1,2.5")
    (1.0, 2.5)
    """
    if text in {"auto", "none"}:
        return None
    try:
        weights = tuple(float(part) for part in text.split(","))
    except ValueError:
        weights = ()
    if len(weights) < 2 or not all(math.isfinite(weight) and weight > 0 for weight in weights):
        raise UsageError(
            f"--class-weights {text!r}: give auto, none, or a number above 0 for each class, such as 1,2.5"
        )
    return weights


@cache
def field_help() -> dict[str, str]:
    """The line under each field of TrainingConfig, by the field's name."""
    (definition,) = ast.parse(inspect.getsource(TrainingConfig)).body
    assert isinstance(definition, ast.ClassDef)
    help_lines = {}
    for statement, following in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
            assert isinstance(statement.target, ast.Name)
            assert isinstance(following.value, ast.Constant)
            help_lines[statement.target.id] = " ".join(str(following.value.value).split())
    return help_lines


def _check_type(name: str, value: object, wanted: type) -> None:
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    if type(value) is not wanted:
        raise UsageError(f"{option_name(name)} {value!r}: give {words[wanted]}")
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{option_name(name)} {value}: give a finite number")


def _check(name: str, value: object, holds: bool, wanted: str) -> None:
    if not holds:
        raise UsageError(f"{option_name(name)} {value}: give a value {wanted}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises UsageError, naming the nearest choice, if a field's value is none of its choices."""
    if value not in choices:
        near = get_close_matches(value, choices, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise UsageError(f"{option_name(name)} {value!r}: give one of {', '.join(choices)}{hint}")
