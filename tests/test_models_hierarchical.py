"""The default model against its formulas, written in plain Python."""

import math
from typing import Any

import pytest
import torch

from milstore.models import LevelAttention, MILModel, levels, load_model, make_bag
from tests.milbags import SEVERAL, attended, bag_of, small_model

FEATURES = [[1.0, 0.0], [0.0, 2.0], [-1.0, 1.0], [2.0, 1.0], [0.5, -1.0]]
SLICES = [[0, 1, 2], [3], [4]]
STAINS = [[0, 1], [2]]
BAG = make_bag(torch.tensor(FEATURES), torch.tensor([0, 0, 0, 1, 2]), torch.tensor([0, 0, 1]))
PROJECT = [[1.0, -0.5], [0.5, 1.0]]
PROJECT_BIAS = [0.1, -0.2]
CLASSIFY = [[1.0, -1.0], [0.0, 2.0], [-0.5, 0.5]]
CLASSIFY_BIAS = [0.0, 0.3, -0.1]
LEVELS = {
    "patch_pool": ([0.7, -0.3], 0.2, [-0.4, 0.6], 0.1, 1.5),
    "slice_pool": ([0.2, 0.9], -0.1, [0.5, 0.5], 0.0, -2.0),
    "stain_pool": ([-0.6, 0.4], 0.3, [0.1, -0.8], -0.2, 2.5),
}
"""Of each level, with one attention unit: V, its bias, U, its bias, and w."""


def tiny(**more: Any) -> MILModel:
    """A model of two features, two hidden values and one attention unit a level, its weights as above."""
    loaded = load_model("hierarchical")
    config = loaded.cls.Config(hidden=2, attention_dim=1, **more)
    made = loaded.build(config, 2, 3).eval()
    weights = {
        "project.linear.weight": PROJECT,
        "project.linear.bias": PROJECT_BIAS,
        "classify.1.weight": CLASSIFY,
        "classify.1.bias": CLASSIFY_BIAS,
    }
    for level, (content, content_bias, gate, gate_bias, weigh) in LEVELS.items():
        weights[f"{level}.score.project.weight"] = [content, gate]
        weights[f"{level}.score.project.bias"] = [content_bias, gate_bias]
        weights[f"{level}.score.weigh.weight"] = [[weigh]]
    known = made.state_dict()
    for name, value in weights.items():
        if name in known:
            rows = torch.tensor(value)
            known[name].copy_(rows[: len(known[name])] if known[name].shape != rows.shape else rows)
    return made


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def softmax(scores: list[float]) -> list[float]:
    total = sum(math.exp(score) for score in scores)
    return [math.exp(score) / total for score in scores]


def mean(weights: list[float], vectors: list[list[float]]) -> list[float]:
    return [sum(w * v[d] for w, v in zip(weights, vectors, strict=True)) for d in range(2)]


def score_of(level: str, vector: list[float], gated: bool) -> float:
    content, content_bias, gate, gate_bias, weigh = LEVELS[level]
    opened = 1 / (1 + math.exp(-dot(gate, vector) - gate_bias)) if gated else 1.0
    return weigh * math.tanh(dot(content, vector) + content_bias) * opened


def by_hand(pooling: str, gated: bool) -> tuple[list[float], list[float], list[float], list[float]]:
    """Logits, and attention of the stains, slices and patches."""
    hidden = [
        [max(0.0, dot(row, feature) + bias) for row, bias in zip(PROJECT, PROJECT_BIAS, strict=True)]
        for feature in FEATURES
    ]
    score = [score_of("patch_pool", vector, gated) for vector in hidden]
    patch, slice_vectors = [], []
    for members in SLICES:
        weights = softmax([score[i] for i in members])
        patch += weights
        slice_vectors.append(mean(weights, [hidden[i] for i in members]))
    if pooling == "flat":
        slice_score = [math.log(sum(math.exp(score[i]) for i in members)) for members in SLICES]
    else:
        slice_score = [score_of("slice_pool", vector, gated) for vector in slice_vectors]
    if pooling == "size-corrected":
        slice_score = [one + math.log(len(members)) for one, members in zip(slice_score, SLICES, strict=True)]
    slices, stain_vectors = [], []
    for members in STAINS:
        weights = softmax([slice_score[i] for i in members])
        slices += weights
        stain_vectors.append(mean(weights, [slice_vectors[i] for i in members]))
    if pooling == "flat":
        stain_score = [math.log(sum(math.exp(slice_score[i]) for i in members)) for members in STAINS]
    else:
        stain_score = [score_of("stain_pool", vector, gated) for vector in stain_vectors]
    if pooling == "size-corrected":
        beneath = [sum(len(SLICES[i]) for i in members) for members in STAINS]
        stain_score = [one + math.log(size) for one, size in zip(stain_score, beneath, strict=True)]
    stains = softmax(stain_score)
    case = mean(stains, stain_vectors)
    logits = [dot(row, case) + bias for row, bias in zip(CLASSIFY, CLASSIFY_BIAS, strict=True)]
    return logits, stains, slices, patch


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("pooling", ["hierarchical", "size-corrected", "flat"])
def test_the_formulas_in_plain_python(pooling: str, gated: bool) -> None:
    """Logits and attention of five patches in three slices of two stains are what the formulas give."""
    output = tiny(pooling=pooling, gated=gated)(BAG)
    logits, stains, slices, patches = by_hand(pooling, gated)
    assert output.logits_C.tolist() == pytest.approx(logits, abs=1e-6)
    assert isinstance(output.attention, LevelAttention)
    found = levels(output.attention, BAG)
    assert found.stain_S.tolist() == pytest.approx(stains, abs=1e-6)
    assert found.slice_G.tolist() == pytest.approx(slices, abs=1e-6)
    assert found.patch_N.tolist() == pytest.approx(patches, abs=1e-6)


