"""Attention pooling of one level: its values by hand and by torch's own softmax, and its gradients."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from milstore.training.pooling import AttentionPool, attend, total


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def memberships(group_M: list[int]) -> Tensor:
    """Bool (K, M) from the group of each member."""
    return torch.tensor([[group == of for of in group_M] for group in sorted(set(group_M))])


def test_attend_by_hand() -> None:
    """Two groups of two and one: softmax within each, weighted means, log-sum-exp of the scores."""
    member_KM = torch.tensor([[True, False, True], [False, True, False]])
    score_M = torch.tensor([0.0, 5.0, math.log(3)])
    value_MH = torch.tensor([[4.0], [7.0], [8.0]])
    pooled = attend(score_M, value_MH, member_KM)
    assert pooled.log_weight_M.exp().tolist() == pytest.approx([0.25, 1.0, 0.75])
    assert pooled.weight_KM.tolist() == [pytest.approx([0.25, 0, 0.75]), pytest.approx([0, 1.0, 0])]
    assert total(pooled, member_KM).tolist() == pytest.approx([math.log(4), 5.0])
    assert pooled.mean_KH.tolist() == [[pytest.approx(7.0)], [pytest.approx(7.0)]]


@settings(max_examples=40, deadline=None)
@given(group_M=st.lists(st.integers(0, 3), min_size=1, max_size=9), seed=st.integers(0, 9))
def test_attend_is_a_softmax_a_group(group_M: list[int], seed: int) -> None:
    """Values and gradients are those of torch's own softmax of each group."""
    member_KM = memberships(group_M)
    score_M, value_MH = drawn(len(group_M), seed=seed), drawn(len(group_M), 3, seed=seed + 1)
    log_weight_M = torch.zeros_like(score_M)
    for row in member_KM:
        log_weight_M = log_weight_M.masked_scatter(row, score_M[row].log_softmax(0))
    mean_KH = torch.stack([log_weight_M[row].exp() @ value_MH[row] for row in member_KM])
    pooled = attend(score_M, value_MH, member_KM)
    torch.testing.assert_close(pooled.log_weight_M, log_weight_M)
    torch.testing.assert_close(pooled.mean_KH, mean_KH)
    of_mean_KH, of_log_weight_M = drawn(*mean_KH.shape, seed=7), drawn(len(group_M), seed=8)
    gradients = [
        torch.autograd.grad((mean * of_mean_KH).sum() + log_weight @ of_log_weight_M, [score_M, value_MH])
        for mean, log_weight in ((pooled.mean_KH, pooled.log_weight_M), (mean_KH, log_weight_M))
    ]
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize("gated", [True, False])
def test_scores_are_those_of_the_equation(gated: bool) -> None:
    """w . (tanh(V h) * sigmoid(U h)) with V above U, or without the gate; then pooled as by `attend`."""
    pool = AttentionPool(5, 3, gated=gated).double()
    value_MH, member_KM = drawn(7, 5), memberships([row % 2 for row in range(7)])
    v_AH, v_A = pool.project.weight[:3], pool.project.bias[:3]
    expected = (value_MH @ v_AH.t() + v_A).tanh()
    if gated:
        expected = expected * (value_MH @ pool.project.weight[3:].t() + pool.project.bias[3:]).sigmoid()
    torch.testing.assert_close(pool(value_MH, member_KM), attend(expected @ pool.weigh.weight[0], value_MH, member_KM))


@pytest.mark.parametrize("gated", [True, False])
def test_a_bonus_is_added_to_the_scores(gated: bool) -> None:
    """With or without the gate."""
    bonus_M, value_MH, member_KM = torch.tensor([0.0, 1.0, 2.0]).double(), drawn(3, 5), memberships([0, 0, 1])
    pool = AttentionPool(5, 2, gated=gated).double()
    plain, raised = pool(value_MH, member_KM), pool(value_MH, member_KM, bonus_M)
    torch.testing.assert_close(raised, attend(plain.score_M + bonus_M, value_MH, member_KM))
