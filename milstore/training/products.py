"""Matrix products on a processor, by the faster of the two libraries that torch carries.

Torch's own float32 products are MKL's, which keeps its widest instructions for Intel's processors. oneDNN uses them on
every one that has them: on an AMD with AVX-512 it takes half the time. Torch offers it for float32 only as the operator
that its compiler turns linear layers into, for which it derives no gradients. Both compute in float32 throughout, and
sum in another order.

Axes, named in suffixes:  M rows   K sums of rows, or few rows   I and O columns
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

ROWS_AT_A_TIME = 32
"""oneDNN multiplies whole multiples of so many rows; other numbers of rows are left to torch's own product. For each
shape that it meets, oneDNN keeps memory for good, megabytes with the gaps that it leaves between others' memory, and
every case has its own number of patches. Who has many rows therefore fills them up: see `padded`. With fewer rows at a
time less is computed on rows of zeros, and more memory is kept."""

_IN_PLACE: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu_, "tanh": torch.tanh_, "sigmoid": torch.sigmoid_}


def has_onednn() -> bool:
    """Whether this build of torch carries oneDNN's linear layer."""
    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return there and hasattr(torch.ops.mkldnn, "_linear_pointwise")


_HAS_ONEDNN = has_onednn()


def padded(rows: int) -> int:
    """How many rows there are once they are filled up to what oneDNN multiplies: a multiple of ROWS_AT_A_TIME."""
    return -(-rows // ROWS_AT_A_TIME) * ROWS_AT_A_TIME


def rows_times(value_MI: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None, then: str = "none") -> Tensor:
    """The product (M, O) of rows and a matrix transposed, plus a bias, then none, relu, tanh or sigmoid."""
    if suits_onednn(value_MI):
        return _times_transposed(value_MI, weight_OI, bias_O, then)
    product_MO = nn.functional.linear(value_MI, weight_OI, bias_O)
    return product_MO if then == "none" else _IN_PLACE[then](product_MO)


def weighted_sums(weight_KM: Tensor, value_MI: Tensor) -> Tensor:
    """Sums (K, I) of rows, each sum with weights of its own."""
    if suits_onednn(value_MI):
        return _times_transposed(weight_KM, value_MI.t())
    return weight_KM @ value_MI


def products_with(few_KI: Tensor, value_MI: Tensor) -> Tensor:
    """Inner products (K, M) of a few rows and many."""
    if suits_onednn(value_MI):
        return _times_transposed(few_KI, value_MI)
    return few_KI @ value_MI.t()


def suits_onednn(value_MI: Tensor) -> bool:
    """Whether products of these rows are left to oneDNN."""
    on_cpu = value_MI.device.type == "cpu" and value_MI.dtype == torch.float32
    return _HAS_ONEDNN and on_cpu and len(value_MI) > 0 and len(value_MI) % ROWS_AT_A_TIME == 0


def _times_transposed(value_MI: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None, then: str = "none") -> Tensor:
    product_MO: Tensor = torch.ops.mkldnn._linear_pointwise(value_MI, weight_OI, bias_O, then, [], "")
    return product_MO
