"""The optimiser: that its leaner step is torch's own."""

import copy

import pytest
import torch
from torch import nn

from milstore.training.optimiser import AdamW


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, n: int, first: int = 0) -> None:
    for number in range(first, first + n):
        optimizer.zero_grad()
        features = torch.randn(5, 4, generator=torch.Generator().manual_seed(number))
        model(features).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("n", [1, 2, 7])
def test_a_step_is_that_of_torch(n: int) -> None:
    """The same weights to the last bit, and a state that torch's own optimiser can go on from, and the other way."""
    ours, theirs = nn.Linear(4, 3), nn.Linear(4, 3)
    theirs.load_state_dict(copy.deepcopy(ours.state_dict()))
    one = AdamW(ours.parameters(), lr=0.01, weight_decay=0.1)
    other = torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.1, fused=True)
    steps(ours, one, n)
    steps(theirs, other, n)
    for group in (*one.param_groups, *other.param_groups):
        group["lr"] = 0.003
    of_ours = copy.deepcopy(one.state_dict())
    one.load_state_dict(copy.deepcopy(other.state_dict()))
    other.load_state_dict(of_ours)
    steps(ours, one, 3, n)
    steps(theirs, other, 3, n)
    for name, weight in ours.state_dict().items():
        assert torch.equal(weight, theirs.state_dict()[name])
    for mine, its in zip(one.state_dict()["state"].values(), other.state_dict()["state"].values(), strict=True):
        assert mine.keys() == its.keys()
        assert all(torch.equal(mine[key], its[key]) for key in mine)
