"""The optimiser is torch's, without what torch loads around it."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from milstore.training.optimiser import AdamW
from tests.test_layout import ROOT


def test_it_steps_as_torch_does() -> None:
    """Weights and state are those of torch's own fused AdamW, to the last bit, also after a round trip of its state."""
    start = torch.linspace(-1, 1, 12).view(3, 4)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    mine = AdamW([ours], lr=0.1, weight_decay=0.01)
    torchs = torch.optim.AdamW([theirs], lr=0.1, weight_decay=0.01, fused=True)
    for step in range(4):
        for parameter, optimizer in ((ours, mine), (theirs, torchs)):
            optimizer.zero_grad()
            assert parameter.grad is None
            (parameter.square().sum() * (step + 1)).backward()
            optimizer.step()
        assert torch.equal(ours, theirs)
        if step == 1:
            state, mine = mine.state_dict(), AdamW([ours], lr=9.0, weight_decay=9.0)
            mine.load_state_dict(state)
    assert all(torch.equal(mine.state[ours][name], torchs.state[theirs][name]) for name in torchs.state[theirs])
    assert ours.grad is not None


def test_a_training_loads_no_compiler() -> None:
    """From its start to its commit, a training imports neither torch's compiler nor what that needs."""
    code = (
        "import sys, tempfile; from pathlib import Path; from milstore.training import train; "
        "from tests.training_cohort import SMALL, tiny_store; "
        "train(tiny_store(Path(tempfile.mkdtemp())), SMALL, 1, threads=1); "
        "print(sorted({'torch._dynamo', 'torch._inductor', 'sympy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, n: int, first: int = 0) -> None:
    for number in range(first, first + n):
        optimizer.zero_grad()
        features = torch.randn(5, 4, generator=torch.Generator().manual_seed(number))
        model(features).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("n", [1, 2, 7])
def test_torch_goes_on_from_its_state_and_it_from_torchs(n: int) -> None:
    """After an exchange of their states, weights and states are the same to the last bit."""
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
