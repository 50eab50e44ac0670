"""Attention pooling of one level: a score a member, and the softmax within each group of members.

Gradients are written out. Torch would derive the same ones, as some thirty operations a level, and a case waits longer
for those to be begun than for what they compute.

Axes, named in suffixes:  M members of a level   K the groups that they lie in   H hidden   A attention
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from milstore.training.products import Linear, rows_times, summed_over_rows

aten = torch.ops.aten


class AttentionScore(nn.Module):
    """One score a member, before the softmax: w . (tanh(V h) * sigmoid(U h)), or without the gate w . tanh(V h).

    Ilse et al. 2018, equations 9 and 8. The last layer has no bias: a softmax would cancel it.
    """

    def __init__(self, hidden: int, attention_dim: int, *, gated: bool) -> None:
        super().__init__()
        self.gated = gated
        # V above U.
        self.project = Linear(hidden, 2 * attention_dim if gated else attention_dim)
        self.weigh = nn.Linear(attention_dim, 1, bias=False)

    def forward(self, value_MH: Tensor) -> Tensor:
        """Scores, shape (M,)."""
        if self.gated:
            return _GatedScore.apply(value_MH, self.project.weight, self.project.bias, self.weigh.weight)  # type: ignore[no-any-return, no-untyped-call]
        return self.weigh(self.project(value_MH).tanh()).squeeze(1)  # type: ignore[no-any-return]


class _GatedScore(torch.autograd.Function):
    """V, U and their biases as one matrix and one vector, V's rows first."""

    @staticmethod
    def forward(ctx: Any, value_MH: Tensor, weight_OH: Tensor, bias_O: Tensor, weigh_1A: Tensor) -> Tensor:
        # A product each, as tanh and sigmoid are then computed where the products still lie in the processor's cache.
        weight_AH, weight_gate_AH = weight_OH.chunk(2)
        bias_A, bias_gate_A = bias_O.chunk(2)
        content_MA = rows_times(value_MH, weight_AH, bias_A, "tanh")
        gate_MA = rows_times(value_MH, weight_gate_AH, bias_gate_A, "sigmoid")
        ctx.save_for_backward(value_MH, weight_OH, weigh_1A, content_MA, gate_MA)
        return (content_MA * gate_MA) @ weigh_1A[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_M: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        value_MH, weight_OH, weigh_1A, content_MA, gate_MA = ctx.saved_tensors
        product_MA = torch.outer(gradient_M, weigh_1A[0])
        projected_MO = torch.cat(
            [
                aten.tanh_backward(product_MA * gate_MA, content_MA),
                aten.sigmoid_backward(product_MA * content_MA, gate_MA),
            ],
            dim=1,
        )
        return (
            rows_times(projected_MO, weight_OH.t()),
            summed_over_rows(projected_MO, value_MH),
            projected_MO.sum(0),
            gradient_M[None] @ (content_MA * gate_MA),
        )


def attend(score_M: Tensor, value_MH: Tensor, member_KM: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Softmax within each group, and the weighted means.

    Args:
        score_M: scores of the members.
        value_MH: what is averaged.
        member_KM: bool, true where member m lies in group k; each member in one group at most, no group empty.

    Returns:
        Log of the members' weights (M,), which means nothing for a member of no group; log-sum-exp of each group's
        scores (K,); weighted means (K, H).
    """
    return _Attend.apply(score_M, value_MH, member_KM)  # type: ignore[no-any-return, no-untyped-call]


class _Attend(torch.autograd.Function):
    """The softmax of scores s: log w = s - t of their group, t the log-sum-exp; dt/ds = w; d(mean)/d(log w) = w * value.

    By torch's products: every case has a shape of its own here, and oneDNN would keep memory for each.
    """

    @staticmethod
    def forward(ctx: Any, score_M: Tensor, value_MH: Tensor, member_KM: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        masked_KM = torch.where(member_KM, score_M, -torch.inf)
        weight_KM = masked_KM.softmax(1)
        # The highest score has the highest weight.
        total_K = masked_KM.amax(1) - weight_KM.amax(1).log()
        member = member_KM.to(score_M.dtype)
        ctx.save_for_backward(value_MH, weight_KM, member)
        # A product with the memberships spreads each group's total over its members: exact, as all else in it is 0.
        return score_M - total_K @ member, total_K, weight_KM @ value_MH

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, of_log_weight_M: Tensor, of_total_K: Tensor, of_mean_KH: Tensor
    ) -> tuple[Tensor, Tensor, None]:
        value_MH, weight_KM, member = ctx.saved_tensors
        of_log_weight_M = of_log_weight_M + (weight_KM * (of_mean_KH @ value_MH.t())).sum(0)
        of_total_K = of_total_K - member @ of_log_weight_M
        return of_log_weight_M + of_total_K @ weight_KM, weight_KM.t() @ of_mean_KH, None
