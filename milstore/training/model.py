"""The model: attention pooling of patches into slices, slices into stains and stains into the case.

Ilse, Tomczak & Welling, "Attention-based Deep Multiple Instance Learning", ICML 2018 (arXiv:1802.04712), applied level
by level. A case is one packed tensor, so the projector is one matrix product a case; which patch lies in which slice,
and which slice in which stain, travels beside it as two membership matrices. A softmax within a segment is then a
masked row of a small matrix: no order of the patches is assumed, a missing stain is a missing row, and nothing is
summed by index, so the sums are the same each time, on a GPU too.

Axes, named in suffixes:  N patches   G slices   S stains   D features   H hidden   A attention   C classes
                          M members of any level, K the groups that they lie in
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from milstore.training.config import TrainingConfig
from milstore.training.pooling import AttentionScore, attend
from milstore.training.products import Linear


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
    """What the model says of one case: unnormalised log-probabilities of the classes, and how it came to them."""

    logits_C: Tensor
    attention: Attention


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


class ReluDropout(nn.Module):
    """ReLU, then dropout whose mask is a function of a seed.

    Sixteen random bits an entry, so that the share that is dropped is rounded to 1 / 65536; what is kept is scaled by
    the rounded share. Torch's own masks take one thread six times as long, which two threads would wait for.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.dropped = min(round(share * 2**16), 2**16 - 1)
        """How many of 65536 entries are dropped."""
        self.seed = 0
        """Of the next mask."""

    def forward(self, value_MH: Tensor) -> Tensor:
        """Values of at least 0, some dropped while training. Overwrites its argument."""
        if not (self.training and self.dropped):
            return value_MH.relu_()
        if value_MH.device.type == "cuda":
            torch.cuda.manual_seed(self.seed)
            return nn.functional.dropout(value_MH.relu_(), self.dropped / 2**16)
        return _DroppedRelu.apply(value_MH, self._kept(value_MH.shape), 2**16 / (2**16 - self.dropped))  # type: ignore[no-any-return, no-untyped-call]

    def _kept(self, shape: torch.Size) -> Tensor:
        """Bool, false where an entry is dropped."""
        words = np.random.default_rng(self.seed).integers(2**64, size=-(-shape.numel() // 4), dtype=np.uint64)
        # Little-endian everywhere. Compared by numpy, which does so faster than torch.
        bits = words.astype("<u8", copy=False).view("<i2")[: shape.numel()]
        return torch.from_numpy(bits >= self.dropped - 2**15).view(shape)


class _DroppedRelu(torch.autograd.Function):
    """Both in place, and backward from the result alone: what is above 0 was kept."""

    @staticmethod
    def forward(ctx: Any, value_MH: Tensor, kept_MH: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        ctx.mark_dirty(value_MH)
        # Torch multiplies by bytes three times as fast as by bools.
        value_MH.relu_().mul_(kept_MH.view(torch.uint8)).mul_(scale)
        ctx.save_for_backward(value_MH)
        return value_MH

    @staticmethod
    def backward(ctx: Any, gradient_MH: Tensor) -> tuple[Tensor, None, None]:
        (value_MH,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradient_MH, value_MH, 0).mul_(ctx.scale), None, None


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
        self.project = Linear(n_features, config.hidden)
        self.activate = ReluDropout(config.dropout)
        self.patch_score = self._scorer(config)
        if config.pooling != "flat":
            self.slice_score = self._scorer(config)
            self.stain_score = self._scorer(config)
        self.classify = nn.Linear(config.hidden, n_classes)

    def forward(self, feature_MD: Tensor, slice_GN: Tensor, stain_SG: Tensor) -> CaseOutput:
        """Logits and attention of one case.

        Args:
            feature_MD: float32 features of the case's N patches, in any order; rows below these count for nothing.
            slice_GN: bool, true where patch n lies in slice g; every row and column has a true.
            stain_SG: bool, true where slice g is of stain s; every row and column has a true.
        """
        hidden_MH = self.activate(self.project(self.standardise(feature_MD)))
        n_patches = slice_GN.shape[1]
        slice_GM = nn.functional.pad(slice_GN, (0, len(feature_MD) - n_patches))
        patches_G = slice_GN.sum(1)
        patches_S = (stain_SG * patches_G).sum(1)

        score_M = self.patch_score(hidden_MH)
        log_patch_M, total_G, pooled_GH = attend(score_M, hidden_MH, slice_GM)

        score_G = total_G if self.pooling == "flat" else self._corrected(self.slice_score(pooled_GH), patches_G)
        log_slice_G, total_S, pooled_SH = attend(score_G, pooled_GH, stain_SG)

        score_S = total_S if self.pooling == "flat" else self._corrected(self.stain_score(pooled_SH), patches_S)
        case_1S = torch.ones_like(stain_SG[:1, :1]).expand(1, stain_SG.shape[0])
        log_stain_S, _, pooled_1H = attend(score_S, pooled_SH, case_1S)

        logits_C = self.classify(pooled_1H).squeeze(0)
        return CaseOutput(logits_C, Attention(log_stain_S, log_slice_G, log_patch_M[:n_patches]))

    def _corrected(self, score_K: Tensor, patches_K: Tensor) -> Tensor:
        """The scores, plus the log of the patches beneath each group where sizes are corrected for.

        Equal scores then give every patch of the case the same effective attention, not every slice.
        """
        return score_K + patches_K.log() if self.pooling == "size-corrected" else score_K

    @staticmethod
    def _scorer(config: TrainingConfig) -> AttentionScore:
        return AttentionScore(config.hidden, config.attention_dim, gated=config.gated)


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
