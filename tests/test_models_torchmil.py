"""Models against those of torchmil (Apache-2.0), where it has the same one. Its models of two classes give one logit."""

from importlib import import_module
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from milstore.models import Bag, MILModel, PatchAttention, make_bag
from tests.milbags import D, small_model
from tests.optional import needs

pytestmark = needs("torchmil")


@pytest.fixture(scope="module")
def models() -> ModuleType:
    """Theirs, which import half of torch."""
    return import_module("torchmil.models")


CLOSE = {"atol": 1e-5, "rtol": 1e-4}


def bag(n_patches: int) -> Bag:
    """A case of one slice, its features drawn."""
    feature_ND = torch.randn(n_patches, D, generator=torch.Generator().manual_seed(n_patches))
    return make_bag(feature_ND, torch.zeros(n_patches).long(), torch.zeros(1).long())


def projector(ours: MILModel) -> nn.Module:
    """Our projector as a feature extractor of theirs; they put a batch before it."""
    linear = ours.project.linear
    return nn.Sequential(linear, nn.ReLU())


def copy(theirs: nn.Linear, weight: Tensor, bias: Tensor | None = None) -> None:
    with torch.no_grad():
        theirs.weight.copy_(weight)
        if bias is not None:
            theirs.bias.copy_(bias)


def copy_attention(ours: MILModel, theirs: nn.Module, score: nn.Module, gated: bool) -> None:
    """Our V above U into their two layers."""
    parts = zip(score.project.weight.chunk(2), score.project.bias.chunk(2), strict=True) if gated else ()
    if not gated:
        copy(theirs.fc1.module, score.project.weight, score.project.bias)
    for layer, (weight, bias) in zip(("fc1", "fc_gated"), parts, strict=False):
        copy(getattr(theirs, layer).module, weight, bias)
    copy(theirs.fc2, score.weigh.weight)


def one_logit(ours: nn.Linear, theirs: nn.Linear) -> None:
    """Two logits as one: sigmoid of their difference is the softmax."""
    copy(theirs, (ours.weight[1] - ours.weight[0])[None], (ours.bias[1] - ours.bias[0])[None])


def difference(logits_C: Tensor) -> Tensor:
    return (logits_C[1] - logits_C[0])[None]


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("n_patches", [1, 2, 13])
def test_abmil(models: ModuleType, gated: bool, n_patches: int) -> None:
    """Logit and attention of ABMIL are theirs."""
    ours = small_model("abmil", classes=2, gated=gated)
    theirs = models.ABMIL(in_shape=(D,), att_dim=4, gated=gated, feat_ext=projector(ours))
    copy_attention(ours, theirs.pool, ours.pool.score, gated)
    one_logit(ours.classify[1], theirs.classifier.module)
    output = ours(bag(n_patches))
    logit, score = theirs(bag(n_patches).feature_ND[None], return_att=True)
    torch.testing.assert_close(difference(output.logits_C), logit, **CLOSE)
    assert isinstance(output.attention, PatchAttention)
    torch.testing.assert_close(output.attention.log_weight_N, score[0].log_softmax(0), **CLOSE)


class CrossEntropy(nn.Module):
    def forward(self, logits: Tensor, told: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits, told.squeeze(1).long())


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("gated", [True, False])
def test_clam_sb(models: ModuleType, label: int, gated: bool) -> None:
    """Logit, attention and the patches' loss of CLAM-SB are theirs; they add up the classes' losses, of which we take
    the mean. By cross-entropy: their smooth SVM loss of several patches takes each one's margin to all others' labels."""
    ours = small_model("clam-sb", classes=2, gated=gated, k_sample=3, instance_loss="cross-entropy")
    theirs = models.CLAM_SB(in_shape=(D,), att_dim=4, gated=gated, k_sample=3, feat_ext=projector(ours))
    copy_attention(ours, theirs.pool, ours.score, gated)
    one_logit(ours.classify, theirs.classifier.module)
    for mine, other in zip(ours.instances, theirs.inst_classifiers, strict=True):
        copy(other.module, mine.weight, mine.bias)
    theirs.inst_loss_fn = CrossEntropy()
    output = ours(bag(13))
    logit, score, hidden = theirs(bag(13).feature_ND[None], return_att=True, return_emb=True)
    torch.testing.assert_close(difference(output.logits_C), logit, **CLOSE)
    torch.testing.assert_close(output.attention.log_weight_N, score[0].log_softmax(0), **CLOSE)
    expected = theirs.compute_inst_loss(score, hidden, torch.tensor([label]))
    torch.testing.assert_close(2 * ours.instance_loss(output, label), expected, **CLOSE)


