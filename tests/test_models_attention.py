"""Attention at three levels from either form of log-weights, and the penalties on unevenness."""

import math

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from milstore.models import Bag, LevelAttention, PatchAttention, levels, make_bag, unevenness_penalty
from milstore.models.attention import log_levels, unevenness
from tests.milbags import Patch, bag_of, patch_lists

BAG = make_bag(torch.zeros(6, 1), torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([0, 0, 1]))
"""Two slices of stain 0 and one of stain 1, two patches each."""


def logs(weights: list[float]) -> torch.Tensor:
    return torch.tensor(weights, dtype=torch.float64).log()


def test_one_distribution_gives_marginals_and_conditionals() -> None:
    """Stain and slice attention are sums over patches, patch attention is what is left, and their product is whole."""
    found = levels(PatchAttention(logs([0.1, 0.2, 0.05, 0.15, 0.3, 0.2])), BAG)
    assert found.stain_S.tolist() == pytest.approx([0.5, 0.5], abs=1e-15)
    assert found.slice_G.tolist() == pytest.approx([0.6, 0.4, 1], abs=1e-15)
    assert found.patch_N.tolist() == pytest.approx([1 / 3, 2 / 3, 1 / 4, 3 / 4, 3 / 5, 2 / 5], abs=1e-15)
    assert found.effective_N.tolist() == pytest.approx([0.1, 0.2, 0.05, 0.15, 0.3, 0.2], abs=1e-15)
    assert {each.dtype for each in (found.stain_S, found.slice_G, found.patch_N, found.effective_N)} == {
        np.dtype("float64")
    }


def test_a_slice_without_attention_spreads_it_evenly() -> None:
    """Where a slice's attention is 0 its patches get 1/n; the case's attention is as it was."""
    found = levels(PatchAttention(logs([0, 0, 0.2, 0.6, 0.2, 0])), BAG)
    assert found.stain_S.tolist() == pytest.approx([0.8, 0.2])
    assert found.slice_G.tolist() == pytest.approx([0, 1, 1])
    assert found.patch_N.tolist() == pytest.approx([0.5, 0.5, 0.25, 0.75, 1, 0])
    assert found.effective_N.tolist() == pytest.approx([0, 0, 0.2, 0.6, 0.2, 0])


def test_a_stain_without_attention_spreads_it_evenly() -> None:
    """Where a stain's attention is 0 its slices get 1/n, and so do their patches."""
    found = levels(PatchAttention(logs([0, 0, 0, 0, 0.25, 0.75])), BAG)
    assert found.stain_S.tolist() == [0, 1]
    assert found.slice_G.tolist() == [0.5, 0.5, 1]
    assert found.patch_N.tolist() == pytest.approx([0.5, 0.5, 0.5, 0.5, 0.25, 0.75])
    assert found.effective_N.tolist() == pytest.approx([0, 0, 0, 0, 0.25, 0.75])


def test_three_levels_stay_what_they_are() -> None:
    """Levels that a model gives are taken as they are, with the same rule where a parent has nothing."""
    given_levels = LevelAttention(logs([0.25, 0.75]), logs([0.9, 0.1, 1]), logs([0.5, 0.5, 0.2, 0.8, 0, 0]))
    found = levels(given_levels, BAG)
    assert found.stain_S.tolist() == pytest.approx([0.25, 0.75])
    assert found.slice_G.tolist() == pytest.approx([0.9, 0.1, 1])
    assert found.patch_N.tolist() == pytest.approx([0.5, 0.5, 0.2, 0.8, 0.5, 0.5])
    effective = [0.25 * 0.9 * 0.5] * 2 + [0.25 * 0.1 * 0.2, 0.25 * 0.1 * 0.8, 0.375, 0.375]
    assert found.effective_N.tolist() == pytest.approx(effective)


def test_raw_scores_are_made_attention() -> None:
    """A constant that all log-weights of a parent share makes no difference, so that scores may be given as they are."""
    scores = [3.0, -1.0, 0.5, 2.0, 0.0, 1.0]
    total = sum(math.exp(score) for score in scores)
    found = levels(PatchAttention(torch.tensor(scores) + 700), BAG)
    assert found.effective_N.tolist() == pytest.approx([math.exp(score) / total for score in scores], rel=1e-4)


def test_weights_that_float32_cannot_hold_keep_their_proportions() -> None:
    """Within a slice whose attention is below the smallest float64, patches keep their attention to each other."""
    log_weight_N = torch.tensor([-2000.0, -2000.0 + math.log(3), 0, 0, -3000.0, -3000.0], dtype=torch.float64)
    found = levels(PatchAttention(log_weight_N), BAG)
    assert found.patch_N.tolist() == pytest.approx([0.25, 0.75, 0.5, 0.5, 0.5, 0.5])
    assert found.effective_N.tolist() == pytest.approx([0, 0, 0.5, 0.5, 0, 0])


