"""AdamW, without loading torch's compiler.

Torch wraps the methods of its optimisers so that its compiler leaves them alone, and each wrapper imports that compiler:
a second or more, and a thousand modules, of which a training here uses none.
"""

import inspect
from typing import Any

import torch

_step = inspect.unwrap(torch.optim.AdamW.step)


class AdamW(torch.optim.AdamW):
    """`torch.optim.AdamW`, in one pass over the weights a step, with its methods as they are beneath the wrappers."""

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)

    def __init__(self, params: Any, *, lr: float, weight_decay: float) -> None:
        super().__init__(params, lr=lr, weight_decay=weight_decay, fused=True)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Let the gradients go."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step down the gradients."""
        _step(self)
