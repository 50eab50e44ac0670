"""What single models promise beyond what all do."""

import math

import numpy as np
import pytest
import torch

from milstore.models import CaseOutput, PatchAttention, cross_entropy
from milstore.models.acmil import likeness
from milstore.models.transmil import _runs, pseudo_inverse
from tests.milbags import SEVERAL, bag_of, small_model

BAG = bag_of(SEVERAL)
EVEN = torch.ones(3)


def hidden(model: torch.nn.Module) -> torch.Tensor:
    return model.project(BAG.feature_ND).detach()


def log_weights(output: CaseOutput) -> torch.Tensor:
    assert isinstance(output.attention, PatchAttention)
    return output.attention.log_weight_N.detach()


def test_cross_entropy_keeps_the_class_weight() -> None:
    """The loss of one case is its class's weight times -log p, by hand."""
    logits_C, weight_C = torch.tensor([1.0, -0.5, 2.0]), torch.tensor([0.5, 2.5, 1.0])
    p = math.exp(-0.5) / (math.exp(1) + math.exp(-0.5) + math.exp(2))
    assert float(cross_entropy(logits_C, 1, weight_C)) == pytest.approx(-2.5 * math.log(p))


@pytest.mark.parametrize("kind", ["mean", "max"])
def test_pooling_of_embeddings(kind: str) -> None:
    """The mean or the maximum of each value, then a linear layer; scores are that layer's of each patch alone."""
    made = small_model(kind)
    output, values = made(BAG), hidden(made).numpy()
    weight, bias = made.classify.weight.detach().numpy(), made.classify.bias.detach().numpy()
    pooled = values.mean(0) if kind == "mean" else values.max(0)
    np.testing.assert_allclose(output.logits_C.detach(), weight @ pooled + bias, rtol=1e-4, atol=1e-5)
    alone_NC = values @ weight.T + bias
    for c in range(3):
        np.testing.assert_allclose(output.scores[f"class_{c}"].detach(), alone_NC[:, c], rtol=1e-4, atol=1e-5)
    if kind == "mean":
        np.testing.assert_allclose(output.logits_C.detach(), alone_NC.mean(0), rtol=1e-4, atol=1e-5)


def test_mean_pooling_of_instances() -> None:
    """The case's probabilities are the mean of its patches'."""
    made = small_model("mean", of="instances")
    alone_NC = made.classify(hidden(made)).softmax(1)
    torch.testing.assert_close(made(BAG).logits_C.exp(), alone_NC.mean(0))


def test_max_pooling_of_instances() -> None:
    """Each class's logit is the highest of its patches'."""
    made = small_model("max", of="instances")
    torch.testing.assert_close(made(BAG).logits_C, made.classify(hidden(made)).amax(0))


def smooth_svm(of_told: float, of_other: float) -> float:
    return math.log(math.exp(1 + of_other) + math.exp(of_told)) - of_told


@pytest.mark.parametrize("exclusive", [True, False])
def test_clam_teaches_the_top_and_the_bottom(exclusive: bool) -> None:
    """Of the case's class the two top patches are evidence and the two bottom ones are not; of every other class's
    branch the two top ones are not, if classes exclude each other; the mean of the classes' mean smooth SVM losses."""
    made = small_model("clam-mb", exclusive=exclusive, instance_weight=0.4)
    output, values = made(BAG), hidden(made)
    label, taught = 2, []
    for c in range(3):
        score = made.score(values)[:, c].tolist()
        order = sorted(range(9), key=lambda n: -score[n])
        told = dict.fromkeys(order[:2], 0)
        if c == label:
            told = {**dict.fromkeys(order[:2], 1), **dict.fromkeys(order[-2:], 0)}
        elif not exclusive:
            continue
        outputs = made.instances[c](values).tolist()
        taught.append(sum(smooth_svm(outputs[n][y], outputs[n][1 - y]) for n, y in told.items()) / len(told))
    instance = sum(taught) / len(taught)
    assert float(made.instance_loss(output, label).detach()) == pytest.approx(instance, rel=1e-4)
    case = float(cross_entropy(output.logits_C.detach(), label, EVEN))
    assert float(made.loss(output, label, EVEN).detach()) == pytest.approx(0.6 * case + 0.4 * instance, rel=1e-4)


