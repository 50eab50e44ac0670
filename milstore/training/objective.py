"""The objective of a training: standardisation, the model and its loss in one module.

Axes, named in suffixes:  N patches   D features   C classes
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from milstore.errors import UsageError
from milstore.models.attention import unevenness_penalty
from milstore.models.interface import Bag, CaseOutput, LevelAttention, MILModel, PatchAttention
from milstore.models.layers import Standardiser
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
        output: CaseOutput = self.inner(replace(bag, feature_ND=self.standardise(bag.feature_ND)))
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
    """Refuse output of a wrong form. Only shapes are checked, which needs no GPU synchronisation.

    Raises:
        UsageError: no CaseOutput, not one logit a class, attention of another kind than `attends` says or not one number
            a member, or scores that are not a number a patch.
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
    sizes |= {f"score {key}": (score_N, bag.n_patches) for key, score_N in output.scores.items()}
    for part, (value, size) in sizes.items():
        if value.shape != (size,):
            raise UsageError(f"model {name}: its {part} has shape {tuple(value.shape)}: give ({size},)")


def fill_gradients(parameters: list[nn.Parameter]) -> None:
    """Give unused weights a gradient of 0, so that the optimiser treats all weights alike."""
    for each in parameters:
        if each.grad is None:
            each.grad = torch.zeros_like(each)