GOLDEN = {
    "logits": [0.3337404, 1.4776431, -0.2668702],
    "stains": [0.6328689, 0.3671311],
    "slices": [0.7257663, 0.2742337, 1.0],
    "patches": [0.477057, 0.2012125, 0.3217305, 1.0, 1.0],
}


def test_a_golden_case() -> None:
    """The plain formulas themselves give these numbers, so that test and model cannot change together."""
    logits, stains, slices, patches = by_hand("hierarchical", gated=True)
    assert logits == pytest.approx(GOLDEN["logits"], abs=1e-6)
    assert stains == pytest.approx(GOLDEN["stains"], abs=1e-6)
    assert slices == pytest.approx(GOLDEN["slices"], abs=1e-6)
    assert patches == pytest.approx(GOLDEN["patches"], abs=1e-6)


def test_size_correction_gives_equal_scores_equal_patches() -> None:
    """Where all scores are equal, size-corrected attention is even over the patches, hierarchical over the slices."""
    for pooling in ("size-corrected", "hierarchical"):
        made = small_model("hierarchical", pooling=pooling)
        with torch.no_grad():
            for pool in (made.patch_pool, made.slice_pool, made.stain_pool):
                pool.score.weigh.weight.zero_()
        bag = bag_of(SEVERAL)
        found = attended(made(bag), bag, SEVERAL)
        if pooling == "size-corrected":
            assert [whole for *_, whole in found.values()] == pytest.approx([1 / 9] * 9)
        else:
            assert [stain for stain, *_ in found.values()] == pytest.approx([0.5] * 9)
            assert [slice_ for _, slice_, *_ in found.values()] == pytest.approx([0.5] * 6 + [1] * 3)


def test_flat_pooling_is_abmil() -> None:
    """With the same weights, flat pooling gives the logits and the attention of ABMIL."""
    flat, abmil = small_model("hierarchical", pooling="flat"), small_model("abmil")
    names = {name.replace("patch_pool", "pool"): value for name, value in flat.state_dict().items()}
    abmil.load_state_dict(names)
    bag = bag_of(SEVERAL)
    torch.testing.assert_close(flat(bag).logits_C, abmil(bag).logits_C)
    there, here = (attended(model(bag), bag, SEVERAL) for model in (abmil, flat))
    for patch, expected in there.items():
        assert here[patch] == pytest.approx(expected, abs=1e-6)


def test_every_dropout_drops() -> None:
    """Each of the three shares alone makes two passes in training differ, and none of them any in evaluation."""
    for share in ("dropout", "attention_dropout", "classifier_dropout"):
        made = small_model("hierarchical", **{share: 0.5})
        bag = bag_of(SEVERAL)
        torch.manual_seed(0)
        made.train()
        assert len({tuple(made(bag).logits_C.tolist()) for _ in range(8)}) > 1, share
        made.eval()
        assert len({tuple(made(bag).logits_C.tolist()) for _ in range(8)}) == 1, share


def test_gradients_are_finite_with_extreme_scores() -> None:
    """Scores so far apart that attention is 0 to the last bit give finite logits, attention and gradients."""
    for pooling in ("hierarchical", "size-corrected", "flat"):
        made = small_model("hierarchical", pooling=pooling)
        with torch.no_grad():
            made.patch_pool.score.weigh.weight.mul_(1e4)
        bag = bag_of(SEVERAL)
        output = made(bag)
        made.loss(output, 0, torch.ones(3)).backward()
        assert levels(output.attention, bag).patch_N.min() == 0
        assert all(bool(each.grad.isfinite().all()) for each in made.parameters() if each.grad is not None)
