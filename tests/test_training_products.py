"""Products by oneDNN: the values and gradients of torch's own, and the same bits each time."""

import pytest
import torch
from torch import Tensor, nn

from milstore.training import products
from milstore.training.products import LEAST_ROWS, Linear, weighted_sums

ROWS = [LEAST_ROWS - 1, LEAST_ROWS, 3 * LEAST_ROWS + 1]


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(shape[0]), requires_grad=True)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", ROWS)
def test_a_layer_is_torchs_layer(rows: int, bias: bool) -> None:
    """Values, and gradients of values, weights and bias, are torch's up to rounding."""
    ours, theirs = Linear(50, 20, bias=bias), nn.Linear(50, 20, bias=bias)
    theirs.load_state_dict(ours.state_dict())
    mine, its = drawn(rows, 50), drawn(rows, 50)
    torch.testing.assert_close(ours(mine), theirs(its))
    for layer, value in ((ours, mine), (theirs, its)):
        layer(value).square().sum().backward()
    pairs = [
        (mine.grad, its.grad),
        *((a.grad, b.grad) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True)),
    ]
    assert len(pairs) == 2 + bias
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rows", ROWS)
def test_weighted_sums_are_products(rows: int) -> None:
    """Values, and gradients of weights and values, are torch's up to rounding."""
    mine, its = ([drawn(3, rows), drawn(rows, 20)] for _ in range(2))
    torch.testing.assert_close(weighted_sums(*mine), its[0] @ its[1])
    weighted_sums(*mine).square().sum().backward()
    (its[0] @ its[1]).square().sum().backward()
    for one, other in zip(mine, its, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not products.has_onednn(), reason="this build of torch has no oneDNN")
def test_many_rows_on_a_cpu_are_onednns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows, and numbers that are not float32, stay with torch's own products."""
    asked: list[int] = []
    whole = products.times_transposed
    monkeypatch.setattr(products, "times_transposed", lambda *of: asked.append(len(of[0])) or whole(*of))
    for rows in ROWS:
        Linear(50, 20)(drawn(rows, 50))
    Linear(50, 20).double()(drawn(100, 50).double())
    assert asked == ROWS[1:]


def test_without_onednn_torch_multiplies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build of torch that lacks oneDNN computes the same by its own products."""
    layer, value = Linear(50, 20), drawn(ROWS[-1], 50)
    there = layer(value), weighted_sums(value.t(), value)
    monkeypatch.setattr(products, "_HAS_ONEDNN", False)
    torch.testing.assert_close((layer(value), weighted_sums(value.t(), value)), there, rtol=1e-4, atol=1e-4)


def test_the_same_numbers_give_the_same_bits() -> None:
    """Wherever in memory they lie, as features that are read again lie elsewhere."""
    layer, values = Linear(300, 70), drawn(200, 300).detach()
    elsewhere = torch.empty(200 * 300 + 64)[64:].view(200, 300).copy_(values)
    results = []
    for value in (values, elsewhere, values.clone()):
        layer.zero_grad()
        output = layer(value)
        output.square().sum().backward()
        assert layer.weight.grad is not None
        results.append((output.detach(), layer.weight.grad.clone()))
    assert all(torch.equal(one, other) for result in results[1:] for one, other in zip(result, results[0], strict=True))
