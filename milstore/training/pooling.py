"""Attention pooling of one level: a score a member, the softmax within each group of members, and the weighted means.

Gradients are written out. Torch would derive the same ones, as some forty operations a level, and a case waits longer
for those to be begun than for what they compute.

Axes, named in suffixes:  M members of a level   K the groups that they lie in   H hidden   A attention   O = 2 A
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from milstore.training.products import Linear, products_with, rows_times, suits_onednn, weighted_sums

aten = torch.ops.aten


class Pooled(NamedTuple):
    """What attention makes of one level."""

    score_M: Tensor
    """Scores of the members."""
    log_weight_M: Tensor
    """Logarithms of the members' weights, which sum to 1 (after exp) within a group; -inf for a member of no group."""
    mean_KH: Tensor
    """Weighted mean of each group's members."""


class AttentionPool(nn.Module):
    """Attention with a score a member of w . (tanh(V h) * sigmoid(U h)), or without the gate w . tanh(V h).

    Ilse et al. 2018, equations 9 and 8. The last layer has no bias: the softmax would cancel it.
    """

    def __init__(self, hidden: int, attention_dim: int, *, gated: bool) -> None:
        super().__init__()
        self.gated = gated
        # V above U.
        self.project = Linear(hidden, 2 * attention_dim if gated else attention_dim)
        self.weigh = nn.Linear(attention_dim, 1, bias=False)

    def forward(self, value_MH: Tensor, member_KM: Tensor, bonus_M: Tensor | None = None) -> Pooled:
        """Pool the members of each group.

        Args:
            value_MH: the members.
            member_KM: bool, true where member m lies in group k; each member in one group at most, no group empty.
            bonus_M: is added to the scores; no gradient flows to it.
        """
        if self.gated:
            weights = self.project.weight, self.project.bias, self.weigh.weight
            return Pooled(*_GatedPool.apply(value_MH, member_KM, bonus_M, *weights))  # type: ignore[no-untyped-call]
        score_M = self.weigh(self.project(value_MH).tanh()).squeeze(1)
        return attend(score_M if bonus_M is None else score_M + bonus_M, value_MH, member_KM)


def attend(score_M: Tensor, value_MH: Tensor, member_KM: Tensor) -> Pooled:
    """Pool by scores that are given; the groups as for `AttentionPool`."""
    return Pooled(score_M, *_Attend.apply(score_M, value_MH, member_KM))  # type: ignore[no-untyped-call]


def total(score_M: Tensor, member_KM: Tensor) -> Tensor:
    """Log-sum-exp of each group's scores, shape (K,)."""
    return torch.where(member_KM, score_M, -torch.inf).logsumexp(1)


