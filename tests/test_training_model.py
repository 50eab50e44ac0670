"""The model: what holds whatever its weights are."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from milstore.training.bags import Bag, make_bag
from milstore.training.config import TrainingConfig
from milstore.training.model import (
    AttentionMIL,
    CaseOutput,
    effective_attention,
    unevenness,
)

D = 5
POOLINGS = ("hierarchical", "size-corrected", "flat")


def model(pooling: str = "hierarchical", classes: int = 2, *, seed: int = 0, **config: Any) -> AttentionMIL:
    torch.manual_seed(seed)
    config = {"hidden": 7, "attention_dim": 4, "pooling": pooling, **config}
    made = AttentionMIL(D, classes, TrainingConfig(**config)).eval()
    for parameter in made.parameters():
        parameter.data.mul_(3)  # Attention that is far from even.
    return made


def run(made: AttentionMIL, bag: Bag) -> CaseOutput:
    return made(bag.feature_ND.float(), bag.slice_GN, bag.stain_SG)


@torch.no_grad()
def weights(made: AttentionMIL, bag: Bag) -> dict[tuple[str, int, int], tuple[float, float, float, float]]:
    """Stain, slice, patch and effective attention of each patch, by the patch's identity."""
    attention = run(made, bag).attention
    effective_N = effective_attention(attention, bag.slice_GN, bag.stain_SG)
    stain_G = bag.stain_SG.int().argmax(0)
    return {
        (*bag.slices[slice_], int(patch_idx)): (
            float(attention.stain_S[stain_G[slice_]]),
            float(attention.slice_G[slice_]),
            float(attention.patch_N[row]),
            float(effective_N[row]),
        )
        for row, (slice_, patch_idx) in enumerate(zip(bag.slice_N, bag.patch_idx_N, strict=True))
    }


@st.composite
def patch_lists(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    """Patches (stain, slice_idx, patch_idx) of a case: one to three stains, one to three slices, one to four patches."""
    stains = draw(st.lists(st.sampled_from(["h&e", "melan", "sox10"]), min_size=1, max_size=3, unique=True))
    return [
        (stain, slice_idx, patch_idx)
        for stain in stains
        for slice_idx in draw(st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True))
        for patch_idx in draw(st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True))
    ]


def case(patches: list[tuple[str, int, int]]) -> Bag:
    """A bag in which a patch's features depend on its identity alone."""
    vectors = [np.random.default_rng([len(s), i, p]).normal(size=D) for s, i, p in patches]
    stains, slices, numbers = zip(*patches, strict=True)
    return make_bag("1", stains, np.array(slices), np.array(numbers), torch.tensor(np.array(vectors)))


