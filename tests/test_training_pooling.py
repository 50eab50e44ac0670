"""Attention pooling of one level: its values by hand and by torch, and the gradients that are written out, by torch."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from milstore.training.pooling import AttentionPool, attend, of_scores, total
from milstore.training.products import ROWS_AT_A_TIME


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def memberships(group_M: list[int]) -> Tensor:
    """Bool (K, M) from the group of each member; -1 where it lies in none."""
    groups = sorted(set(group_M) - {-1})
    return torch.tensor([[group == of for of in group_M] for group in groups])


def test_attend_by_hand() -> None:
    """Two groups of two and one: softmax within each, weighted means, log-sum-exp of the scores."""
    member_KM = torch.tensor([[True, False, True], [False, True, False]])
    score_M = torch.tensor([0.0, 5.0, math.log(3)])
    value_MH = torch.tensor([[4.0], [7.0], [8.0]])
    pooled = attend(score_M, value_MH, member_KM)
    assert pooled.log_weight_M.exp().tolist() == pytest.approx([0.25, 1.0, 0.75])
    assert pooled.weight_KM.tolist() == [pytest.approx([0.25, 0, 0.75]), pytest.approx([0, 1.0, 0])]
    assert total(pooled).tolist() == pytest.approx([math.log(4), 5.0])
    assert pooled.mean_KH.tolist() == [[pytest.approx(7.0)], [pytest.approx(7.0)]]


groups = st.lists(st.integers(-1, 3), min_size=1, max_size=9).filter(lambda of: max(of) >= 0)


@settings(max_examples=40, deadline=None)
@given(group_M=groups, seed=st.integers(0, 9))
def test_attend_is_a_softmax_a_group(group_M: list[int], seed: int) -> None:
    """Values are those of torch's own softmax of each group, and gradients those that torch derives from that."""
    member_KM = memberships(group_M)
    inside_M = member_KM.any(0)
    score_M, value_MH = drawn(len(group_M), seed=seed), drawn(len(group_M), 3, seed=seed + 1)
    log_weight_M = torch.zeros_like(score_M)
    for row in member_KM:
        log_weight_M = log_weight_M.masked_scatter(row, score_M[row].log_softmax(0))
    mean_KH = torch.stack([log_weight_M[row].exp() @ value_MH[row] for row in member_KM])
    of_mean_KH, of_log_weight_M = (
        drawn(*mean_KH.shape, seed=7).detach(),
        drawn(len(group_M), seed=8).detach() * inside_M,
    )
    whole = (mean_KH * of_mean_KH).sum() + (log_weight_M * of_log_weight_M).sum()
    (expected_M,) = torch.autograd.grad(whole, score_M)
    with torch.no_grad():
        pooled = attend(score_M, value_MH, member_KM)
        torch.testing.assert_close(pooled.log_weight_M[inside_M], log_weight_M[inside_M])
        torch.testing.assert_close(pooled.mean_KH, mean_KH)
        torch.testing.assert_close(of_scores(pooled, of_mean_KH, of_log_weight_M), expected_M)


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("through", ["means", "weights", "scores", "all"])
@pytest.mark.parametrize("bonus", [None, torch.tensor([0.5, 0.0, -1.0, 2.0])])
def test_gradients_of_a_pool_are_those_that_torch_derives(gated: bool, through: str, bonus: Tensor | None) -> None:
    """For the members and for every weight, through each result, with a member of no group among them."""
    pool = AttentionPool(5, 3, gated=gated).double()
    value_MH, member_KM = drawn(4, 5), memberships([1, 0, -1, 1])
    inside_M = member_KM.any(0)
    pooled = pool(value_MH, member_KM, None if bonus is None else bonus.double())
    of_mean_KH = drawn(2, 5, seed=1).detach() * (through in ("means", "all"))
    of_log_weight_M = drawn(4, seed=2).detach() * inside_M if through in ("weights", "all") else None
    of_score_M = drawn(4, seed=3).detach() if through in ("scores", "all") else None
    whole = (pooled.mean_KH * of_mean_KH).sum()
    if of_log_weight_M is not None:
        whole = whole + (pooled.log_weight_M[inside_M] * of_log_weight_M[inside_M]).sum()
    if of_score_M is not None:
        whole = whole + (pooled.score_M * of_score_M).sum()
    expected = torch.autograd.grad(whole, [value_MH, *pool.parameters()])
    with torch.no_grad():
        of_value_MH = pool.backward(pooled, of_mean_KH, of_log_weight_M, of_score_M)
    for one, other in zip((of_value_MH, *(each.grad for each in pool.parameters())), expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("rows", [3, ROWS_AT_A_TIME])
def test_gated_scores_are_those_of_the_equation(rows: int) -> None:
    """w . (tanh(V h) * sigmoid(U h)) with V above U, few rows and many, in float32; then pooled as by `attend`."""
    pool = AttentionPool(5, 3, gated=True).requires_grad_(False)
    value_MH = drawn(rows, 5).detach().float()
    member_KM = memberships([row % 2 for row in range(rows)])
    v_AH, u_AH = pool.project.weight.chunk(2)
    v_A, u_A = pool.project.bias.chunk(2)
    expected = ((value_MH @ v_AH.t() + v_A).tanh() * (value_MH @ u_AH.t() + u_A).sigmoid()) @ pool.weigh.weight[0]
    pooled, by_hand = pool(value_MH, member_KM), attend(expected, value_MH, member_KM)
    for name in ("score_M", "log_weight_M", "weight_KM", "mean_KH"):
        torch.testing.assert_close(getattr(pooled, name), getattr(by_hand, name), rtol=1e-4, atol=1e-5)


def test_a_bonus_is_added_to_the_scores() -> None:
    """With or without the gate."""
    bonus_M, value_MH, member_KM = torch.tensor([0.0, 1.0, 2.0]), drawn(3, 5).detach().float(), memberships([0, 0, 1])
    for gated in (True, False):
        pool = AttentionPool(5, 2, gated=gated).requires_grad_(False)
        plain, raised = pool(value_MH, member_KM), pool(value_MH, member_KM, bonus_M)
        torch.testing.assert_close(raised.score_M, plain.score_M + bonus_M)
        torch.testing.assert_close(raised.mean_KH, attend(plain.score_M + bonus_M, value_MH, member_KM).mean_KH)
