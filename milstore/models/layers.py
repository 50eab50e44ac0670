"""Layers that models share: linear layers, the projector, attention pools, and the standardiser of features.

Which patch lies in which slice comes as a membership matrix, and a softmax within each group is a masked row of a small
matrix: no order of the members is assumed, a missing group is a missing row, and nothing is summed by index, so that
sums are the same each time, on a GPU too.

Axes, named in suffixes:  M members of any level, K the groups that they lie in
                          N patches   D features   H hidden   A attention   T attention heads
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from milstore.models import products


class Linear(nn.Linear):
    """`torch.nn.Linear`, by the faster of two libraries."""

    def forward(self, value_MI: Tensor) -> Tensor:
        """The product of rows and the weights, plus the bias."""
        return products.linear(value_MI, self.weight, self.bias)


class Dropout(nn.Module):
    """`torch.nn.Dropout`, with masks that are drawn faster."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, value: Tensor) -> Tensor:
        """The values, in training with a share of them dropped and the rest scaled up."""
        return products.dropout(value, self.share, self.training)


class Projector(nn.Module):
    """The projector: relu(W x + b), then dropout, for each patch on its own, shape (N, H)."""

    def __init__(self, n_features: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.linear = Linear(n_features, hidden)
        self.drop = Dropout(dropout)

    def forward(self, feature_ND: Tensor) -> Tensor:
        """Values of at least 0, shape (N, H)."""
        value_NH: Tensor = self.drop(self.linear(feature_ND).relu())
        return value_NH


class AttentionScore(nn.Module):
    """A score a member: w . (tanh(V h) * sigmoid(U h)), or without the gate w . tanh(V h); several by several w.

    Ilse, Tomczak & Welling, "Attention-based Deep Multiple Instance Learning", ICML 2018, equations 9 and 8. The last
    layer has no bias: the softmax would cancel it. Dropout, if any, is before the last layer.
    """

    def __init__(self, hidden: int, attention_dim: int, *, gated: bool, dropout: float = 0.0, heads: int = 1) -> None:
        super().__init__()
        self.gated = gated
        # V above U.
        self.project = Linear(hidden, 2 * attention_dim if gated else attention_dim)
        self.drop = Dropout(dropout)
        self.weigh = nn.Linear(attention_dim, heads, bias=False)

    def forward(self, value_MH: Tensor) -> Tensor:
        """Scores of any sign, shape (M, T)."""
        projected = self.project(value_MH)
        if self.gated:
            content_MA, gate_MA = projected.chunk(2, dim=1)
            attended_MA = content_MA.tanh() * gate_MA.sigmoid()
        else:
            attended_MA = projected.tanh()
        score_MT: Tensor = self.weigh(self.drop(attended_MA))
        return score_MT


class Pooled(NamedTuple):
    """The result of attention pooling at one level."""

    mean_KH: Tensor
    """Weighted mean of each group's members."""
    log_weight_M: Tensor
    """Logarithms of the members' weights, which sum to 1 (after exp) within a group."""
    score_M: Tensor
    """Scores of the members."""


class AttentionPool(nn.Module):
    """Scores the members, and pools each group by the softmax of its members' scores."""

    def __init__(self, hidden: int, attention_dim: int, *, gated: bool, dropout: float = 0.0) -> None:
        super().__init__()
        self.score = AttentionScore(hidden, attention_dim, gated=gated, dropout=dropout)

    def forward(self, value_MH: Tensor, member_KM: Tensor, bonus_M: Tensor | None = None) -> Pooled:
        """Pool the members of each group.

        Args:
            value_MH: the members.
            member_KM: bool, true where member m lies in group k; each member in one group, no group empty.
            bonus_M: is added to the scores.
        """
        score_M = self.score(value_MH).squeeze(1)
        return pool(score_M if bonus_M is None else score_M + bonus_M, value_MH, member_KM)


def pool(score_M: Tensor, value_MH: Tensor, member_KM: Tensor) -> Pooled:
    """Pool by these scores; the groups as for `AttentionPool`."""
    log_weight_KM = segment_log_softmax(score_M, member_KM)
    # A member's weight is in the row of its group, and -inf in all others.
    log_weight_M = torch.where(member_KM, log_weight_KM, 0.0).sum(0)
    return Pooled(log_weight_KM.exp() @ value_MH, log_weight_M, score_M)


def segment_log_softmax(score_M: Tensor, member_KM: Tensor) -> Tensor:
    """Logarithms of the softmax within each group, in the row of the group, and -inf elsewhere; shape (K, M)."""
    return torch.where(member_KM, score_M, -torch.inf).log_softmax(1)


def segment_logsumexp(score_M: Tensor, member_KM: Tensor) -> Tensor:
    """Log-sum-exp of each group's scores, shape (K,). Its derivative by a member's score is the member's weight."""
    return torch.where(member_KM, score_M, -torch.inf).logsumexp(1)


class Standardiser(nn.Module):
    """Shifts, scales and clips each feature by fixed numbers, which are stored with the weights.

    It stands before a model and belongs to none: every model may be given standardised features.
    """

    shift_D: Tensor
    scale_D: Tensor
    clip: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.register_buffer("shift_D", torch.zeros(n_features))
        self.register_buffer("scale_D", torch.ones(n_features))
        self.register_buffer("clip", torch.tensor(torch.inf))

    def take(self, mean_D: Tensor, deviation_D: Tensor, clip: float = 0.0) -> None:
        """Shift and scale by these moments from now on, and clip at plus and minus `clip`; 0 clips nothing.

        A deviation of 0 must be given as 1, so that it can be divided by.
        """
        self.shift_D.copy_(mean_D)
        self.scale_D.copy_(1 / deviation_D)
        self.clip.fill_(clip or torch.inf)

    def forward(self, feature_ND: Tensor) -> Tensor:
        """Features with mean 0 and deviation 1 over the patches that the moments were taken from."""
        # In place where nobody sees it: features are the largest thing there is.
        return (feature_ND - self.shift_D).mul_(self.scale_D).clamp_(-self.clip, self.clip)
