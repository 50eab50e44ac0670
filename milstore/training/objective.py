"""The objective of a training: standardisation, the model and its loss in one module.

Axes, named in suffixes:  N patches   D features   C classes
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from milstore.errors import DataError, UsageError
from milstore.models.attention import levels, unevenness_penalty
from milstore.models.interface import Bag, CaseOutput, LevelAttention, MILModel, PatchAttention
from milstore.models.layers import Standardiser
from milstore.store.names import check_name
from milstore.training.config import TrainingConfig

_GIVES = {"levels": LevelAttention, "patches": PatchAttention, "none": type(None)}


class Standardised(nn.Module):
    """A model whose input features are shifted, scaled and clipped by fixed numbers, stored with its weights."""

    def __init__(self, inner: MILModel, n_features: int, *, standardise: bool) -> None:
        super().__init__()
        self.standardise = Standardiser(n_features) if standardise else nn.Identity()
        self.inner = inner

    def forward(self, bag: Bag) -> CaseOutput:
        """The model's output for a case, given its features as stored, in float32."""
        feature_ND = self.standardise(bag.feature_ND)
        version = feature_ND._version
        output: CaseOutput = self.inner(replace(bag, feature_ND=feature_ND))
        if feature_ND._version != version:
            # Without a standardiser they are the bag's own, and may be seen again in the next epoch.
            raise UsageError(
                f"model {type(self.inner).__name__}: it changes the bag's features in place: compute with a copy"
            )
        return output

    def loss(self, output: CaseOutput, bag: Bag, label: int, class_weight_C: Tensor, config: TrainingConfig) -> Tensor:
        """The model's own loss plus the penalties on uneven attention."""
        loss = self.inner.loss(output, label, class_weight_C)
        if output.attention is None or not (config.stain_entropy or config.slice_entropy or config.patch_entropy):
            return loss
        return loss + unevenness_penalty(
            output.attention,
            bag,
            stain=config.stain_entropy,
            slice_=config.slice_entropy,
            patch=config.patch_entropy,
        )


def check_output(output: object, model: MILModel, bag: Bag, n_classes: int) -> None:
    """Refuse output of a wrong form. Only shapes and names are checked, which needs no GPU synchronisation.

    Raises:
        UsageError: no CaseOutput, not one logit a class, attention of another kind than `attends` says or not one number
            a member, scores that are not a number a patch, or a score's name that no option could hold.
    """
    name = type(model).__name__
    if not isinstance(output, CaseOutput):
        raise UsageError(f"model {name}: forward gave {type(output).__name__}: give a CaseOutput")
    if output.logits_C.shape != (n_classes,):
        raise UsageError(
            f"model {name}: its logits have shape {tuple(output.logits_C.shape)}: give one a class, ({n_classes},)"
        )
    if type(output.attention) is not _GIVES[model.attends]:
        raise UsageError(
            f"model {name}: its attention is {type(output.attention).__name__}, and attends says {model.attends!r}"
        )
    if isinstance(output.attention, PatchAttention):
        sizes = {"log_weight_N": (output.attention.log_weight_N, bag.n_patches)}
    elif isinstance(output.attention, LevelAttention):
        sizes = {
            "log_stain_S": (output.attention.log_stain_S, bag.n_stains),
            "log_slice_G": (output.attention.log_slice_G, bag.n_slices),
            "log_patch_N": (output.attention.log_patch_N, bag.n_patches),
        }
    else:
        sizes = {}
    for key in output.scores:
        try:
            check_name(key, "score")
        except UsageError as error:
            raise UsageError(f"model {name}: {error}") from error
    sizes |= {f"score {key}": (score_N, bag.n_patches) for key, score_N in output.scores.items()}
    for part, (value, size) in sizes.items():
        if value.shape != (size,):
            raise UsageError(f"model {name}: its {part} has shape {tuple(value.shape)}: give ({size},)")


def check_numbers(output: CaseOutput, model: MILModel, bag: Bag, case_id: str) -> None:
    """Refuse numbers of a case that no run may hold: unlike shapes they have to be looked at, so once, at the start.

    Raises:
        DataError: a logit or a score is NaN or infinite, a log-weight is NaN or +inf, or attention is of probabilities in
            place of their logarithms.
    """
    what = f"model {type(model).__name__}, case {case_id}"
    for part, value in {
        "logits": output.logits_C,
        **{f"score {key}": each for key, each in output.scores.items()},
    }.items():
        if not bool(value.isfinite().all()):
            raise DataError(f"{what}: its {part} hold NaN or infinite numbers")
    if output.attention is not None:
        try:
            levels(output.attention, bag)
        except ValueError as error:
            raise DataError(f"{what}: {error}") from error
    if isinstance(output.attention, PatchAttention) and len(output.attention.log_weight_N) > 1:
        weight_N = output.attention.log_weight_N.double()
        if bool((weight_N >= 0).all()) and abs(float(weight_N.sum()) - 1) < 1e-4:
            raise DataError(f"{what}: its attention sums to 1 before exp: give logarithms, by log_softmax(0)")


def fill_gradients(parameters: list[nn.Parameter]) -> None:
    """Give unused weights a gradient of 0, so that the optimiser treats all weights alike."""
    for each in parameters:
        if each.grad is None:
            each.grad = torch.zeros_like(each)
