"""Matrix products on a processor, by the faster of the two libraries that torch carries.

Torch's own float32 products are MKL's, which keeps its widest instructions for Intel's processors. oneDNN uses them on
every one that has them: on an AMD with AVX-512 it takes half the time. Torch offers it for float32 only as the operator
that its compiler turns linear layers into. Both compute in float32 throughout, and sum in another order.

Axes, named in suffixes:  M rows   I and O columns
"""

from typing import Any

import torch
from torch import Tensor, nn

ROWS_AT_A_TIME = 64
"""oneDNN multiplies multiples of so many rows, and MKL the rest. For each shape that it meets, oneDNN keeps memory for
good, megabytes with the gaps that it leaves between others' memory, and every case has its own number of patches."""


def has_onednn() -> bool:
    """Whether this build of torch carries oneDNN's linear layer."""
    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return there and hasattr(torch.ops.mkldnn, "_linear_pointwise")


_HAS_ONEDNN = has_onednn()


class Linear(nn.Linear):
    """`torch.nn.Linear` for matrices, with the same weights; many rows on a CPU are multiplied by oneDNN."""

    def forward(self, input: Tensor) -> Tensor:
        """Values (M, O) of rows (M, I)."""
        suits = len(input) >= ROWS_AT_A_TIME and input.device.type == "cpu" and input.dtype == torch.float32
        if not (_HAS_ONEDNN and suits):
            return super().forward(input)
        return _Linear.apply(input, self.weight, self.bias)  # type: ignore[no-any-return, no-untyped-call]


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value_MI: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
        ctx.save_for_backward(value_MI, weight_OI)
        product_MO = rows_times(value_MI, weight_OI)
        return product_MO if bias_O is None else product_MO.add_(bias_O)

    @staticmethod
    def backward(ctx: Any, gradient_MO: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        value_MI, weight_OI = ctx.saved_tensors
        of_value, of_weight, of_bias = ctx.needs_input_grad
        return (
            rows_times(gradient_MO, weight_OI.t()) if of_value else None,
            summed_over_rows(gradient_MO, value_MI) if of_weight else None,
            gradient_MO.sum(0) if of_bias else None,
        )


def rows_times(value_MI: Tensor, weight_OI: Tensor) -> Tensor:
    """The product (M, O) of rows and a matrix transposed: float32 on a CPU, no gradient."""
    whole = _whole(value_MI)
    if not whole:
        return value_MI @ weight_OI.t()
    if whole == len(value_MI):
        return _times_transposed(value_MI, weight_OI)
    product_MO = value_MI.new_empty(len(value_MI), len(weight_OI))
    product_MO[:whole] = _times_transposed(value_MI[:whole], weight_OI)
    torch.mm(value_MI[whole:], weight_OI.t(), out=product_MO[whole:])
    return product_MO


def summed_over_rows(gradient_MO: Tensor, value_MI: Tensor) -> Tensor:
    """The product (O, I) of a matrix transposed and another, over rows: float32 on a CPU, no gradient."""
    whole = _whole(value_MI)
    if not whole:
        return gradient_MO.t() @ value_MI
    product_OI = _times_transposed(gradient_MO[:whole].t(), value_MI[:whole].t())
    return product_OI if whole == len(value_MI) else product_OI.addmm_(gradient_MO[whole:].t(), value_MI[whole:])


def _whole(value_MI: Tensor) -> int:
    return len(value_MI) // ROWS_AT_A_TIME * ROWS_AT_A_TIME


def _times_transposed(value_MI: Tensor, weight_OI: Tensor) -> Tensor:
    product_MO: Tensor = torch.ops.mkldnn._linear_pointwise(value_MI, weight_OI, None, "none", [], "")
    return product_MO
