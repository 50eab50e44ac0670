"""Products by oneDNN: the values of torch's own, and the same bits each time."""

import pytest
import torch
from torch import Tensor

from milstore.training import products
from milstore.training.products import ROWS_AT_A_TIME, padded, products_with, rows_times, weighted_sums

ROWS = [ROWS_AT_A_TIME - 1, ROWS_AT_A_TIME, 3 * ROWS_AT_A_TIME, 3 * ROWS_AT_A_TIME + 1]


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(shape[0]))


@pytest.mark.skipif(not products.has_onednn(), reason="this build of torch has no oneDNN")
def test_onednn_meets_few_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It multiplies whole multiples of rows only; other rows, and numbers that are not float32, stay with torch."""
    asked: list[int] = []
    whole = products._times_transposed
    monkeypatch.setattr(products, "_times_transposed", lambda *of: asked.append(len(of[0])) or whole(*of))
    for rows in ROWS:
        rows_times(drawn(rows, 50), drawn(20, 50))
    rows_times(drawn(ROWS_AT_A_TIME, 50).double(), drawn(20, 50).double())
    assert asked == [ROWS_AT_A_TIME, 3 * ROWS_AT_A_TIME]


def test_rows_are_filled_up_to_what_suits() -> None:
    """By as few as make a multiple; none have none."""
    assert [padded(rows) for rows in (0, 1, ROWS_AT_A_TIME, ROWS_AT_A_TIME + 1)] == [
        0, ROWS_AT_A_TIME, ROWS_AT_A_TIME, 2 * ROWS_AT_A_TIME,
    ]  # fmt: skip


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("then", ["none", "relu", "tanh", "sigmoid"])
def test_what_follows_a_product_is_torchs(rows: int, then: str) -> None:
    """A bias and a function come after the product, whichever library multiplies."""
    value, weight, bias = drawn(rows, 50), drawn(20, 50), drawn(20)
    plain = value @ weight.t() + bias
    expected = {"none": plain, "relu": plain.relu(), "tanh": plain.tanh(), "sigmoid": plain.sigmoid()}[then]
    torch.testing.assert_close(rows_times(value, weight, bias, then), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rows", ROWS)
def test_products_of_few_rows_with_many_are_torchs(rows: int) -> None:
    """Sums of rows with weights, and inner products with rows, whichever library multiplies."""
    value, few, weight = drawn(rows, 50), drawn(3, 50), drawn(3, rows)
    torch.testing.assert_close(weighted_sums(weight, value), weight @ value, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(products_with(few, value), few @ value.t(), rtol=1e-4, atol=1e-4)


def test_without_onednn_torch_multiplies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build of torch that lacks oneDNN computes the same by its own products."""
    value, weight = drawn(ROWS_AT_A_TIME, 50), drawn(20, 50)
    there = rows_times(value, weight)
    monkeypatch.setattr(products, "_HAS_ONEDNN", False)
    torch.testing.assert_close(rows_times(value, weight), there, rtol=1e-4, atol=1e-4)


def test_the_same_numbers_give_the_same_bits() -> None:
    """Wherever in memory they lie, as features that are read again lie elsewhere."""
    values, weight = drawn(192, 300), drawn(70, 300)
    elsewhere = torch.empty(192 * 300 + 64)[64:].view(192, 300).copy_(values)
    results = []
    for value in (values, elsewhere, values.clone()):
        product = rows_times(value, weight)
        results.append((product, weighted_sums(product.t(), value)))
    assert all(torch.equal(one, other) for result in results[1:] for one, other in zip(result, results[0], strict=True))
