"""Attention pooling of one level: its values by hand and by torch, and the gradients that are written out."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from milstore.training.pooling import AttentionScore, attend
from milstore.training.products import ROWS_AT_A_TIME


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def memberships(group_M: list[int]) -> Tensor:
    """Bool (K, M) from the group of each member; -1 where it lies in none."""
    groups = sorted(set(group_M) - {-1})
    return torch.tensor([[group == of for of in group_M] for group in groups])


def test_attend_by_hand() -> None:
    """Two groups of two and one: softmax within each, log-sum-exp of the scores, weighted means."""
    member_KM = torch.tensor([[True, False, True], [False, True, False]])
    score_M = torch.tensor([0.0, 5.0, math.log(3)])
    value_MH = torch.tensor([[4.0], [7.0], [8.0]])
    log_weight_M, total_K, mean_KH = attend(score_M, value_MH, member_KM)
    assert log_weight_M.exp().tolist() == pytest.approx([0.25, 1.0, 0.75])
    assert total_K.tolist() == pytest.approx([math.log(4), 5.0])
    assert mean_KH.tolist() == [[pytest.approx(7.0)], [pytest.approx(7.0)]]


groups = st.lists(st.integers(-1, 3), min_size=1, max_size=9).filter(lambda of: max(of) >= 0)


@settings(max_examples=40, deadline=None)
@given(group_M=groups, seed=st.integers(0, 9))
def test_attend_is_a_softmax_a_group(group_M: list[int], seed: int) -> None:
    """Values and gradients are those of torch's own softmax of each group, through all three results at once."""
    member_KM = memberships(group_M)
    inside_M = member_KM.any(0)

    def ours(score_M: Tensor, value_MH: Tensor) -> tuple[Tensor, ...]:
        log_weight_M, total_K, mean_KH = attend(score_M, value_MH, member_KM)
        return log_weight_M[inside_M], total_K, mean_KH

    def torchs(score_M: Tensor, value_MH: Tensor) -> tuple[Tensor, ...]:
        log_weight_M = torch.zeros_like(score_M)
        for row in member_KM:
            log_weight_M = log_weight_M.masked_scatter(row, score_M[row].log_softmax(0))
        totals = torch.stack([score_M[row].logsumexp(0) for row in member_KM])
        means = torch.stack([log_weight_M[row].exp() @ value_MH[row] for row in member_KM])
        return log_weight_M[inside_M], totals, means

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


def test_gradients_of_attend_are_those_of_its_values() -> None:
    """By differences of its values, in float64, with a member of no group among the others."""
    member_KM = memberships([0, 1, 0, -1, 1, 0])
    assert torch.autograd.gradcheck(
        lambda score_M, value_MH: attend(score_M, value_MH, member_KM), (drawn(6), drawn(6, 3))
    )


@pytest.mark.parametrize("gated", [True, False])
def test_gradients_of_scores_are_those_of_their_values(gated: bool) -> None:
    """By differences of the values, for the members and for every weight."""
    score = AttentionScore(5, 3, gated=gated).double()
    names = [name for name, _ in score.named_parameters()]

    def values(value_MH: Tensor, *weights: Tensor) -> Tensor:
        scores: Tensor = torch.func.functional_call(score, dict(zip(names, weights, strict=True)), (value_MH,))
        return scores

    assert torch.autograd.gradcheck(values, (drawn(4, 5), *score.parameters()))


@pytest.mark.parametrize("rows", [3, ROWS_AT_A_TIME])
def test_gated_scores_are_those_of_the_equation(rows: int) -> None:
    """w . (tanh(V h) * sigmoid(U h)) with V above U, few rows and many, in float32."""
    score = AttentionScore(5, 3, gated=True)
    value_MH = drawn(rows, 5).float()
    v_AH, u_AH = score.project.weight.chunk(2)
    v_A, u_A = score.project.bias.chunk(2)
    expected = ((value_MH @ v_AH.t() + v_A).tanh() * (value_MH @ u_AH.t() + u_A).sigmoid()) @ score.weigh.weight[0]
    torch.testing.assert_close(score(value_MH), expected, rtol=1e-4, atol=1e-5)