@pytest.mark.parametrize(("n_patches", "top", "bottom"), [(1, 1, 0), (2, 1, 1), (3, 2, 1), (4, 2, 2), (9, 2, 2)])
def test_clam_tells_no_patch_both(n_patches: int, top: int, bottom: int) -> None:
    """In a small bag the upper half and the lower half teach, and no patch is in both."""
    made = small_model("clam-sb", k_sample=2)
    patches = SEVERAL[:n_patches]
    log_weight_BN = made(bag_of(patches)).aux["log_weight_BN"].detach()
    told = {c: (rows, evidence) for c, rows, evidence in made._pseudo_labels(log_weight_BN, 1)}
    rows, evidence = told[1]
    assert len(set(rows.tolist())) == len(rows) == top + bottom
    assert evidence.tolist() == [1] * top + [0] * bottom
    assert told[0][1].tolist() == [0] * top


def test_clam_mb_attends_for_the_class_predicted() -> None:
    """Attention is that of the predicted class's branch, and each class's logit comes of its own branch."""
    for seed in range(4):
        made = small_model("clam-mb", seed=seed)
        output, values = made(BAG), hidden(made)
        weight_BN = made.score(values).t().softmax(1)
        predicted = int(output.logits_C.argmax())
        torch.testing.assert_close(log_weights(output).exp(), weight_BN[predicted])
        logits = [float(made.classify(weight_BN[c] @ values)[c].detach()) for c in range(3)]
        assert output.logits_C.tolist() == pytest.approx(logits, abs=1e-4)


def test_dsmil_compares_with_the_critical_patch() -> None:
    """Attention is the likeness to the critical patch of the predicted class; logits are the mean of both streams."""
    made = small_model("dsmil")
    output, values = made(BAG), hidden(made)
    alone_NC, query_NQ = made.classify_patch(values), made.query(values)
    critical = alone_NC.argmax(0).tolist()
    weight_CN = torch.stack([(query_NQ @ query_NQ[m] / 2).softmax(0) for m in critical])  # 2: the root of 4 numbers.
    bag_C = made.classify_bag((weight_CN @ values).flatten())
    max_C = torch.stack([alone_NC[m, c] for c, m in enumerate(critical)])
    torch.testing.assert_close(output.logits_C, (max_C + bag_C) / 2)
    torch.testing.assert_close(log_weights(output).exp(), weight_CN[int(output.logits_C.argmax())].detach())
    one, other = (float(cross_entropy(logits_C, 0, EVEN).detach()) for logits_C in (max_C, bag_C))
    assert float(made.loss(output, 0, EVEN).detach()) == pytest.approx((one + other) / 2, rel=1e-5)


