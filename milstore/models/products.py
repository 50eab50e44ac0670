"""Two faster equivalents of torch functions. A reader of the models may ignore how they work.

`linear` is `torch.nn.functional.linear`, and `dropout` is `torch.nn.functional.dropout`.

Torch's own float32 products on a processor are MKL's, which keeps its widest instructions for Intel's processors.
oneDNN uses them on every one that has them: on an AMD with AVX-512 it takes half the time. Torch offers it for float32
only as the operator that its compiler turns linear layers into, without a derivative. Both compute in float32
throughout, and sum in another order.

Axes, named in suffixes:  M rows   I and O columns
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

ROWS_AT_A_TIME = 32
"""oneDNN is given whole multiples of so many rows, and torch's own product the rest: for each shape that it meets,
oneDNN keeps memory for good, and every case has its own number of patches."""
SMALLEST = 1 << 17
"""Below so many numbers in the rows, beginning one more operation takes longer than it saves."""
_UNEVEN = 1 << 16
"""Sixteen random bits decide whether an entry is dropped."""


def has_onednn() -> bool:
    """Whether this build of torch carries oneDNN's linear layer."""
    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return there and hasattr(torch.ops.mkldnn, "_linear_pointwise")


_HAS_ONEDNN = has_onednn()


def linear(value_MI: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """The product (M, O) of rows and a matrix transposed, plus a bias."""
    large = value_MI.numel() >= SMALLEST and value_MI.device.type == "cpu" and value_MI.dtype == torch.float32
    if not (large and _HAS_ONEDNN) or torch.is_autocast_enabled("cpu"):
        return nn.functional.linear(value_MI, weight_OI, bias_O)
    product_MO: Tensor = _Linear.apply(value_MI, weight_OI, bias_O)  # type: ignore[no-untyped-call]
    return product_MO


def dropout(value: Tensor, share: float, training: bool) -> Tensor:
    """The values with a share of them dropped and the rest scaled up while training; else the values themselves.

    Sixteen random bits an entry, so that the share is rounded to 1 / 65536; what is kept is scaled by the rounded
    share. The bits come of one number of torch's global generator. Torch's own masks take one thread six times as long,
    which two threads would wait for.
    """
    if not training or not share:
        return value
    if value.device.type != "cpu" or value.numel() < SMALLEST:
        return nn.functional.dropout(value, share)
    dropped = min(round(share * _UNEVEN), _UNEVEN - 1)
    rng = np.random.default_rng(int(torch.randint(2**63 - 1, ())))
    entries = math.prod(value.shape)
    words = rng.integers(2**64, size=-(-entries // 4), dtype=np.uint64)
    # Little-endian everywhere. Compared by numpy, which does so faster than torch; bytes multiply faster than bools.
    bits = words.astype("<u8", copy=False).view("<i2")[:entries]
    kept = torch.from_numpy((bits >= dropped - _UNEVEN // 2).view(np.uint8)).view(value.shape)
    return value * kept * (_UNEVEN / (_UNEVEN - dropped))


class _Linear(torch.autograd.Function):
    """A linear layer whose three products are oneDNN's."""

    @staticmethod
    def forward(ctx: Any, value_MI: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
        ctx.save_for_backward(value_MI, weight_OI)
        return _rows_times(value_MI, weight_OI, bias_O)

    @staticmethod
    def backward(ctx: Any, *of_products: Any) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        value_MI, weight_OI = ctx.saved_tensors
        of_product_MO = of_products[0].contiguous()
        wants_value, wants_weight, wants_bias = ctx.needs_input_grad
        return (
            _rows_times(of_product_MO, weight_OI.t(), None) if wants_value else None,
            _sum_of_products(of_product_MO, value_MI) if wants_weight else None,
            of_product_MO.sum(0) if wants_bias else None,
        )


def _rows_times(value_MI: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
    whole = len(value_MI) // ROWS_AT_A_TIME * ROWS_AT_A_TIME
    product_MO = value_MI.new_empty(len(value_MI), len(weight_OI))
    if whole:
        product_MO[:whole] = _onednn(value_MI[:whole], weight_OI, bias_O)
    product_MO[whole:] = nn.functional.linear(value_MI[whole:], weight_OI, bias_O)
    return product_MO


def _sum_of_products(of_product_MO: Tensor, value_MI: Tensor) -> Tensor:
    """The gradient (O, I) of the matrix."""
    whole = len(value_MI) // ROWS_AT_A_TIME * ROWS_AT_A_TIME
    if not whole:
        return of_product_MO.t() @ value_MI
    return _onednn(of_product_MO[:whole].t(), value_MI[:whole].t(), None).addmm_(
        of_product_MO[whole:].t(), value_MI[whole:]
    )


def _onednn(value_MI: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
    product_MO: Tensor = torch.ops.mkldnn._linear_pointwise(value_MI, weight_OI, bias_O, "none", [], "")
    return product_MO
