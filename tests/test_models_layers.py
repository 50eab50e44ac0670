"""The layers that models share, and the two faster functions beneath them."""

import pytest
import torch
from torch import nn

from milstore.models import products
from milstore.models.layers import AttentionPool, Dropout, Linear, Standardiser, pool, segment_logsumexp

ROWS = [products.SMALLEST // 512, products.SMALLEST // 512 + 17]
"""Just enough rows of 512 numbers for the faster product: a whole multiple of its rows at a time, and some more."""


@pytest.mark.parametrize("rows", [*ROWS, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_the_faster_product_is_the_product(rows: int, bias: bool) -> None:
    """Values and all gradients are torch's own linear layer's, within float32."""
    torch.manual_seed(0)
    ours = Linear(512, 24, bias=bias)
    theirs = nn.Linear(512, 24, bias=bias)
    theirs.load_state_dict(ours.state_dict())
    value, of_product = torch.randn(rows, 512), torch.randn(rows, 24)
    found = []
    for layer in (ours, theirs):
        given = value.clone().requires_grad_()
        product = layer(given)
        product.backward(of_product)
        found.append([product.detach(), given.grad, *(each.grad for each in layer.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-4)


@pytest.mark.skipif(not products.has_onednn(), reason="this build of torch has no oneDNN")
def test_large_rows_take_the_faster_product() -> None:
    """From SMALLEST numbers on, and only in float32, oneDNN multiplies; in double precision the sums are exact."""
    layer = Linear(512, 8)
    assert layer(torch.zeros(ROWS[0], 512)).grad_fn.name() == "_LinearBackward"
    assert layer(torch.zeros(ROWS[0] - 1, 512)).grad_fn.name() == "AddmmBackward0"
    assert layer.double()(torch.zeros(ROWS[0], 512).double()).grad_fn.name() == "AddmmBackward0"


def test_the_faster_product_gives_the_same_bits_each_time() -> None:
    """Twice the same rows give the same values and gradients to the last bit."""
    torch.manual_seed(0)
    layer, value = Linear(512, 24), torch.randn(ROWS[1], 512)

    def once() -> list[torch.Tensor]:
        layer.zero_grad()
        product = layer(value)
        product.square().sum().backward()
        return [product.detach(), *(each.grad.clone() for each in layer.parameters())]

    assert all(torch.equal(one, other) for one, other in zip(once(), once(), strict=True))


@pytest.mark.parametrize("share", [0.3, 0.75])
@pytest.mark.parametrize("rows", [*ROWS, 100])
def test_dropout_drops_the_share_and_scales_what_it_keeps(share: float, rows: int) -> None:
    """An entry is 0 or itself over the share kept, and its gradient likewise; torch's seed decides which."""
    drop, value = Dropout(share).train(), torch.rand(rows, 512) + 1
    value.requires_grad_()

    def once(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return drop(value)

    found = once(5)
    kept = found > 0
    torch.testing.assert_close(found, torch.where(kept, value / (1 - share), 0), rtol=1e-4, atol=0)
    assert float(kept.double().mean()) == pytest.approx(1 - share, abs=0.01)
    found.sum().backward()
    torch.testing.assert_close(value.grad, kept / (1 - share), rtol=1e-4, atol=0)
    assert torch.equal(found, once(5)) and not torch.equal(found, once(6))
    # Neighbours, in a row and across rows, do not hang together.
    for axis in (0, 1):
        n = kept.shape[axis] - 1
        both = kept.narrow(axis, 1, n) & kept.narrow(axis, 0, n)
        assert float(both.double().mean()) == pytest.approx((1 - share) ** 2, abs=0.01)


def test_dropout_drops_nothing_in_evaluation_or_without_a_share() -> None:
    """The very values, and no number is drawn."""
    value, before = torch.rand(ROWS[0], 512), torch.get_rng_state()
    assert Dropout(0.5).eval()(value) is value
    assert Dropout(0.0).train()(value) is value
    assert torch.equal(torch.get_rng_state(), before)


def test_pooling_by_hand() -> None:
    """Weighted means within groups that are interleaved, and the weights' logarithms in the members' order."""
    member_KM = torch.tensor([[True, False, True], [False, True, False]])
    pooled = pool(torch.tensor([0.0, 7.0, 3.0]).log(), torch.tensor([[1.0], [2.0], [4.0]]), member_KM)
    assert pooled.mean_KH.tolist() == [[4.0], [2.0]]
    assert pooled.log_weight_M.exp().tolist() == [0, 1, 1]
    pooled = pool(torch.tensor([1.0, 7.0, 3.0]).log(), torch.tensor([[1.0], [2.0], [4.0]]), member_KM)
    assert pooled.mean_KH.flatten().tolist() == pytest.approx([3.25, 2.0])
    assert pooled.log_weight_M.exp().tolist() == pytest.approx([0.25, 1, 0.75])
    assert segment_logsumexp(torch.tensor([1.0, 7.0, 3.0]).log(), member_KM).exp().tolist() == pytest.approx([4, 7])


def test_a_bonus_is_added_to_the_scores() -> None:
    """The logarithm of 3 gives a member three times the weight of its like."""
    attention = AttentionPool(2, 3, gated=True)
    pooled = attention(torch.ones(2, 2), torch.ones(1, 2, dtype=torch.bool), torch.tensor([0.0, 3.0]).log1p())
    assert pooled.log_weight_M.exp().tolist() == pytest.approx([0.2, 0.8])


def test_standardised_features_are_clipped() -> None:
    """Shifted by the mean, over the deviation, at most the clip to either side; 0 clips nothing; kept with weights."""
    layer, feature_ND = Standardiser(2), torch.tensor([[1.0, 100.0], [5.0, -300.0]])
    assert layer(feature_ND).tolist() == feature_ND.tolist()
    layer.take(torch.tensor([3.0, 0.0]), torch.tensor([2.0, 10.0]), clip=5)
    assert layer(feature_ND).tolist() == [[-1.0, 5.0], [1.0, -5.0]]
    again = Standardiser(2)
    again.load_state_dict(layer.state_dict())
    assert again(feature_ND).tolist() == [[-1.0, 5.0], [1.0, -5.0]]
    assert feature_ND.tolist() == [[1.0, 100.0], [5.0, -300.0]]
    layer.take(torch.tensor([3.0, 0.0]), torch.tensor([2.0, 10.0]))
    assert layer(feature_ND).tolist() == [[-1.0, 10.0], [1.0, -30.0]]
