"""The model: attention pooling of patches into slices, slices into stains and stains into the case.

Ilse, Tomczak & Welling, "Attention-based Deep Multiple Instance Learning", ICML 2018 (arXiv:1802.04712), applied level
by level. A case is one packed tensor, so the projector is one matrix product a case; which patch lies in which slice,
and which slice in which stain, travels beside it as two membership matrices. A softmax within a segment is then a
masked row of a small matrix: no order of the patches is assumed, a missing stain is a missing row, and nothing is
summed by index, so the sums are the same each time, on a GPU too.

Axes, named in suffixes:  N patches   G slices   S stains   D features   H hidden   A attention   C classes
                          M members of any level, K the groups that they lie in
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from milstore.training.config import TrainingConfig
from milstore.training.pooling import AttentionPool, Pooled, attend, of_scores, total
from milstore.training.products import rows_times, weighted_sums


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


class Projected(NamedTuple):
    """What the projector makes of a case's patches, and of what."""

    feature_MD: Tensor
    """Features, float32, standardised if they are."""
    hidden_MH: Tensor
    """Values of at least 0; those that dropout dropped are 0."""
    scale: float
    """What dropout multiplied by where it kept a value."""


@dataclass(frozen=True, slots=True)
class CaseOutput:
    """What the model says of one case, and how it came to that."""

    logits_C: Tensor
    """Unnormalised log-probabilities of the classes."""
    attention: Attention
    projected: Projected
    patches: Pooled
    slices: Pooled
    stains: Pooled


class OfAttention(NamedTuple):
    """A loss's gradients of the logarithms of attention weights; none are 0."""

    log_stain_S: Tensor | None = None
    log_slice_G: Tensor | None = None
    log_patch_N: Tensor | None = None


class Standardiser(nn.Module):
    """Shifts and scales each feature by fixed numbers, kept with the weights."""

    shift_D: Tensor
    scale_D: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.register_buffer("shift_D", torch.zeros(n_features))
        self.register_buffer("scale_D", torch.ones(n_features))

    def forward(self, feature_ND: Tensor) -> Tensor:
        """Features with mean 0 and deviation 1 over the patches that the numbers were taken from."""
        return (feature_ND - self.shift_D) * self.scale_D