def test_the_iterated_inverse_is_the_pseudo_inverse() -> None:
    """After many steps it is numpy's, for a matrix of a softmax."""
    matrix_BRR = (3 * torch.randn(2, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).softmax(-1)
    found = pseudo_inverse(matrix_BRR, 40)
    np.testing.assert_allclose(found, np.linalg.pinv(matrix_BRR.numpy()), rtol=1e-6, atol=1e-8)


def test_nystrom_is_exact_where_runs_are_of_equal_rows() -> None:
    """Ten rows that are five different ones twice over: five landmarks leave nothing out, and give exact attention."""
    more = {"spread": 1.0, "pinv_iterations": 60}
    exact, approximate = (small_model("transmil", landmarks=m, **more).double().first for m in (10, 5))
    rows_LH = torch.randn(5, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64).repeat_interleave(2, 0)
    there, here = exact(rows_LH), approximate(rows_LH)
    torch.testing.assert_close(here.value_LH, there.value_LH)
    torch.testing.assert_close(here.first_row_L, there.first_row_L)
    apart = torch.randn(10, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert not torch.allclose(exact(apart).value_LH, approximate(apart).value_LH)


def test_runs_differ_by_one_row() -> None:
    """Seven rows in three runs: the means of three, two and two neighbouring rows."""
    third, half = pytest.approx(1 / 3), 0.5
    assert _runs(torch.zeros(7, 1), 3).tolist() == [
        [third, third, third, 0, 0, 0, 0],
        [0, 0, 0, half, half, 0, 0],
        [0, 0, 0, 0, 0, half, half],
    ]


def test_transmil_adds_what_a_repeated_patch_got() -> None:
    """A patch that fills up the square has one score, the sum of both its rows: all rows but the token's sum alike."""
    made = small_model("transmil", landmarks=64)
    bag = bag_of(SEVERAL[:7])  # Filled up to nine: the first two patches stand there twice.
    seen = {}
    made.second.register_forward_hook(lambda module, given, output: seen.update(row_L=output.first_row_L))
    score_N = made(bag).scores["class_token"]
    row_L = seen["row_L"]
    expected = row_L[1:8] + torch.cat([row_L[8:], torch.zeros(5)])
    torch.testing.assert_close(score_N, expected)
    assert float(score_N.sum().detach()) == pytest.approx(
        1 - float(row_L[0].detach()), abs=1e-5
    )  # Exact attention sums to 1.


def test_acmil_attends_by_the_mean_of_its_branches() -> None:
    """Attention is the mean over the branches, and the case's logits are of the patches' mean by it."""
    made = small_model("acmil")
    output, values = made(BAG), hidden(made)
    weight_BN = made.score(values).t().softmax(1)
    torch.testing.assert_close(log_weights(output).exp(), weight_BN.mean(0).detach())
    torch.testing.assert_close(output.logits_C, made.classify(weight_BN.mean(0) @ values))
    branches = [made.classify_branch[b](weight_BN[b] @ values) for b in range(3)]
    whole = cross_entropy(output.logits_C, 1, EVEN) + sum(cross_entropy(each, 1, EVEN) for each in branches) / 3
    torch.testing.assert_close(made.loss(output, 1, EVEN), whole + likeness(weight_BN))


def test_likeness_by_hand() -> None:
    """Branches alike have 1, branches that share no patch 0, and half and half what the cosine is; one branch none."""
    alike, apart = torch.tensor([[0.2, 0.8], [0.2, 0.8]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    three = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    found = [float(likeness(each)) for each in (alike, apart, three, three[:1])]
    assert found == pytest.approx([1, 0, 2 * math.sqrt(0.5) / 3, 0], abs=1e-6)


def test_acmil_hides_top_patches_in_training_only() -> None:
    """Of each branch's two top patches none, one or both are hidden, each about as often as its chance; others never."""
    made = small_model("acmil", mask_share=0.25)
    score_BN = made.score(hidden(made)).t().detach()
    torch.manual_seed(0)
    hidden_TBN = torch.stack([made._hide(score_BN).isinf() for _ in range(2000)])
    share_BN = hidden_TBN.double().mean(0)
    for b in range(3):
        order = score_BN[b].argsort(descending=True).tolist()
        assert share_BN[b, order[:2]].tolist() == pytest.approx([0.25, 0.25], abs=0.05)
        assert share_BN[b, order[2:]].tolist() == [0] * 7


def test_acmil_leaves_a_patch() -> None:
    """Even if all top patches are hidden, and there are no more than these, one is left and the loss is finite."""
    made = small_model("acmil", mask_share=1.0, masked_top=10).train()
    for n_patches in (1, 2, 9):
        output = made(bag_of(SEVERAL[:n_patches]))
        loss = made.loss(output, 0, EVEN)
        loss.backward()
        assert bool(loss.isfinite())
    assert all(bool(each.grad.isfinite().all()) for each in made.parameters() if each.grad is not None)