@settings(max_examples=40, deadline=None)
@given(patches=patch_lists(), data=st.data(), pooling=st.sampled_from(POOLINGS), seed=st.integers(0, 3))
def test_order_does_not_matter(
    patches: list[tuple[str, int, int]], data: st.DataObject, pooling: str, seed: int
) -> None:
    """Permuting patches, slices or stains changes no logit, and each patch keeps its attention."""
    made = model(pooling, seed=seed)
    bag, shuffled = case(patches), case(data.draw(st.permutations(patches)))
    torch.testing.assert_close(run(made, bag).logits_C, run(made, shuffled).logits_C)
    there, here = weights(made, bag), weights(made, shuffled)
    assert there.keys() == here.keys()
    for patch, expected in there.items():
        assert here[patch] == pytest.approx(expected, abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(patches=patch_lists(), data=st.data(), pooling=st.sampled_from(POOLINGS))
def test_rows_of_slices_and_stains_may_stand_in_any_order(
    patches: list[tuple[str, int, int]], data: st.DataObject, pooling: str
) -> None:
    """The memberships, not the positions, say which slice is of which stain."""
    made, bag = model(pooling), case(patches)
    g = data.draw(st.permutations(range(bag.slice_GN.shape[0])))
    s = data.draw(st.permutations(range(bag.stain_SG.shape[0])))
    plain = run(made, bag)
    turned = made(bag.feature_ND.float(), bag.slice_GN[g], bag.stain_SG[s][:, g])
    torch.testing.assert_close(turned.logits_C, plain.logits_C)
    torch.testing.assert_close(turned.attention.slice_G, plain.attention.slice_G[g])
    torch.testing.assert_close(turned.attention.stain_S, plain.attention.stain_S[s])
    torch.testing.assert_close(turned.attention.patch_N, plain.attention.patch_N)


@settings(max_examples=40, deadline=None)
@given(patches=patch_lists(), pooling=st.sampled_from(POOLINGS), seed=st.integers(0, 3))
def test_attention_sums_to_one_at_every_level(patches: list[tuple[str, int, int]], pooling: str, seed: int) -> None:
    """Patches within their slice, slices within their stain, stains within the case, and the products in the case."""
    bag = case(patches)
    attention = run(model(pooling, seed=seed), bag).attention
    effective_N = effective_attention(attention, bag.slice_GN, bag.stain_SG)
    for sums in (
        bag.slice_GN.float() @ attention.patch_N,
        bag.stain_SG.float() @ attention.slice_G,
        attention.stain_S.sum()[None],
        effective_N.sum()[None],
    ):
        assert sums.tolist() == pytest.approx([1.0] * len(sums), abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(patches=patch_lists(), seed=st.integers(0, 3))
def test_flat_pooling_is_one_softmax_over_the_case(patches: list[tuple[str, int, int]], seed: int) -> None:
    """With --pooling flat, effective attention and logits are those of plain attention MIL."""
    made, bag = model("flat", seed=seed), case(patches)
    output = run(made, bag)
    hidden_NH = made.project(bag.feature_ND.float())
    plain_N = made.patch_pool(hidden_NH, torch.ones(1, len(hidden_NH), dtype=torch.bool)).log_weight_M.exp()
    logits_C = made.classify(plain_N @ hidden_NH)
    effective_N = effective_attention(output.attention, bag.slice_GN, bag.stain_SG)
    torch.testing.assert_close(effective_N.float(), plain_N, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(output.logits_C, logits_C)


@settings(max_examples=30, deadline=None)
@given(patches=patch_lists())
def test_size_correction_gives_equal_scores_equal_patches(patches: list[tuple[str, int, int]]) -> None:
    """Where all scores are equal, size-corrected attention is even over the patches, hierarchical over the slices."""
    bag = case(patches)
    for pooling in ("size-corrected", "hierarchical"):
        made = model(pooling)
        for pool in (made.patch_pool, made.slice_pool, made.stain_pool):
            torch.nn.init.zeros_(pool.weigh.weight)
        attention = run(made, bag).attention
        effective_N = effective_attention(attention, bag.slice_GN, bag.stain_SG)
        if pooling == "size-corrected":
            assert effective_N.tolist() == pytest.approx([1 / len(patches)] * len(patches), rel=1e-5)
        else:
            per_stain = bag.stain_SG.sum(1)[bag.stain_SG.int().argmax(0)]
            assert attention.slice_G.tolist() == pytest.approx((1 / per_stain).tolist(), rel=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_one_patch_takes_all_attention(pooling: str) -> None:
    """A case of a single patch has attention 1 at every level, and any number of classes a logit each."""
    bag = case([("melan", 4, 7)])
    assert weights(model(pooling, classes=3), bag) == {("melan", 4, 7): (1.0, 1.0, 1.0, 1.0)}
    assert run(model(pooling, classes=3), bag).logits_C.shape == (3,)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("standardise", ["none", "train"])
def test_gradients_are_those_of_finite_differences(pooling: str, gated: bool, standardise: str) -> None:
    """Of logits and of every level's unevenness, with respect to every weight, in float64; none is 0."""
    made = model(pooling, classes=3, gated=gated, standardise=standardise).double()
    bag = case([("h&e", 0, i) for i in range(3)] + [("h&e", 1, 0), ("h&e", 1, 3), ("sox10", 0, 1)])
    parameters = dict(made.named_parameters())

    def results(*values: torch.Tensor) -> torch.Tensor:
        held = dict(zip(parameters, values, strict=True))
        output = torch.func.functional_call(made, held, (bag.feature_ND, bag.slice_GN, bag.stain_SG))
        attention = output.attention
        levels = (
            unevenness(attention.log_stain_S, torch.ones(1, len(bag.stain_SG), dtype=torch.bool)),
            unevenness(attention.log_slice_G, bag.stain_SG),
            unevenness(attention.log_patch_N, bag.slice_GN),
        )
        return torch.cat([output.logits_C, torch.stack(levels)])

    assert torch.autograd.gradcheck(results, tuple(parameters.values()))
    results(*parameters.values()).sum().backward()
    for name, parameter in parameters.items():
        assert parameter.grad is not None
        assert float(parameter.grad.abs().max()) > 1e-4, name


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("gated", [True, False])
def test_gradients_are_finite_with_extreme_scores(pooling: str, gated: bool) -> None:
    """Scores far apart, with attention of 0 to the last bit, give finite gradients, the penalties' included."""
    made, bag = model(pooling, gated=gated), case([("h&e", 0, i) for i in range(4)] + [("h&e", 1, 0), ("sox10", 0, 1)])
    made.patch_pool.weigh.weight.data.mul_(1e4)
    output = run(made, bag)
    (output.logits_C.sum() + unevenness(output.attention.log_patch_N, bag.slice_GN)).backward()
    assert output.attention.patch_N.min() == 0
    gradients = [each.grad for each in made.parameters()]
    assert all(each is not None and bool(each.isfinite().all()) for each in gradients)


def test_unevenness_by_hand() -> None:
    """0 where attention is even, 1 where one member has all; groups of one member do not count."""
    member_KM = torch.tensor([[True, True, False], [False, False, True]])
    even = unevenness(torch.tensor([0.5, 0.5, 1.0]).log(), member_KM)
    skewed = unevenness(torch.tensor([0.25, 0.75, 1.0]).log(), member_KM)
    alone = unevenness(torch.tensor([0.0]), torch.tensor([[True]]))
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert [float(even), float(skewed), float(alone)] == pytest.approx([0, 1 - entropy / math.log(2), 0], abs=1e-6)


def test_upper_pools_have_no_weights_with_flat_pooling() -> None:
    """Nothing is trained, counted or stored that flat pooling does not use."""
    names = {name.split(".")[0] for name, _ in model("flat").named_parameters()}
    assert names == {"project", "patch_pool", "classify"}
