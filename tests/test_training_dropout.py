"""Dropout: what it keeps, how much, and who decides which."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from milstore.training.dropout import Dropout


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0.001, 0.95), seed=st.integers(0, 2**63 - 1), rows=st.integers(1, 40))
def test_dropout_scales_what_it_keeps(share: float, seed: int, rows: int) -> None:
    """An entry is 0 or itself over the share kept, its gradient likewise; the seed decides which; evaluation keeps all."""
    drop = Dropout(share)
    value_MH = torch.linspace(1, 2, rows * 7).view(rows, 7).requires_grad_()
    scale = 65536 / (65536 - round(share * 65536))
    results = []
    for _ in range(2):
        torch.manual_seed(seed)
        (gradient,) = torch.autograd.grad((after := drop(value_MH)).sum(), value_MH)
        torch.testing.assert_close(after, torch.where(after > 0, value_MH * scale, 0))
        torch.testing.assert_close(gradient, torch.where(after > 0, scale, 0.0))
        results.append(after)
    assert torch.equal(*results)
    assert torch.equal(drop.eval()(value_MH), value_MH)


def test_dropout_drops_the_share_asked_for() -> None:
    """Over many entries the share is met, and neither draws, rows, columns nor neighbours hang together."""
    torch.manual_seed(0)
    drop, ones = Dropout(0.3), torch.ones(100, 64)
    kept = torch.stack([drop(ones) > 0 for _ in range(50)]).double()
    assert float(kept.mean()) == pytest.approx(0.7, abs=0.005)
    for axis in (0, 1, 2):
        n = kept.shape[axis] - 1
        assert float((kept.narrow(axis, 1, n) * kept.narrow(axis, 0, n)).mean()) == pytest.approx(0.49, abs=0.01)
