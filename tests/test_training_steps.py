"""Steps over several cases: the mean of their gradients, whatever interrupts them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from milstore.models import available, cross_entropy
from milstore.training.config import TrainingConfig
from milstore.training.loop import Training
from milstore.training.progress import Watcher
from milstore.training.provenance import repeatable_arithmetic
from milstore.training.randomness import Purpose, generator
from tests.milbags import SMALL as SMALL_OF
from tests.test_training_loop import assert_same_bits, reloaded, train, training
from tests.training_cohort import LABELS, SMALL, bag, bags, cases

CPU = torch.device("cpu")
WITHOUT_DROPOUT = replace(SMALL, dropout=0.0, standardise="none", class_weights="1,2", weight_decay=0.1)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with repeatable_arithmetic(1):
        yield


def by_hand(config: TrainingConfig, epochs: int) -> tuple[dict[str, torch.Tensor], list[float]]:
    """Weights and training losses of a plain loop that adds up the losses of each group of cases, and divides them."""
    twin: nn.Module = Training(bags(), cases(), config, n_classes=2, seed=0, device=CPU).model
    optimizer = torch.optim.AdamW(twin.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    train_cases, weight_C, losses = cases().of("train"), torch.tensor([1.0, 2.0]), []
    for epoch in range(1, epochs + 1):
        order = [train_cases[i] for i in generator(0, Purpose.ORDER, epoch).permutation(len(train_cases))]
        groups = [order[i : i + config.cases_per_step] for i in range(0, len(order), config.cases_per_step)]
        told = []
        for group in groups:
            held = [bag(case_id) for case_id in group]
            of_group = [
                cross_entropy(twin(each.seen(each.feature_ND.float())).logits_C, LABELS[each.case_id], weight_C)
                for each in held
            ]
            optimizer.zero_grad()
            torch.stack(of_group).mean().backward()
            optimizer.step()
            told += [float(loss.detach()) for loss in of_group]
        losses.append(sum(told) / len(told))
    return twin.state_dict(), losses


@pytest.mark.parametrize("per_step", [1, 2, 4, 6, 50])
def test_a_step_takes_the_mean_over_its_cases(per_step: int) -> None:
    """As a plain loop does it: of six cases by four, the last step of an epoch is the mean over the two that are left."""
    config = replace(WITHOUT_DROPOUT, cases_per_step=per_step, epochs=2, min_epochs=2)
    made = train(training(config))
    weights, losses = by_hand(config, 2)
    assert [row["train_loss"] for row in made.history] == pytest.approx(losses, rel=1e-5)
    for name, value in made.model.state_dict().items():
        torch.testing.assert_close(value, weights[name], rtol=1e-4, atol=1e-5)
    steps = made.optimizer.state_dict()["state"][0]["step"]
    assert int(steps) == 2 * -(-6 // per_step)


@pytest.mark.parametrize("model", available())
def test_in_half_the_digits_weights_and_validation_stay_float32(model: str) -> None:
    """Autocast is around the training step alone. A processor's stands in for the GPU's, which is asked for otherwise."""
    config = TrainingConfig(model=model, settings=SMALL_OF[model], epochs=1) if model != "hierarchical" else SMALL
    made = Training(bags(), cases(), config, n_classes=2, seed=0, device=CPU)
    dtypes: dict[bool, set[torch.dtype]] = {True: set(), False: set()}
    made.model.inner.get_submodule("project.linear").register_forward_hook(
        lambda _, __, value_NH: dtypes[made.model.training].add(value_NH.dtype)
    )
    made.config = replace(config, precision="bf16")
    made.train_epoch(Watcher(), lambda: False)
    assert dtypes == {True: {torch.bfloat16}, False: {torch.float32}}
    assert {value.dtype for value in made.model.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize("changes", [{}, {"max_patches_per_slice": 2, "dropout": 0.5}])
@pytest.mark.parametrize("stop_after", [1, 3, 4, 5, 8])
def test_stopped_within_a_step_a_training_ends_as_its_twin(changes: dict[str, Any], stop_after: int) -> None:
    """It stops after the case at hand, and what the step's cases had added to the gradients is in the checkpoint."""
    config = replace(SMALL, cases_per_step=4, **changes)
    left = stop_after

    def stop() -> bool:
        nonlocal left
        left -= 1
        return left <= 0

    first = training(config)
    while left > 0:
        first.train_epoch(Watcher(), stop)
    assert first.position == stop_after % 6
    second = training(config)
    second.load(reloaded(first.state()))
    assert_same_bits(train(second), train(training(config)))
