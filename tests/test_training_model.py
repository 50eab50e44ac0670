"""The model: what holds whatever its weights are."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from milstore.training.bags import Bag, make_bag
from milstore.training.config import TrainingConfig
from milstore.training.model import (
    Attention,
    AttentionMIL,
    CaseOutput,
    OfAttention,
    Projector,
    effective_attention,
    of_unevenness,
    unevenness,
)

D = 5
POOLINGS = ("hierarchical", "size-corrected", "flat")


def model(pooling: str = "hierarchical", classes: int = 2, *, seed: int = 0, **config: Any) -> AttentionMIL:
    torch.manual_seed(seed)
    config = {"hidden": 7, "attention_dim": 4, "pooling": pooling, **config}
    made = AttentionMIL(D, classes, TrainingConfig(**config))
    for parameter in made.parameters():
        parameter.mul_(3)  # Attention that is far from even.
    return made


def run(made: AttentionMIL, bag: Bag) -> CaseOutput:
    return made(bag.feature_ND.float(), bag.slice_GN, bag.stain_SG)


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
    hidden_NH = made.project(bag.feature_ND.float()).hidden_MH
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
            pool.weigh.weight.zero_()
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


PENALTIES = [(0.0, 0.0, 0.0), (0.7, 0.0, 0.0), (0.0, 0.7, 0.0), (0.0, 0.0, 0.7), (0.3, 0.5, 0.7)]


def penalise(
    bag: Bag, attention: Attention, weight_3: tuple[float, float, float]
) -> list[tuple[float, Tensor, Tensor]]:
    """Weight, log-weights and groups of the stains, the slices and the patches."""
    logs = (attention.log_stain_S, attention.log_slice_G, attention.log_patch_N)
    members = (torch.ones(1, len(bag.stain_SG), dtype=torch.bool), bag.stain_SG, bag.slice_GN)
    return list(zip(weight_3, logs, members, strict=True))


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("weight_3", PENALTIES)
@pytest.mark.parametrize("standardise", ["none", "train"])
def test_gradients_are_those_that_torch_derives(
    pooling: str, gated: bool, weight_3: tuple[float, float, float], standardise: str
) -> None:
    """For every weight, from the logits and from each level's unevenness, with rows below the patches, in float64."""
    made = model(pooling, classes=3, gated=gated, standardise=standardise).double().requires_grad_()
    bag = case([("h&e", 0, i) for i in range(4)] + [("h&e", 1, 0), ("h&e", 1, 3), ("sox10", 0, 1)])
    feature_MD = torch.cat([bag.feature_ND, torch.full((2, D), 7.0)])
    output = made(feature_MD, bag.slice_GN, bag.stain_SG)
    of_logits_C = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    whole = output.logits_C @ of_logits_C
    for weight, log_weight_M, member_KM in penalise(bag, output.attention, weight_3):
        whole = whole + weight * unevenness(log_weight_M, member_KM)
    expected = torch.autograd.grad(whole, list(made.parameters()))
    of_attention = OfAttention(*(of_unevenness(*each) for each in penalise(bag, output.attention, weight_3)))
    assert [each is None for each in of_attention] == [weight == 0 for weight in weight_3]
    with torch.no_grad():
        made.backward(output, of_logits_C, of_attention)
    for (name, parameter), gradient in zip(made.named_parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, msg=lambda text, name=name: f"{name}: {text}")
        assert float(gradient.abs().max()) > 1e-4, name


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("gated", [True, False])
def test_gradients_are_finite_with_extreme_scores(pooling: str, gated: bool) -> None:
    """Scores far apart, with attention of 0 to the last bit, give finite gradients, the penalties' included."""
    made, bag = model(pooling, gated=gated), case([("h&e", 0, i) for i in range(4)] + [("h&e", 1, 0), ("sox10", 0, 1)])
    made.patch_pool.weigh.weight.mul_(1e4)
    output = run(made, bag)
    made.backward(
        output, torch.ones(2), OfAttention(log_patch_N=of_unevenness(1.0, output.attention.log_patch_N, bag.slice_GN))
    )
    assert output.attention.patch_N.min() == 0
    gradients = [each.grad for each in made.parameters()]
    assert all(each is not None and bool(each.isfinite().all()) for each in gradients)


@settings(max_examples=30, deadline=None)
@given(patches=patch_lists(), pooling=st.sampled_from(POOLINGS), more=st.integers(1, 70))
def test_rows_below_the_patches_count_for_nothing(patches: list[tuple[str, int, int]], pooling: str, more: int) -> None:
    """Whatever fills up the features changes neither logits nor attention nor any gradient."""
    made, bag = model(pooling), case(patches)
    plain_ND = bag.feature_ND.float()
    results = []
    for feature_MD in (plain_ND, torch.cat([plain_ND, torch.full((more, D), 7.0)])):
        output = made(feature_MD, bag.slice_GN, bag.stain_SG)
        of_log_patch_N = of_unevenness(1.0, output.attention.log_patch_N, bag.slice_GN)
        made.backward(output, torch.tensor([1.0, 0.0]), OfAttention(log_patch_N=of_log_patch_N))
        gradients = [each.grad for each in made.parameters()]
        results.append([output.logits_C, output.attention.log_patch_N, output.attention.log_slice_G, *gradients])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


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


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0, 0.95), seed=st.integers(0, 2**64 - 1), rows=st.integers(1, 40))
def test_dropout_scales_what_it_keeps(share: float, seed: int, rows: int) -> None:
    """In training an entry is 0 or its ReLU over the share kept, and its gradient likewise; the seed decides which."""
    project = Projector(3, 7, share).requires_grad_(False)
    feature_MD = torch.linspace(-1, 2, rows * 3).view(rows, 3)
    before = torch.nn.functional.linear(feature_MD, project.weight, project.bias)
    scale = 65536 / (65536 - round(share * 65536))

    def once() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        projected = project(feature_MD, np.random.default_rng(seed))
        project.backward(projected, torch.full_like(projected.hidden_MH, 2.0))
        assert project.weight.grad is not None and project.bias.grad is not None
        return projected.hidden_MH, project.weight.grad, project.bias.grad

    after, of_weight, of_bias = once()
    kept = after > 0
    torch.testing.assert_close(after, torch.where(kept, before * scale, 0))
    gradient = torch.where(kept, 2 * scale, 0.0)
    torch.testing.assert_close(of_weight, gradient.t() @ feature_MD)
    torch.testing.assert_close(of_bias, gradient.sum(0))
    assert all(torch.equal(one, other) for one, other in zip((after, of_weight, of_bias), once(), strict=True))
    torch.testing.assert_close(project(feature_MD).hidden_MH, before.relu())


def test_dropout_drops_the_share_asked_for() -> None:
    """Over many entries the share is met, and neither rows, columns nor neighbours hang together."""
    project = Projector(1, 64, 0.3).requires_grad_(False)
    project.bias.fill_(1.0)
    features = torch.zeros(100, 1)
    kept = torch.stack([project(features, np.random.default_rng(seed)).hidden_MH > 0 for seed in range(50)]).double()
    assert float(kept.mean()) == pytest.approx(0.7, abs=0.005)
    for axis in (0, 1, 2):
        assert float(
            (kept.narrow(axis, 1, kept.shape[axis] - 1) * kept.narrow(axis, 0, kept.shape[axis] - 1)).mean()
        ) == pytest.approx(0.49, abs=0.01)
