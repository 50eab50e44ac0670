"""Matrix products on a processor, by the faster of the two libraries that torch carries.

Torch's own float32 products are MKL's, which keeps its widest instructions for Intel's processors. oneDNN uses them on
every one that has them: on an AMD with AVX-512 it takes half the time. Torch offers it for float32 only as the operator
that its compiler turns linear layers into. Both compute in float32 throughout, and sum in another order.

Axes, named in suffixes:  M rows   I what is summed over   O columns   K groups
"""

from typing import Any

import torch
from torch import Tensor, nn

LEAST_ROWS = 32
"""Below this, finding oneDNN's kernel takes longer than the product."""


def has_onednn() -> bool:
    """Whether this build of torch carries oneDNN's linear layer."""
    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return there and hasattr(torch.ops.mkldnn, "_linear_pointwise")


_HAS_ONEDNN = has_onednn()


def times_transposed(value_MI: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """The product (M, O) of a matrix and another's transpose, plus a bias, by oneDNN: float32 on a CPU, no gradient."""
    product_MO: Tensor = torch.ops.mkldnn._linear_pointwise(value_MI, weight_OI, bias_O, "none", [], "")
    return product_MO


class Linear(nn.Linear):
    """`torch.nn.Linear` for matrices, with the same weights; many rows on a CPU are multiplied by oneDNN."""

    def forward(self, input: Tensor) -> Tensor:
        """Values (M, O) of rows (M, I)."""
        if not _suits_onednn(input):
            return super().forward(input)
        return _Linear.apply(input, self.weight, self.bias)  # type: ignore[no-any-return, no-untyped-call]


def weighted_sums(weight_KM: Tensor, value_MO: Tensor) -> Tensor:
    """The product (K, O); many rows of values on a CPU are multiplied by oneDNN."""
    if not _suits_onednn(value_MO):
        return weight_KM @ value_MO
    return _WeightedSums.apply(weight_KM, value_MO)  # type: ignore[no-any-return, no-untyped-call]


def _suits_onednn(value: Tensor) -> bool:
    return _HAS_ONEDNN and len(value) >= LEAST_ROWS and value.device.type == "cpu" and value.dtype == torch.float32


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value_MI: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
        ctx.save_for_backward(value_MI, weight_OI)
        return times_transposed(value_MI, weight_OI, bias_O)

    @staticmethod
    def backward(ctx: Any, gradient_MO: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        value_MI, weight_OI = ctx.saved_tensors
        of_value, of_weight, of_bias = ctx.needs_input_grad
        return (
            times_transposed(gradient_MO, weight_OI.t()) if of_value else None,
            times_transposed(gradient_MO.t(), value_MI.t()) if of_weight else None,
            gradient_MO.sum(0) if of_bias else None,
        )


class _WeightedSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight_KM: Tensor, value_MO: Tensor) -> Tensor:
        ctx.save_for_backward(weight_KM, value_MO)
        return times_transposed(weight_KM, value_MO.t())

    @staticmethod
    def backward(ctx: Any, gradient_KO: Tensor) -> tuple[Tensor | None, Tensor | None]:
        weight_KM, value_MO = ctx.saved_tensors
        of_weight, of_value = ctx.needs_input_grad
        return (
            times_transposed(gradient_KO, value_MO) if of_weight else None,
            times_transposed(weight_KM.t(), gradient_KO.t()) if of_value else None,
        )