class Projector(nn.Linear):
    """A linear layer, ReLU, and dropout.

    Dropout takes sixteen random bits an entry, so that the share that is dropped is rounded to 1 / 65536; what is kept
    is scaled by the rounded share. Torch's own masks take one thread six times as long, which two threads would wait
    for.
    """

    def __init__(self, n_features: int, hidden: int, dropout: float) -> None:
        super().__init__(n_features, hidden)
        self.dropped = min(round(dropout * 2**16), 2**16 - 1)
        """How many of 65536 entries are dropped."""

    def forward(self, feature_MD: Tensor, rng: np.random.Generator | None = None) -> Projected:  # type: ignore[override]
        """Values (M, H) of at least 0, some dropped as the generator draws; none without a generator."""
        hidden_MH = rows_times(feature_MD, self.weight, self.bias, "relu")
        if rng is None or not self.dropped:
            return Projected(feature_MD, hidden_MH, 1.0)
        scale = 2**16 / (2**16 - self.dropped)
        hidden_MH.mul_(self._kept(len(feature_MD), rng)).mul_(scale)
        return Projected(feature_MD, hidden_MH, scale)

    def backward(self, projected: Projected, of_hidden_MH: Tensor) -> None:
        """Put a loss's gradients on the weights, from those of the values that `forward` gave."""
        feature_MD, hidden_MH, scale = projected
        # What is above 0 was kept.
        of_linear_MH = torch.ops.aten.threshold_backward(of_hidden_MH, hidden_MH, 0).mul_(scale)
        # Before the product, which leaves nothing else in the processor's caches.
        self.bias.grad = of_linear_MH.sum(0)
        self.weight.grad = weighted_sums(of_linear_MH.t(), feature_MD)

    def _kept(self, rows: int, rng: np.random.Generator) -> Tensor:
        """1 where an entry is kept and 0 where it is dropped, as bytes: torch multiplies by them faster than by bools."""
        shape, device = (rows, self.out_features), self.weight.device
        if device.type != "cpu":
            generator = torch.Generator(device).manual_seed(int(rng.integers(2**63)))
            return torch.empty(shape, dtype=torch.uint8, device=device).bernoulli_(
                1 - self.dropped / 2**16, generator=generator
            )
        entries = math.prod(shape)
        words = rng.integers(2**64, size=-(-entries // 4), dtype=np.uint64)
        # Little-endian everywhere. Compared by numpy, which does so faster than torch.
        bits = words.astype("<u8", copy=False).view("<i2")[:entries]
        return torch.from_numpy((bits >= self.dropped - 2**15).view(np.uint8)).view(shape)


class AttentionMIL(nn.Module):
    """Projector, three attention pools, linear classifier.

    With `--pooling flat` the two upper pools have no weights of their own: the score of a slice is the log-sum-exp of
    its patches' scores, that of a stain the log-sum-exp of its slices', and the product of the three softmaxes is one
    softmax over the case, of which slice and stain attention are the marginals.
    """

    def __init__(self, n_features: int, n_classes: int, config: TrainingConfig) -> None:
        super().__init__()
        self.pooling = config.pooling
        self.standardise = Standardiser(n_features) if config.standardise == "train" else nn.Identity()
        self.project = Projector(n_features, config.hidden, config.dropout)
        self.patch_pool = self._pool(config)
        if config.pooling != "flat":
            self.slice_pool = self._pool(config)
            self.stain_pool = self._pool(config)
        self.classify = nn.Linear(config.hidden, n_classes)
        # `backward` computes the gradients; torch need not note what it would compute them from.
        self.requires_grad_(False)

    def forward(
        self, feature_MD: Tensor, slice_GN: Tensor, stain_SG: Tensor, rng: np.random.Generator | None = None
    ) -> CaseOutput:
        """Logits and attention of one case.

        Args:
            feature_MD: float32 features of the case's N patches, in any order; rows below these count for nothing.
            slice_GN: bool, true where patch n lies in slice g; every row and column has a true.
            stain_SG: bool, true where slice g is of stain s; every row and column has a true.
            rng: draws what dropout drops while training; None drops nothing.
        """
        n_patches = slice_GN.shape[1]
        slice_GM = nn.functional.pad(slice_GN, (0, len(feature_MD) - n_patches))
        case_1S = stain_SG.any(1)[None]
        projected: Projected = self.project(self.standardise(feature_MD), rng)
        patches: Pooled = self.patch_pool(projected.hidden_MH, slice_GM)
        if self.pooling == "flat":
            slices = attend(total(patches), patches.mean_KH, stain_SG)
            stains = attend(total(slices), slices.mean_KH, case_1S)
        else:
            log_size_G = log_size_S = None
            if self.pooling == "size-corrected":
                # Equal scores then give every patch of the case the same effective attention, not every slice.
                size_G = slice_GN.sum(1)
                log_size_G, log_size_S = size_G.log(), (stain_SG * size_G).sum(1).log()
            slices = self.slice_pool(patches.mean_KH, stain_SG, log_size_G)
            stains = self.stain_pool(slices.mean_KH, case_1S, log_size_S)
        logits_C = self.classify(stains.mean_KH).squeeze(0)
        attention = Attention(stains.log_weight_M, slices.log_weight_M, patches.log_weight_M[:n_patches])
        return CaseOutput(logits_C, attention, projected, patches, slices, stains)

    def backward(self, output: CaseOutput, of_logits_C: Tensor, of_attention: OfAttention) -> None:
        """Put a loss's gradients on the weights, in place of what is there.

        Args:
            output: what `forward` gave.
            of_logits_C: the loss's gradients of the logits.
            of_attention: and those of the attention.
        """
        patches, slices, stains = output.patches, output.slices, output.stains
        of_log_stain_S, of_log_slice_G, of_log_patch_M = of_attention
        if of_log_patch_M is not None:
            of_log_patch_M = nn.functional.pad(of_log_patch_M, (0, len(patches.score_M) - len(of_log_patch_M)))
        self.classify.weight.grad = torch.outer(of_logits_C, stains.mean_KH[0])
        self.classify.bias.grad = of_logits_C
        of_case_1H = (of_logits_C @ self.classify.weight)[None]
        of_patch_score_M = None
        if self.pooling == "flat":
            of_stain_score_S = of_scores(stains, of_case_1H, of_log_stain_S)
            of_stain_SH = stains.weight_KM.t() @ of_case_1H
            of_slice_score_G = of_scores(slices, of_stain_SH, of_log_slice_G) + of_stain_score_S @ slices.weight_KM
            of_slice_GH = slices.weight_KM.t() @ of_stain_SH
            of_patch_score_M = of_slice_score_G @ patches.weight_KM
        else:
            of_stain_SH = self.stain_pool.backward(stains, of_case_1H, of_log_stain_S)
            of_slice_GH = self.slice_pool.backward(slices, of_stain_SH, of_log_slice_G)
        of_hidden_MH = self.patch_pool.backward(patches, of_slice_GH, of_log_patch_M, of_patch_score_M)
        self.project.backward(output.projected, of_hidden_MH)

    @staticmethod
    def _pool(config: TrainingConfig) -> AttentionPool:
        return AttentionPool(config.hidden, config.attention_dim, gated=config.gated)


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


def of_unevenness(weight: float, log_weight_M: Tensor, member_KM: Tensor) -> Tensor | None:
    """The gradient of so many times the unevenness, shape (M,); none where the weight is 0."""
    if not weight:
        return None
    log_weight_M = log_weight_M.detach().requires_grad_()
    (of_log_weight_M,) = torch.autograd.grad(weight * unevenness(log_weight_M, member_KM), log_weight_M)
    return of_log_weight_M
