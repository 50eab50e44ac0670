"""Dropout as `torch.nn.Dropout`, with masks that a processor draws five times as fast."""

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`, drawn from torch's global generator; the share is rounded to 1 / 65536 on a processor."""

    def forward(self, input: Tensor) -> Tensor:
        """Values, some of them 0 and the others scaled so that their mean stays; all as they are in evaluation."""
        if not self.training or not self.p or input.device.type != "cpu":
            return super().forward(input)
        return input * mask(input.shape, self.p, input.dtype)


def mask(shape: torch.Size, share: float, dtype: torch.dtype) -> Tensor:
    """0 where an entry is dropped and 1 / (share kept) elsewhere.

    Sixteen random bits an entry suffice to choose; torch draws sixty-four, on one thread, while the others wait.
    """
    dropped = min(round(share * 2**16), 2**16 - 1)
    n = shape.numel()
    bits_N = torch.empty(-(-n // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:n]
    return (bits_N >= dropped - 2**15).view(shape).to(dtype).mul_(2**16 / (2**16 - dropped))
