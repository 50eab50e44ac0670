"""What every built-in model promises, in each of its ways."""

from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

from milstore.models import (
    Bag,
    LevelAttention,
    MILModel,
    PatchAttention,
    available,
    describe,
    levels,
    load_model,
    make_bag,
    settings_of,
    unevenness_penalty,
)
from tests.crossing import WHOLE
from tests.milbags import (
    SEVERAL,
    SMALL,
    VARIANT_IDS,
    VARIANTS,
    Patch,
    attended,
    bag_of,
    flat_gradients,
    patch_lists,
    small_model,
    ten_bags,
)

every = pytest.mark.parametrize(("name", "more"), VARIANTS, ids=VARIANT_IDS)
WEIGHT_C = torch.tensor([0.5, 2.0, 1.5])
EXAMPLES = 15 if WHOLE else 5
"""Bags that are drawn for each model; `make torture` draws the more."""


def test_every_built_in_model_is_tested() -> None:
    """The tables of these tests hold each model that comes with milstore."""
    assert list(SMALL) == available()


@every
@settings(max_examples=EXAMPLES, deadline=None)
@given(patches=patch_lists(), data=st.data(), seed=st.integers(0, 3))
def test_storage_order_does_not_matter(
    name: str, more: dict[str, Any], patches: list[Patch], data: st.DataObject, seed: int
) -> None:
    """Permuting patches, slices or stains changes no logit and no score, and each patch keeps its attention."""
    made = small_model(name, seed=seed, **more)
    turned = data.draw(st.permutations(patches))
    if name == "transmil":
        turned = sorted(turned)  # Goes by order: whatever the storage, a bag is in canonical order.
        patches = sorted(patches)
    there, here = (made(bag_of(each)) for each in (patches, turned))
    torch.testing.assert_close(here.logits_C, there.logits_C, atol=1e-4, rtol=1e-4)
    for score in there.scores:
        by_patch = dict(zip(turned, here.scores[score].tolist(), strict=True))
        for patch, expected in zip(patches, there.scores[score].tolist(), strict=True):
            assert by_patch[patch] == pytest.approx(expected, abs=1e-3)
    if made.attends == "none":
        return
    expected_of, found_of = attended(there, bag_of(patches), patches), attended(here, bag_of(turned), turned)
    for patch, expected in expected_of.items():
        assert found_of[patch] == pytest.approx(expected, abs=1e-4)


@every
@settings(max_examples=EXAMPLES, deadline=None)
@given(patches=patch_lists(), seed=st.integers(0, 3))
def test_a_model_gives_what_it_says(name: str, more: dict[str, Any], patches: list[Patch], seed: int) -> None:
    """Attention is of the kind that `attends` says and sums to 1 at every level; scores are a number a patch."""
    made, bag = small_model(name, seed=seed, **more), bag_of(patches)
    output = made(bag)
    assert output.logits_C.shape == (3,)
    assert bool(output.logits_C.isfinite().all())
    kinds = {"levels": LevelAttention, "patches": PatchAttention, "none": type(None)}
    assert type(output.attention) is kinds[made.attends]
    assert all(score_N.shape == (len(patches),) for score_N in output.scores.values())
    assert all(name.replace("_", "").isalnum() and name.islower() for name in output.scores)
    if output.attention is None:
        return
    # As the model gives them, before anything is normalised.
    if isinstance(output.attention, PatchAttention):
        sums = output.attention.log_weight_N.exp().sum()[None]
    else:
        log = output.attention
        patch_sums = bag.slice_GN.float() @ log.log_patch_N.exp()
        sums = torch.cat([log.log_stain_S.exp().sum()[None], bag.stain_SG.float() @ log.log_slice_G.exp(), patch_sums])
    assert sums.tolist() == pytest.approx([1.0] * len(sums), abs=1e-5)
    assert levels(output.attention, bag).effective_N.sum() == pytest.approx(1, abs=1e-12)


@every
def test_one_patch_is_a_case(name: str, more: dict[str, Any]) -> None:
    """A case of one patch, slice and stain has logits, a loss with gradients, and attention 1 at every level."""
    made = small_model(name, **more).train()
    patches: list[Patch] = [("melan", 4, 7)]
    bag = bag_of(patches)
    output = made(bag)
    loss = made.loss(output, 1, WEIGHT_C)
    loss.backward()
    assert bool(loss.isfinite()) and bool(flat_gradients(made).isfinite().all())
    if made.attends != "none":
        assert attended(output, bag, patches) == {("melan", 4, 7): pytest.approx((1.0, 1.0, 1.0, 1.0))}


@every
@pytest.mark.parametrize("classes", [2, 4])
def test_any_number_of_classes(name: str, more: dict[str, Any], classes: int) -> None:
    """There is a logit a class, and each class's loss can be made smaller."""
    made, bag = small_model(name, classes=classes, **more), bag_of(SEVERAL)
    assert made(bag).logits_C.shape == (classes,)
    for label in range(classes):
        made.zero_grad()
        made.loss(made(bag), label, torch.ones(classes)).backward()
        assert float(flat_gradients(made).abs().max()) > 1e-4


class Loss(nn.Module):
    """A model's loss of a case, every penalty on its attention included."""

    def __init__(self, model: MILModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, bag: Bag) -> Tensor:
        output = self.model(bag)
        loss = self.model.loss(output, 2, WEIGHT_C.to(bag.feature_ND))
        if output.attention is None:
            return loss
        return loss + unevenness_penalty(output.attention, bag, stain=0.2, slice_=0.3, patch=0.4)