@settings(max_examples=60, deadline=None)
@given(patches=patch_lists(), data=st.data(), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_every_level_sums_to_one_and_the_product_is_the_distribution(
    patches: list[Patch], data: st.DataObject, dtype: torch.dtype
) -> None:
    """For any log-weights, some of them -inf: sums to 1e-12, and the product is the softmax over the case."""
    n = len(patches)
    scores = data.draw(hnp.arrays(np.float64, n, elements=st.floats(-80, 80, width=32)))
    hidden = data.draw(hnp.arrays(bool, n))
    hidden[data.draw(st.integers(0, n - 1))] = False
    bag, given_N = bag_of(patches), torch.tensor(np.where(hidden, -np.inf, scores), dtype=dtype)
    found = levels(PatchAttention(given_N), bag)
    for sums in (
        found.stain_S.sum()[None],
        bag.stain_SG.double().numpy() @ found.slice_G,
        bag.slice_GN.double().numpy() @ found.patch_N,
    ):
        assert sums.tolist() == pytest.approx([1] * len(sums), abs=1e-12)
    expected_N = given_N.double().softmax(0)
    assert found.effective_N.tolist() == pytest.approx(expected_N.tolist(), abs=1e-12)


@pytest.mark.parametrize(
    "weights",
    [[math.nan, 0, 0, 0, 0, 0], [math.nan, math.nan, 0, 0, 0, 0], [math.inf, 0, 0, 0, 0, 0], [-math.inf] * 6],
)
def test_what_is_no_attention_is_refused(weights: list[float]) -> None:
    """NaN, infinity and nothing at all are a fault of the model, and never made even attention of."""
    with pytest.raises(ValueError, match="attention has a log-weight"):
        levels(PatchAttention(torch.tensor(weights)), BAG)


def test_attention_of_another_bag_is_refused() -> None:
    """There is one log-weight for each patch, slice and stain, or an error says how many there are."""
    with pytest.raises(ValueError, match=r"\(5,\), not \(6,\)"):
        levels(PatchAttention(torch.zeros(5)), BAG)
    with pytest.raises(ValueError, match="log-weights of shapes"):
        levels(LevelAttention(torch.zeros(2), torch.zeros(2), torch.zeros(6)), BAG)


def test_unevenness_by_hand() -> None:
    """0 where attention is even, 1 where one member has all; groups of one member do not count."""
    member_KM = torch.tensor([[True, True, False], [False, False, True]])
    even = unevenness(logs([0.5, 0.5, 1.0]), member_KM)
    skewed = unevenness(logs([0.25, 0.75, 1.0]), member_KM)
    all_on_one = unevenness(logs([0, 1, 1]), member_KM)
    alone = unevenness(logs([1]), torch.tensor([[True]]))
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    found = [float(each) for each in (even, skewed, all_on_one, alone)]
    assert found == pytest.approx([0, 1 - entropy / math.log(2), 1, 0], abs=1e-12)


def two_of(p: float) -> float:
    """Unevenness of p and 1 - p."""
    return 1 + (p * math.log(p) + (1 - p) * math.log(1 - p)) / math.log(2)


def test_penalties_by_hand_for_both_forms() -> None:
    """Each level's weight times its unevenness; the same for one distribution and for its three levels."""
    whole = PatchAttention(logs([0.1, 0.2, 0.05, 0.15, 0.3, 0.2]))
    parts = log_levels(whole, BAG)
    patch = (two_of(1 / 3) + two_of(1 / 4) + two_of(3 / 5)) / 3
    expected = 2 * two_of(0.5) + 3 * two_of(0.6) + 5 * patch
    for form in (whole, parts):
        assert float(unevenness_penalty(form, BAG, stain=2, slice_=3, patch=5)) == pytest.approx(expected)
        assert float(unevenness_penalty(form, BAG, patch=1)) == pytest.approx(patch)
        assert float(unevenness_penalty(form, BAG)) == 0


def test_penalties_have_the_gradients_of_their_formula() -> None:
    """Gradients in float64 are those of differences, and finite where attention is 0."""

    def penalty(score_N: torch.Tensor) -> torch.Tensor:
        return unevenness_penalty(PatchAttention(score_N), BAG, stain=1.0, slice_=2.0, patch=3.0)

    score_N = torch.tensor([0.3, -1.0, 2.0, 0.1, 0.7, -0.2], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(penalty, (score_N,))
    hidden_N = torch.tensor([-torch.inf, -torch.inf, 0, 0.3, -torch.inf, 0.1], requires_grad=True)
    penalty(hidden_N).backward()
    assert hidden_N.grad is not None and bool(hidden_N.grad.isfinite().all())


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"feature_ND": torch.zeros(5, 1)}, "one row a patch"),
        ({"feature_ND": torch.zeros(6, 1, dtype=torch.int64)}, "give float32"),
        ({"slice_N": torch.tensor([0, 0, 1, 1, 1, 1])}, "every number from 0 to 2"),
        ({"stain_G": torch.tensor([0, 2, 2])}, "every number from 0 to 2"),
        ({"xy_N2": torch.zeros(6, 3)}, "coordinates of shape"),
        ({"stains": ("h&e",)}, "1 names for 2 stains"),
    ],
)
def test_a_bag_whose_parts_do_not_fit_is_refused(parts: dict, told: str) -> None:
    """A row a patch, no slice without a patch, no stain without a slice, a name a stain."""
    fitting = {"feature_ND": BAG.feature_ND, "slice_N": BAG.slice_N, "stain_G": BAG.stain_G}
    with pytest.raises(ValueError, match=told):
        make_bag(**{**fitting, **parts})


def test_a_bag_knows_its_parts() -> None:
    """Counts and memberships by hand; coordinates are unknown unless given."""
    bag: Bag = BAG
    assert (bag.n_patches, bag.n_slices, bag.n_stains) == (6, 3, 2)
    assert bag.slice_GN.int().tolist() == [[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1]]
    assert bag.stain_SG.int().tolist() == [[1, 1, 0], [0, 0, 1]]
    assert bool(bag.xy_N2.isnan().all()) and bag.xy_N2.shape == (6, 2)
    assert bag.to("cpu") is bag
