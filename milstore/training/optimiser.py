"""AdamW, without loading torch's compiler, and begun in few calls a step.

Torch wraps the methods of its optimisers so that its compiler leaves them alone, and each wrapper imports that compiler:
a second or more, and a thousand modules, of which a training here uses none. Its step looks at every parameter anew, and
takes a quarter of its time for that.
"""

import inspect
from typing import Any

import torch


class AdamW(torch.optim.AdamW):
    """`torch.optim.AdamW`, in one pass over the weights a step, with its methods as they are beneath the wrappers.

    All parameters are given at the beginning, with the same rates, and have a gradient each step.
    """

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)

    def __init__(self, params: Any, *, lr: float, weight_decay: float) -> None:
        super().__init__(params, lr=lr, weight_decay=weight_decay, fused=True)
        for parameter in self.param_groups[0]["params"]:
            self.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        self._find_moments()

    def state_dict(self) -> dict[str, Any]:
        """The rates and each parameter's moments, as torch's own optimiser has them."""
        found: dict[str, Any] = inspect.unwrap(torch.optim.Optimizer.state_dict)(self)
        states = found["state"].items()
        found["state"] = {number: {**state, "step": state["step"].clone()} for number, state in states}
        return found

    def load_state_dict(self, state_dict: Any) -> None:
        """Go on from what `state_dict` gave."""
        inspect.unwrap(torch.optim.Optimizer.load_state_dict)(self, state_dict)
        self._find_moments()

    def _find_moments(self) -> None:
        (self._group,) = self.param_groups
        states = [self.state[parameter] for parameter in self._group["params"]]
        self._means = [state["exp_avg"] for state in states]
        self._squares = [state["exp_avg_sq"] for state in states]
        # One count for all, as all are the same: torch counts the steps of each parameter.
        self._n_steps = states[0]["step"]
        for state in states:
            state["step"] = self._n_steps

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step down the gradients."""
        group = self._group
        self._n_steps += 1
        torch._fused_adamw_(
            group["params"],
            [parameter.grad for parameter in group["params"]],
            self._means,
            self._squares,
            [],
            [self._n_steps] * len(self._means),
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )

    # Torch would wrap it in one more function, for its profiler and for hooks that are not used here.
    step.hooked = True  # type: ignore[attr-defined]