@every
def test_gradients_are_those_of_the_formula(name: str, more: dict[str, Any]) -> None:
    """In float64, in training, the loss and every attention penalty have the derivatives that differences give."""
    made = Loss(small_model(name, spread=1.5, **more)).double().train()
    bag = bag_of(SEVERAL, torch.float64)
    parameters = dict(made.named_parameters())

    def loss(*values: Tensor) -> Tensor:
        torch.manual_seed(3)  # The same patches are hidden each time.
        return torch.func.functional_call(made, dict(zip(parameters, values, strict=True)), (bag,))

    given_values = tuple(each.detach().requires_grad_() for each in parameters.values())
    assert torch.autograd.gradcheck(loss, given_values, fast_mode=True)


@every
def test_ten_bags_are_learnt(name: str, more: dict[str, Any]) -> None:
    """Trained on ten bags of three classes, a model comes to give each bag's own class more than half."""
    made = small_model(name, spread=1.0, **{"hidden": 16, **more})
    bags = ten_bags()
    optimizer = torch.optim.Adam(made.parameters(), lr=3e-2)
    p_true: list[float] = []
    for _ in range(30):
        made.train()
        for _ in range(5):
            optimizer.zero_grad()
            torch.stack([made.loss(made(bag), label, torch.ones(3)) for bag, label in bags]).mean().backward()
            optimizer.step()
        made.eval()
        p_true = [float(made(bag).logits_C.detach().softmax(0)[label]) for bag, label in bags]
        if min(p_true) > 0.5:
            break
    assert min(p_true) > 0.5, p_true


@every
def test_a_seed_decides_everything(name: str, more: dict[str, Any]) -> None:
    """The same seed gives the same weights, and in training the same loss and gradients to the last bit."""

    def once(seed: int) -> Tensor:
        dropped = {"dropout": 0.3, "mask_share": 0.5} if name == "acmil" else {"dropout": 0.3}
        made = small_model(name, seed=seed, **{**more, **dropped}).train()
        made.loss(made(bag_of(SEVERAL)), 0, WEIGHT_C).backward()
        return torch.cat([each.detach().flatten() for each in made.parameters()] + [flat_gradients(made)])

    assert torch.equal(once(1), once(1))
    assert not torch.equal(once(1), once(2))


@pytest.mark.parametrize("name", SMALL)
def test_defaults_train_on_a_case_of_usual_size(name: str) -> None:
    """With its defaults, on 300 patches of 512 numbers, a model has finite gradients, twice the same to the last bit."""
    feature_ND = torch.randn(300, 512, generator=torch.Generator().manual_seed(0))
    bag = make_bag(feature_ND, torch.arange(300) // 100, torch.tensor([0, 0, 1]))

    def once() -> Tensor:
        torch.manual_seed(1)
        loaded = load_model(name)
        made = loaded.build(loaded.cls.Config(), 512, 2).train()
        made.loss(made(bag), 1, torch.ones(2)).backward()
        return flat_gradients(made)

    first = once()
    assert bool(first.isfinite().all()) and float(first.abs().max()) > 0
    assert torch.equal(first, once())


@every
def test_evaluation_draws_nothing(name: str, more: dict[str, Any]) -> None:
    """In evaluation nothing is dropped or hidden, and the global generator is left as it was."""
    made = small_model(name, **{**more, "dropout": 0.5}).eval()
    before = torch.get_rng_state()
    first, second = made(bag_of(SEVERAL)), made(bag_of(SEVERAL))
    assert torch.equal(first.logits_C, second.logits_C)
    assert torch.equal(torch.get_rng_state(), before)


@every
def test_class_weights_weigh(name: str, more: dict[str, Any]) -> None:
    """Twice the weight of a class adds the loss of its case once more, as far as the loss is of cases."""
    made, bag = small_model(name, **more).requires_grad_(False), bag_of(SEVERAL)
    zero, one, two = (float(made.loss(made(bag), 1, weight * torch.ones(3))) for weight in (1e-30, 1.0, 2.0))
    assert two - one == pytest.approx(one - zero, rel=1e-4)
    assert one > zero


@every
def test_float64_stays_float64(name: str, more: dict[str, Any]) -> None:
    """A model in double precision computes in it throughout."""
    made, bag = small_model(name, **more), bag_of(SEVERAL, torch.float64)
    output = made.double()(bag)
    exact = [output.logits_C, *output.scores.values()]
    if isinstance(output.attention, PatchAttention):
        exact.append(output.attention.log_weight_N)
    assert {each.dtype for each in exact} == {torch.float64}


@pytest.mark.parametrize("name", SMALL)
def test_what_is_listed_is_what_there_is(name: str) -> None:
    """The listing, read without importing torch, is the class's own: summary, attends, fields, defaults and help."""
    listed, loaded = describe(name), load_model(name)
    assert listed.settings == settings_of(loaded.cls.Config)
    assert listed.attends == loaded.cls.attends
    assert loaded.cls.__doc__ is not None and listed.summary == loaded.cls.__doc__.strip().splitlines()[0]
    assert all(setting.help.endswith(".") for setting in listed.settings)


def test_a_model_without_anything_says_so() -> None:
    """The interface's own forward is no model."""
    with pytest.raises(NotImplementedError):
        MILModel()(make_bag(torch.zeros(1, 1), torch.zeros(1).long(), torch.zeros(1).long()))


@pytest.mark.parametrize(
    "more",
    [{"hidden": 0}, {"dropout": 1.0}, {"dropout": -0.1}],
    ids=str,
)
@pytest.mark.parametrize("name", SMALL)
def test_settings_out_of_range_are_refused(name: str, more: dict[str, Any]) -> None:
    """A width below 1 and a share of 1 are one clear line that names the setting."""
    from milstore.errors import UsageError

    (setting,) = more
    with pytest.raises(UsageError, match=f"--set {setting}="):
        small_model(name, **more)
