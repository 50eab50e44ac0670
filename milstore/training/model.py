"""The model: attention pooling of patches into slices, slices into stains and stains into the case.

Ilse, Tomczak & Welling, "Attention-based Deep Multiple Instance Learning", ICML 2018 (arXiv:1802.04712), applied level
by level. A case is one packed tensor, so the projector is one matrix product a case; which patch lies in which slice,
and which slice in which stain, travels beside it as two membership matrices. A softmax within a segment is then a
masked row of a small matrix: no order of the patches is assumed, a missing stain is a missing row, and nothing is
summed by index, so the sums are the same each time, on a GPU too.

Axes, named in suffixes:  N patches   G slices   S stains   D features   H hidden   A attention   C classes
                          M members of any level   K the groups that they lie in
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from milstore.training.config import TrainingConfig
from milstore.training.dropout import Dropout
from milstore.training.pooling import AttentionPool, Pooled, attend, total


@dataclass(frozen=True, slots=True)
class Attention:
    """Logarithms of a case's attention weights; each level sums to 1 (after exp) within its parent.

    Logarithms because a product of three softmaxes is easily below what float32 can hold.
    """

    log_stain_S: Tensor
    log_slice_G: Tensor
    log_patch_N: Tensor

    @property
    def stain_S(self) -> Tensor:
        """Weight of each stain, 0 to 1; they sum to 1."""
        return self.log_stain_S.exp()

    @property
    def slice_G(self) -> Tensor:
        """Weight of each slice, 0 to 1; they sum to 1 within a stain."""
        return self.log_slice_G.exp()

    @property
    def patch_N(self) -> Tensor:
        """Weight of each patch, 0 to 1; they sum to 1 within a slice."""
        return self.log_patch_N.exp()


@dataclass(frozen=True, slots=True)
class CaseOutput:
    """What the model says of one case."""

    logits_C: Tensor
    """Unnormalised log-probabilities of the classes."""
    attention: Attention


class Standardiser(nn.Module):
    """Shifts, scales and clips each feature by fixed numbers, kept with the weights."""

    shift_D: Tensor
    scale_D: Tensor
    clip: Tensor
    """Largest value, and smallest but for its sign; infinite where nothing is clipped."""

    def __init__(self, n_features: int, clip: float) -> None:
        """Shift nothing yet. A clip of 0 clips nothing."""
        super().__init__()
        self.register_buffer("shift_D", torch.zeros(n_features))
        self.register_buffer("scale_D", torch.ones(n_features))
        self.register_buffer("clip", torch.tensor(clip or math.inf))

    def forward(self, feature_ND: Tensor) -> Tensor:
        """Features with mean 0 and deviation 1 over the patches that the numbers were taken from, then clipped."""
        # One new tensor: these are the largest that a step holds.
        return (feature_ND - self.shift_D).mul_(self.scale_D).clamp_(-self.clip, self.clip)


class AttentionMIL(nn.Module):
    """Projector, three attention pools, linear classifier.

    With `--pooling flat` the two upper pools have no weights of their own: the score of a slice is the log-sum-exp of
    its patches' scores, that of a stain the log-sum-exp of its slices', and the product of the three softmaxes is one
    softmax over the case, of which slice and stain attention are the marginals.
    """

    def __init__(self, n_features: int, n_classes: int, config: TrainingConfig) -> None:
        super().__init__()
        self.pooling = config.pooling
        self.standardise = Standardiser(n_features, config.clip) if config.standardise == "train" else nn.Identity()
        self.project = nn.Sequential(
            nn.Linear(n_features, config.hidden), nn.ReLU(inplace=True), Dropout(config.dropout)
        )
        self.patch_pool = self._pool(config)
        if config.pooling != "flat":
            self.slice_pool = self._pool(config)
            self.stain_pool = self._pool(config)
        self.drop = Dropout(config.classifier_dropout)
        self.classify = nn.Linear(config.hidden, n_classes)

    def forward(self, feature_ND: Tensor, slice_GN: Tensor, stain_SG: Tensor) -> CaseOutput:
        """Logits and attention of one case.

        Args:
            feature_ND: float32 features of the case's patches, in any order.
            slice_GN: bool, true where patch n lies in slice g; every row and column has a true.
            stain_SG: bool, true where slice g is of stain s; every row and column has a true.
        """
        case_1S = stain_SG.any(1)[None]
        hidden_NH = self.project(self.standardise(feature_ND))
        patches: Pooled = self.patch_pool(hidden_NH, slice_GN)
        if self.pooling == "flat":
            slices = attend(total(patches, slice_GN), patches.mean_KH, stain_SG)
            stains = attend(total(slices, stain_SG), slices.mean_KH, case_1S)
        else:
            log_size_G = log_size_S = None
            if self.pooling == "size-corrected":
                # Equal scores then give every patch of the case the same effective attention, not every slice.
                size_G = slice_GN.sum(1)
                log_size_G, log_size_S = size_G.log(), (stain_SG * size_G).sum(1).log()
            slices = self.slice_pool(patches.mean_KH, stain_SG, log_size_G)
            stains = self.stain_pool(slices.mean_KH, case_1S, log_size_S)
        logits_C = self.classify(self.drop(stains.mean_KH)).squeeze(0)
        return CaseOutput(logits_C, Attention(stains.log_weight_M, slices.log_weight_M, patches.log_weight_M))

    @staticmethod
    def _pool(config: TrainingConfig) -> AttentionPool:
        return AttentionPool(config.hidden, config.attention_dim, gated=config.gated, dropout=config.attention_dropout)


def effective_attention(attention: Attention, slice_GN: Tensor, stain_SG: Tensor) -> Tensor:
    """Stain x slice x patch attention of each patch (N,), float64; sums to 1 over the case."""
    log_slice_G = attention.log_slice_G.double() + attention.log_stain_S.double() @ stain_SG.double()
    return (attention.log_patch_N.double() + log_slice_G @ slice_GN.double()).exp()


def unevenness(log_weight_M: Tensor, member_KM: Tensor) -> Tensor:
    """How far attention is from even: 1 - entropy / log(members), averaged over the groups with two members or more.

    A scalar from 0 (even) to 1 (all on one member); 0 where no group has two members. Dividing by the largest entropy
    that is possible makes small and large groups count alike.
    """
    member = member_KM.to(log_weight_M.dtype)
    entropy_K = -(member @ (log_weight_M.exp() * log_weight_M))
    size_K = member.sum(1)
    several_K = size_K > 1
    uneven_K = torch.where(several_K, 1 - entropy_K / size_K.clamp(min=2).log(), 0.0)
    return uneven_K.sum() / several_K.sum().clamp(min=1)