class _GatedPool(torch.autograd.Function):
    """Scores and pooling at once, as the gradients of the members are then summed where they are computed."""

    @staticmethod
    def forward(
        ctx: Any,
        value_MH: Tensor,
        member_KM: Tensor,
        bonus_M: Tensor | None,
        weight_OH: Tensor,
        bias_O: Tensor,
        weigh_1A: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        content_MA, gate_MA = _content_and_gate(value_MH, weight_OH, bias_O)
        gated_MA = content_MA * gate_MA
        score_M = gated_MA @ weigh_1A[0]
        if bonus_M is not None:
            score_M += bonus_M
        log_weight_M, weight_KM, mean_KH = _pool(score_M, value_MH, member_KM)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(value_MH, member_KM, weight_OH, weigh_1A, content_MA, gate_MA, gated_MA, weight_KM)
        return score_M, log_weight_M, mean_KH

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, of_score_M: Tensor | None, of_log_weight_M: Tensor | None, of_mean_KH: Tensor | None
    ) -> tuple[Tensor, None, None, Tensor, Tensor, Tensor]:
        value_MH, member_KM, weight_OH, weigh_1A, content_MA, gate_MA, gated_MA, weight_KM = ctx.saved_tensors
        of_mean_KH = _or_zeros(of_mean_KH, member_KM, value_MH)
        through_M = _gradient_of_scores(of_log_weight_M, of_mean_KH, value_MH, member_KM, weight_KM)
        of_score_M = through_M if of_score_M is None else through_M + of_score_M
        of_gated_MA = torch.outer(of_score_M, weigh_1A[0])
        of_projected_MO = value_MH.new_empty(len(value_MH), len(weight_OH))
        of_content_MA, of_gate_MA = of_projected_MO.chunk(2, dim=1)
        aten.tanh_backward.grad_input(of_gated_MA * gate_MA, content_MA, grad_input=of_content_MA)
        aten.sigmoid_backward.grad_input(of_gated_MA * content_MA, gate_MA, grad_input=of_gate_MA)
        return (
            rows_times(of_projected_MO, weight_OH.t()).addmm_(weight_KM.t(), of_mean_KH),
            None,
            None,
            weighted_sums(of_projected_MO.t(), value_MH),
            of_projected_MO.sum(0),
            (of_score_M @ gated_MA)[None],
        )


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, score_M: Tensor, value_MH: Tensor, member_KM: Tensor) -> tuple[Tensor, Tensor]:
        log_weight_M, weight_KM, mean_KH = _pool(score_M, value_MH, member_KM)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(value_MH, member_KM, weight_KM)
        return log_weight_M, mean_KH

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_log_weight_M: Tensor | None, of_mean_KH: Tensor | None) -> tuple[Tensor, Tensor, None]:
        value_MH, member_KM, weight_KM = ctx.saved_tensors
        of_mean_KH = _or_zeros(of_mean_KH, member_KM, value_MH)
        of_score_M = _gradient_of_scores(of_log_weight_M, of_mean_KH, value_MH, member_KM, weight_KM)
        return of_score_M, weight_KM.t() @ of_mean_KH, None


def _content_and_gate(value_MH: Tensor, weight_OH: Tensor, bias_O: Tensor) -> tuple[Tensor, Tensor]:
    """tanh(V h) and sigmoid(U h), shape (M, A) each."""
    if not suits_onednn(value_MH):
        content_MA, gate_MA = nn.functional.linear(value_MH, weight_OH, bias_O).chunk(2, dim=1)
        return content_MA.tanh(), gate_MA.sigmoid()
    # A product each, as tanh and sigmoid are then computed where the products still lie in the processor's cache.
    (weight_AH, weight_gate_AH), (bias_A, bias_gate_A) = weight_OH.chunk(2), bias_O.chunk(2)
    return rows_times(value_MH, weight_AH, bias_A, "tanh"), rows_times(value_MH, weight_gate_AH, bias_gate_A, "sigmoid")


def _pool(score_M: Tensor, value_MH: Tensor, member_KM: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logarithms of the members' weights (M,), the weights in their groups (K, M), and the weighted means (K, H)."""
    log_weight_KM = torch.where(member_KM, score_M, -torch.inf).log_softmax(1)
    weight_KM = log_weight_KM.exp()
    # A member's weight is in the row of its group, and -inf in all others.
    return log_weight_KM.amax(0), weight_KM, weighted_sums(weight_KM, value_MH)


def _or_zeros(of_mean_KH: Tensor | None, member_KM: Tensor, value_MH: Tensor) -> Tensor:
    """The gradient of the means, where nothing may have been made of them."""
    return value_MH.new_zeros(len(member_KM), value_MH.shape[1]) if of_mean_KH is None else of_mean_KH


def _gradient_of_scores(
    of_log_weight_M: Tensor | None, of_mean_KH: Tensor, value_MH: Tensor, member_KM: Tensor, weight_KM: Tensor
) -> Tensor:
    """Gradients of the scores from those of the logarithms of the weights, if there are any, and of the means."""
    of_weight_KM = products_with(of_mean_KH, value_MH)
    of_score_M: Tensor = aten._softmax_backward_data(of_weight_KM, weight_KM, 1, weight_KM.dtype).sum(0)
    if of_log_weight_M is not None:
        # d(log w) / d(score) of two members of a group is 1 (if they are the same) - w.
        of_total_K = torch.where(member_KM, of_log_weight_M, 0.0).sum(1)
        of_score_M += of_log_weight_M - of_total_K @ weight_KM
    return of_score_M
