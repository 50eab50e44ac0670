"""The models in examples/, as a stranger would use them: found by path, built, trained on ten bags and asked."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from milstore.errors import UsageError
from milstore.models import MILModel, describe, levels, load_model, make_config, read_settings
from tests.milbags import SEVERAL, D, bag_of, ten_bags

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def made(name: str, *given: str) -> MILModel:
    torch.manual_seed(0)
    loaded = load_model(f"{EXAMPLES}/{name}")
    config = make_config(loaded.cls.Config, read_settings(given, loaded.settings))
    return loaded.build(config, D, 3)


def learns(model: MILModel) -> list[float]:
    """The probability of each of ten bags' own class after some training."""
    bags = ten_bags()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    model.train()
    for _ in range(100):
        optimizer.zero_grad()
        torch.stack([model.loss(model(bag), label, torch.ones(3)) for bag, label in bags]).mean().backward()
        optimizer.step()
    model.eval()
    return [float(model(bag).logits_C.detach().softmax(0)[label]) for bag, label in bags]


def test_a_model_of_ones_own() -> None:
    """examples/add_a_model.py learns ten bags; its attention lies on the top patches and makes every level."""
    model = made("add_a_model.py:TopPatches", "top=3", "hidden=16")
    assert min(learns(model)) > 0.5
    bag = bag_of(SEVERAL)
    output = model(bag)
    found: Any = levels(output.attention, bag)
    assert (found.effective_N > 0).sum() == 3
    assert found.effective_N.sum() == pytest.approx(1)
    assert [setting.name for setting in describe(f"{EXAMPLES}/add_a_model.py:TopPatches").settings] == ["hidden", "top"]
    with pytest.raises(UsageError, match="give at least 1"):
        made("add_a_model.py:TopPatches", "top=0")


def test_a_model_of_torchmil() -> None:
    """examples/torchmil_model.py gives a logit a class and attention that sums to 1, and learns ten bags."""
    pytest.importorskip("torchmil")
    model = made("torchmil_model.py:TransformerABMIL", "hidden=16", "attention_dim=8")
    bag = bag_of(SEVERAL)
    output = model(bag)
    assert output.logits_C.shape == (3,)
    assert levels(output.attention, bag).effective_N.sum() == pytest.approx(1)
    assert min(learns(model)) > 0.5


@pytest.mark.skipif(importlib.util.find_spec("torchmil") is not None, reason="torchmil is installed")
def test_a_package_that_is_missing_is_one_line() -> None:
    """Without torchmil, its example says so in one line."""
    with pytest.raises(UsageError, match=r"cannot be imported: ModuleNotFoundError: No module named 'torchmil'"):
        load_model(f"{EXAMPLES}/torchmil_model.py:TransformerABMIL")
