"""Attention pooling of one level: a score a member, the softmax within each group of members, and the weighted means.

Axes, named in suffixes:  M members of a level   K the groups that they lie in   H hidden   A attention
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from milstore.training.dropout import Dropout


class Pooled(NamedTuple):
    """What attention makes of one level."""

    score_M: Tensor
    """Scores of the members."""
    log_weight_M: Tensor
    """Logarithms of the members' weights, which sum to 1 (after exp) within a group."""
    weight_KM: Tensor
    """The weights in the rows of their groups, and 0 elsewhere."""
    mean_KH: Tensor
    """Weighted mean of each group's members."""


class AttentionPool(nn.Module):
    """Attention with a score a member of w . (tanh(V h) * sigmoid(U h)), or without the gate w . tanh(V h).

    Ilse et al. 2018, equations 9 and 8. The last layer has no bias: the softmax would cancel it. Dropout is
    of what that layer weighs.
    """

    def __init__(self, hidden: int, attention_dim: int, *, gated: bool, dropout: float = 0.0) -> None:
        super().__init__()
        self.gated = gated
        # V above U.
        self.project = nn.Linear(hidden, 2 * attention_dim if gated else attention_dim)
        self.drop = Dropout(dropout)
        self.weigh = nn.Linear(attention_dim, 1, bias=False)

    def forward(self, value_MH: Tensor, member_KM: Tensor, bonus_M: Tensor | None = None) -> Pooled:
        """Pool the members of each group.

        Args:
            value_MH: the members.
            member_KM: bool, true where member m lies in group k; each member in one group, no group empty.
            bonus_M: is added to the scores.
        """
        projected = self.project(value_MH)
        if self.gated:
            content_MA, gate_MA = projected.chunk(2, dim=1)
            activation_MA = content_MA.tanh() * gate_MA.sigmoid()
        else:
            activation_MA = projected.tanh()
        score_M = self.weigh(self.drop(activation_MA)).squeeze(1)
        return attend(score_M if bonus_M is None else score_M + bonus_M, value_MH, member_KM)


def attend(score_M: Tensor, value_MH: Tensor, member_KM: Tensor) -> Pooled:
    """Pool by these scores; the groups as for `AttentionPool`."""
    log_weight_KM = torch.where(member_KM, score_M, -torch.inf).log_softmax(1)
    weight_KM = log_weight_KM.exp()
    # A member's weight is in the row of its group; all other rows have -inf.
    log_weight_M = torch.where(member_KM, log_weight_KM, 0).sum(0)
    return Pooled(score_M, log_weight_M, weight_KM, weight_KM @ value_MH)


def total(pooled: Pooled, member_KM: Tensor) -> Tensor:
    """Log-sum-exp of each group's scores, shape (K,)."""
    return torch.where(member_KM, pooled.score_M, -torch.inf).logsumexp(1)
