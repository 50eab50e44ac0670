"""Attention pooling of one level: a score a member, the softmax within each group of members, and the weighted means.

Gradients are written out, here and in the model: torch would derive the same ones, but a case then waits longer for
hundreds of small operations to be noted and begun than for what they compute. The tests hold them against torch's.

Axes, named in suffixes:  M members of a level   K the groups that they lie in   H hidden   A attention   O = 2 A
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from milstore.training.products import products_with, rows_times, suits_onednn, weighted_sums

aten = torch.ops.aten


class Scoring(NamedTuple):
    """What scores were computed from."""

    content_MA: Tensor
    """tanh(V h)"""
    gate_MA: Tensor | None
    """sigmoid(U h); none without the gate."""
    gated_MA: Tensor
    """Their product, or the content alone."""


class Pooled(NamedTuple):
    """What attention makes of one level, and of what."""

    value_MH: Tensor
    """The members."""
    member_KM: Tensor
    """Bool, true where member m lies in group k."""
    score_M: Tensor
    """Scores of the members."""
    log_weight_M: Tensor
    """Logarithms of the members' weights, which sum to 1 (after exp) within a group; -inf for a member of no group."""
    weight_KM: Tensor
    """The weights in the rows of their groups, and 0 elsewhere."""
    mean_KH: Tensor
    """Weighted mean of each group's members."""
    scoring: Scoring | None = None
    """None where the scores were given."""


class AttentionPool(nn.Module):
    """Attention with a score a member of w . (tanh(V h) * sigmoid(U h)), or without the gate w . tanh(V h).

    Ilse et al. 2018, equations 9 and 8. The last layer has no bias: the softmax would cancel it.
    """

    def __init__(self, hidden: int, attention_dim: int, *, gated: bool) -> None:
        super().__init__()
        self.gated = gated
        # V above U.
        self.project = nn.Linear(hidden, 2 * attention_dim if gated else attention_dim)
        self.weigh = nn.Linear(attention_dim, 1, bias=False)

    def forward(self, value_MH: Tensor, member_KM: Tensor, bonus_M: Tensor | None = None) -> Pooled:
        """Pool the members of each group.

        Args:
            value_MH: the members.
            member_KM: bool, true where member m lies in group k; each member in one group at most, no group empty.
            bonus_M: is added to the scores; no gradient flows to it.
        """
        weight_OH, bias_O = self.project.weight, self.project.bias
        if self.gated:
            content_MA, gate_MA = _content_and_gate(value_MH, weight_OH, bias_O)
            gated_MA = content_MA * gate_MA
        else:
            gated_MA = content_MA = rows_times(value_MH, weight_OH, bias_O, "tanh")
            gate_MA = None
        score_M = gated_MA.mv(self.weigh.weight[0])
        if bonus_M is not None:
            score_M = score_M + bonus_M
        return attend(score_M, value_MH, member_KM, Scoring(content_MA, gate_MA, gated_MA))

    def backward(
        self,
        pooled: Pooled,
        of_mean_KH: Tensor,
        of_log_weight_M: Tensor | None = None,
        of_score_M: Tensor | None = None,
    ) -> Tensor:
        """Put a loss's gradients on the weights, and return those of the members (M, H).

        Args:
            pooled: what `forward` gave.
            of_mean_KH, of_log_weight_M, of_score_M: the loss's gradients of what is so called there; none are 0.
        """
        assert pooled.scoring is not None
        content_MA, gate_MA, gated_MA = pooled.scoring
        through_M = of_scores(pooled, of_mean_KH, of_log_weight_M)
        of_score_M = through_M if of_score_M is None else through_M + of_score_M
        of_gated_MA = torch.outer(of_score_M, self.weigh.weight[0])
        if gate_MA is None:
            of_projected_MO = aten.tanh_backward(of_gated_MA, content_MA)
        else:
            of_projected_MO = of_gated_MA.new_empty(len(of_gated_MA), 2 * of_gated_MA.shape[1])
            of_content_MA, of_gate_MA = of_projected_MO.chunk(2, dim=1)
            aten.tanh_backward.grad_input(of_gated_MA * gate_MA, content_MA, grad_input=of_content_MA)
            aten.sigmoid_backward.grad_input(of_gated_MA * content_MA, gate_MA, grad_input=of_gate_MA)
        self.project.weight.grad = weighted_sums(of_projected_MO.t(), pooled.value_MH)
        self.project.bias.grad = of_projected_MO.sum(0)
        self.weigh.weight.grad = gated_MA.t().mv(of_score_M)[None]
        of_value_MH = rows_times(of_projected_MO, self.project.weight.t())
        return of_value_MH.addmm_(pooled.weight_KM.t(), of_mean_KH)


def attend(score_M: Tensor, value_MH: Tensor, member_KM: Tensor, scoring: Scoring | None = None) -> Pooled:
    """Pool by these scores; the groups as for `AttentionPool`."""
    log_weight_KM = torch.where(member_KM, score_M, -torch.inf).log_softmax(1)
    weight_KM = log_weight_KM.exp()
    # A member's weight is in the row of its group, and -inf in all others.
    log_weight_M = log_weight_KM.amax(0)
    mean_KH = weighted_sums(weight_KM, value_MH)
    return Pooled(value_MH, member_KM, score_M, log_weight_M, weight_KM, mean_KH, scoring)


def of_scores(pooled: Pooled, of_mean_KH: Tensor, of_log_weight_M: Tensor | None) -> Tensor:
    """A loss's gradients of the scores (M,), from those of the means and of the logarithms of the weights, if any."""
    of_weight_KM = products_with(of_mean_KH, pooled.value_MH)
    weight_KM = pooled.weight_KM
    of_score_M: Tensor = aten._softmax_backward_data(of_weight_KM, weight_KM, 1, weight_KM.dtype).sum(0)
    if of_log_weight_M is not None:
        # d(log w) / d(score) of two members of a group is 1 (if they are the same) - w.
        of_total_K = torch.where(pooled.member_KM, of_log_weight_M, 0.0).sum(1)
        of_score_M += of_log_weight_M - of_total_K @ weight_KM
    return of_score_M


def total(pooled: Pooled) -> Tensor:
    """Log-sum-exp of each group's scores, shape (K,). Its gradient of a member's score is the member's weight."""
    return torch.where(pooled.member_KM, pooled.score_M, -torch.inf).logsumexp(1)


def _content_and_gate(value_MH: Tensor, weight_OH: Tensor, bias_O: Tensor) -> tuple[Tensor, Tensor]:
    """tanh(V h) and sigmoid(U h), shape (M, A) each."""
    if not suits_onednn(value_MH):
        content_MA, gate_MA = nn.functional.linear(value_MH, weight_OH, bias_O).chunk(2, dim=1)
        return content_MA.tanh(), gate_MA.sigmoid()
    # A product each, as tanh and sigmoid are then computed where the products still lie in the processor's cache.
    (weight_AH, weight_gate_AH), (bias_A, bias_gate_A) = weight_OH.chunk(2), bias_O.chunk(2)
    return rows_times(value_MH, weight_AH, bias_A, "tanh"), rows_times(value_MH, weight_gate_AH, bias_gate_A, "sigmoid")
