"""`--preset study`: the published model and training, compared with a twin written in plain torch."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from milstore.models import MILModel
from milstore.training.bags import Bag
from milstore.training.config import TrainingConfig
from milstore.training.config_reading import read_config
from milstore.training.loop import Training
from milstore.training.model_choice import choose_model
from milstore.training.objective import Standardised
from milstore.training.progress import Watcher
from milstore.training.provenance import repeatable_arithmetic
from milstore.training.randomness import Purpose, generator
from tests.training_cohort import LABELS, N_FEATURES, bag, bags, cases

CPU = torch.device("cpu")
# One validation case is mislabelled, so that its loss rises once the others' has fallen.
LABEL_OF = {**LABELS, "7": 1 - LABELS["7"]}
STUDY = read_config(None, {}, "study")
WITHOUT_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0, "classifier_dropout": 0.0}


class Attention(nn.Module):
    """Linear, tanh, dropout, linear; a softmax over the rows; their weighted mean."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(512, 128), nn.Tanh(), nn.Dropout(0.3), nn.Linear(128, 1))

    def forward(self, value_MH: Tensor) -> Tensor:
        return (self.score(value_MH).softmax(0) * value_MH).sum(0)


class Twin(nn.Module):
    """The published model, a slice after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(N_FEATURES, 512), nn.ReLU(), nn.Dropout(0.3))
        self.patches, self.slices, self.stains = Attention(), Attention(), Attention()
        self.classify = nn.Sequential(nn.Dropout(0.3), nn.Linear(512, 2))

    def forward(self, bag: Bag) -> Tensor:
        of_stain: dict[str, list[Tensor]] = {}
        for g, (stain, _) in enumerate(bag.slices):
            feature_ND = bag.feature_ND[torch.from_numpy(bag.slice_N == g)].float()
            of_stain.setdefault(stain, []).append(self.patches(self.project(feature_ND)))
        stain_SH = torch.stack([self.slices(torch.stack(pooled)) for pooled in of_stain.values()])
        logits_C: Tensor = self.classify(self.stains(stain_SH))
        return logits_C

    def take_weights(self, model: MILModel) -> None:
        """The weights of ours, which has no bias where a softmax cancels it."""
        ours: Any = dict(model.named_modules())
        pairs = [(self.project[0], ours["project.linear"]), (self.classify[1], ours["classify.1"])]
        for mine, level in ((self.patches, "patch"), (self.slices, "slice"), (self.stains, "stain")):
            pairs += [(mine.score[0], ours[f"{level}_pool.score.project"])]
            pairs += [(mine.score[3], ours[f"{level}_pool.score.weigh"])]
        for to, of in pairs:
            to.weight.data.copy_(of.weight.data)
            to.bias.data.copy_(of.bias.data if of.bias is not None else torch.zeros(1))


def train_twin(twin: Twin, seed: int) -> list[tuple[float, float, float]]:
    """Training loss, validation loss and learning rate of each epoch, by the study's settings, without dropout."""
    for module in twin.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    weight_C = torch.tensor([2.5, 1.0])

    def loss(case_id: str) -> Tensor:
        label = torch.tensor([LABEL_OF[case_id]])
        return nn.functional.cross_entropy(twin(bag(case_id))[None], label, weight_C, reduction="sum")

    optimiser = torch.optim.Adam(twin.parameters(), lr=3e-4, weight_decay=2e-4)
    plateau = ReduceLROnPlateau(optimiser, factor=0.3, patience=3, min_lr=1e-6)
    history: list[tuple[float, float, float]] = []
    lowest, waited = float("inf"), 0
    for epoch in range(1, 31):
        rate = optimiser.param_groups[0]["lr"]
        losses = []
        train = cases().of("train")
        for i in generator(seed, Purpose.ORDER, epoch).permutation(len(train)):
            optimiser.zero_grad()
            step = loss(train[i])
            step.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            losses.append(step.item())
        with torch.no_grad():
            val_loss = float(np.mean([loss(case_id).item() for case_id in cases().of("val")]))
        history.append((float(np.mean(losses)), val_loss, rate))
        plateau.step(val_loss)
        waited = 0 if val_loss < lowest - 1e-3 else waited + 1
        lowest = val_loss if waited == 0 else lowest
        if epoch >= 10 and waited >= 8:
            break
    return history


@pytest.mark.parametrize("seed", [0, 1])
def test_a_training_by_the_preset_is_the_published_one(seed: int) -> None:
    """From the same weights, with nothing dropped: the same losses, learning rates, last epoch and weights."""
    with repeatable_arithmetic(1):
        config = replace(STUDY, **WITHOUT_DROPOUT)  # type: ignore[arg-type]
        made = Training(bags(), replace(cases(), label_of=LABEL_OF), config, n_classes=2, seed=seed, device=CPU)
        twin = Twin()
        twin.take_weights(made.model.inner)
        expected = train_twin(twin, seed)
        while not made.finished:
            made.train_epoch(Watcher(), lambda: False)
    course = [(row["train_loss"], row["val_loss"], row["learning_rate"]) for row in made.history]
    assert course == [pytest.approx(row, rel=1e-3) for row in expected]
    ours: Any = dict(made.model.inner.named_modules())
    torch.testing.assert_close(ours["project.linear"].weight, twin.project[0].weight, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(ours["classify.1"].weight, twin.classify[1].weight, rtol=1e-3, atol=1e-5)
    # The end came of early stopping, after the learning rate had fallen.
    assert 10 <= len(course) < 30
    assert course[-1][2] < 3e-4


def model(**config: Any) -> Standardised:
    torch.manual_seed(0)
    chosen = choose_model(replace(TrainingConfig(hidden=50, attention_dim=40), **config))
    return Standardised(chosen.build(N_FEATURES, 2), N_FEATURES, standardise=False)


LAYERS = (
    "patch_pool.score.project",
    "patch_pool.score.weigh",
    "slice_pool.score.weigh",
    "stain_pool.score.weigh",
    "classify.1",
)


def zeros(made: Standardised, *, training: bool) -> list[tuple[str, bool]]:
    """Which linear layers are given zeros, which neither tanh nor a weighted mean gives."""
    seen: list[tuple[str, bool]] = []
    modules: Any = dict(made.inner.named_modules())
    # Else the ReLU gives zeros too.
    nn.init.constant_(modules["project.linear"].bias, 10.0)
    for name in LAYERS:
        modules[name].register_forward_pre_hook(
            lambda _, given, name=name: seen.append((name, bool((given[0] == 0).any())))
        )
    made.train(training)
    case = bag("5")
    made(case.seen(case.feature_ND.float()))
    return seen


@pytest.mark.parametrize("gated", [True, False])
def test_each_dropout_is_in_its_place_and_only_in_training(gated: bool) -> None:
    """After the projector's ReLU, before each attention network's last layer, before the classifier."""
    for name, where in (
        ("dropout", LAYERS[:1]),
        ("attention_dropout", LAYERS[1:4]),
        ("classifier_dropout", LAYERS[4:]),
    ):
        config = {**WITHOUT_DROPOUT, "standardise": "none", "gated": gated, name: 0.5}
        assert zeros(model(**config), training=True) == [(each, each in where) for each in LAYERS]
        assert zeros(model(**config), training=False) == [(each, False) for each in LAYERS]