@pytest.mark.parametrize("nonlinear_query", [True, False])
@pytest.mark.parametrize("nonlinear_value", [True, False])
def test_dsmil(models: ModuleType, nonlinear_query: bool, nonlinear_value: bool) -> None:
    """For one class, both streams' logits and attention of DSMIL are theirs."""
    more = {"nonlinear_query": nonlinear_query, "nonlinear_value": nonlinear_value}
    ours = small_model("dsmil", classes=1, **more)
    theirs = models.DSMIL(
        in_shape=(D,),
        att_dim=4,
        nonlinear_q=nonlinear_query,
        nonlinear_v=nonlinear_value,
        feat_ext=projector(ours),
    )
    theirs.q_nn, theirs.v_nn = ours.query, ours.value
    theirs.inst_classifier, theirs.bag_classifier = ours.classify_patch, ours.classify_bag
    output = ours(bag(13))
    logit, attention, scores = theirs(bag(13).feature_ND[None], return_att=True, return_inst_pred=True)
    torch.testing.assert_close(output.aux["bag_C"], logit, **CLOSE)
    torch.testing.assert_close(output.aux["max_C"], scores.amax(1), **CLOSE)
    torch.testing.assert_close(output.scores["class_0"], scores[0], **CLOSE)
    torch.testing.assert_close(output.attention.log_weight_N.exp(), attention[0, :, 0], **CLOSE)
    torch.testing.assert_close(output.logits_C, theirs.predict(bag(13).feature_ND[None]), **CLOSE)


@pytest.mark.parametrize(("n_patches", "landmarks"), [(9, 5), (16, 1), (21, 2)])
def test_transmil(models: ModuleType, n_patches: int, landmarks: int) -> None:
    """Logit and class-token row of TransMIL are theirs, where the rows are a multiple of the landmarks, without the
    convolution of the values and the last layer of attention, which they leave out."""
    more = {"landmarks": landmarks, "residual_kernel": 0, "pinv_iterations": 30}
    ours = small_model("transmil", classes=2, spread=1.0, **more)
    theirs = models.TransMIL(
        in_shape=(D,),
        att_dim=8,
        n_heads=2,
        n_landmarks=landmarks,
        pinv_iterations=30,
        feat_ext=projector(ours),
    ).eval()
    for mine, other in zip((ours.first, ours.second), theirs.layers, strict=True):
        copy(mine.out[0], torch.eye(8), torch.zeros(8))
        copy(other.att_module.qkv_nn, mine.query_key_value.weight)
        other.norm1 = mine.norm
    for mine, name in zip(ours.place.convolutions, ("proj", "proj1", "proj2"), strict=True):
        setattr(theirs.pos_layer, name, mine)
    theirs.norm = ours.norm
    one_logit(ours.classify, theirs.classifier)
    with torch.no_grad():
        theirs.cls_token.copy_(ours.class_token_1H[None])
    output = ours(bag(n_patches))
    logit, row = theirs(bag(n_patches).feature_ND[None], return_att=True)
    torch.testing.assert_close(difference(output.logits_C), logit, **CLOSE)
    if n_patches in (9, 16):  # A square: no patch is there twice.
        torch.testing.assert_close(output.scores["class_token"], row[0], **CLOSE)
