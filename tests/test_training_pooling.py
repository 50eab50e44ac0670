"""Attention pooling of one level: its values by hand and by torch, and the gradients that are written out."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from milstore.training.pooling import AttentionPool, attend, total
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
    _, log_weight_M, mean_KH = attend(score_M, value_MH, member_KM)
    assert log_weight_M.exp().tolist() == pytest.approx([0.25, 1.0, 0.75])
    assert total(score_M, member_KM).tolist() == pytest.approx([math.log(4), 5.0])
    assert mean_KH.tolist() == [[pytest.approx(7.0)], [pytest.approx(7.0)]]


groups = st.lists(st.integers(-1, 3), min_size=1, max_size=9).filter(lambda of: max(of) >= 0)


@settings(max_examples=40, deadline=None)
@given(group_M=groups, seed=st.integers(0, 9))
def test_attend_is_a_softmax_a_group(group_M: list[int], seed: int) -> None:
    """Values and gradients are those of torch's own softmax of each group, through both results at once."""
    member_KM = memberships(group_M)
    inside_M = member_KM.any(0)

    def ours(score_M: Tensor, value_MH: Tensor) -> tuple[Tensor, ...]:
        _, log_weight_M, mean_KH = attend(score_M, value_MH, member_KM)
        return log_weight_M[inside_M], mean_KH

    def torchs(score_M: Tensor, value_MH: Tensor) -> tuple[Tensor, ...]:
        log_weight_M = torch.zeros_like(score_M)
        for row in member_KM:
            log_weight_M = log_weight_M.masked_scatter(row, score_M[row].log_softmax(0))
        means = torch.stack([log_weight_M[row].exp() @ value_MH[row] for row in member_KM])
        return log_weight_M[inside_M], means

    inputs = drawn(len(group_M), seed=seed), drawn(len(group_M), 3, seed=seed + 1)
    results, expected = ours(*inputs), torchs(*inputs)
    weigh = [drawn(*each.shape, seed=7).detach() for each in expected]
    for one, other in zip(results, expected, strict=True):
        torch.testing.assert_close(one, other)
    gradients, expected_gradients = (
        torch.autograd.grad([(one * by).sum() for one, by in zip(each, weigh, strict=True)], inputs)
        for each in (results, expected)
    )
    for one, other in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("which", [(1,), (2,), (1, 2)], ids=["weights", "means", "both"])
def test_gradients_of_attend_are_those_of_its_values(which: tuple[int, ...]) -> None:
    """By differences of its values, in float64, with a member of no group among the others."""
    member_KM = memberships([0, 1, 0, -1, 1, 0])

    def values(score_M: Tensor, value_MH: Tensor) -> tuple[Tensor, ...]:
        pooled = attend(score_M, value_MH, member_KM)
        return tuple(inside(pooled[i], member_KM) for i in which)

    assert torch.autograd.gradcheck(values, (drawn(6), drawn(6, 3)))


def inside(pooled: Tensor, member_KM: Tensor) -> Tensor:
    """What is pooled, without members of no group."""
    return pooled[member_KM.any(0)] if pooled.ndim == 1 else pooled


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("which", [(0,), (1,), (2,), (0, 1, 2)], ids=["scores", "weights", "means", "all"])
@pytest.mark.parametrize("bonus", [None, torch.tensor([0.5, 0.0, -1.0, 2.0])])
def test_gradients_of_a_pool_are_those_of_its_values(gated: bool, which: tuple[int, ...], bonus: Tensor | None) -> None:
    """By differences of the values, for the members and for every weight, with a member of no group among them."""
    pool = AttentionPool(5, 3, gated=gated).double()
    member_KM = memberships([1, 0, -1, 1])
    names = [name for name, _ in pool.named_parameters()]

    def values(value_MH: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        arguments = (value_MH, member_KM, None if bonus is None else bonus.double())
        pooled = torch.func.functional_call(pool, dict(zip(names, weights, strict=True)), arguments)
        return tuple(inside(pooled[i], member_KM) for i in which)

    assert torch.autograd.gradcheck(values, (drawn(4, 5), *pool.parameters()))


@pytest.mark.parametrize("rows", [3, ROWS_AT_A_TIME])
def test_gated_scores_are_those_of_the_equation(rows: int) -> None:
    """w . (tanh(V h) * sigmoid(U h)) with V above U, few rows and many, in float32; then pooled as by `attend`."""
    pool = AttentionPool(5, 3, gated=True)
    value_MH = drawn(rows, 5).float()
    member_KM = memberships([row % 2 for row in range(rows)])
    v_AH, u_AH = pool.project.weight.chunk(2)
    v_A, u_A = pool.project.bias.chunk(2)
    expected = ((value_MH @ v_AH.t() + v_A).tanh() * (value_MH @ u_AH.t() + u_A).sigmoid()) @ pool.weigh.weight[0]
    for one, other in zip(pool(value_MH, member_KM), attend(expected, value_MH, member_KM), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_bonus_is_added_to_the_scores() -> None:
    """With or without the gate."""
    bonus_M, value_MH, member_KM = torch.tensor([0.0, 1.0, 2.0]), drawn(3, 5).float(), memberships([0, 0, 1])
    for gated in (True, False):
        pool = AttentionPool(5, 2, gated=gated)
        plain, raised = pool(value_MH, member_KM), pool(value_MH, member_KM, bonus_M)
        torch.testing.assert_close(raised.score_M, plain.score_M + bonus_M)
        torch.testing.assert_close(raised, attend(plain.score_M + bonus_M, value_MH, member_KM))
