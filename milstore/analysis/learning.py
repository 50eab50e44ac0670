"""Whether a training learned anything: what is kept of it with the run, and what is said of it.

The two signs of nothing learned were chosen on some 450 trainings, of which they caught 27 of 29 that had collapsed, and
flagged none that was good. The share of dead units explains a collapse, and is a poor sign of one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["learned", "nothing", "memorised"]

CHANCE_SHARE = 0.95
"""A training loss that never fell below this share of what knowing nothing costs has learned nothing."""
LEAST_SPREAD = 0.1
"""Nor has a model whose probabilities of the validation cases are all within this of each other."""
MEMORISED_SHARE = 0.05
"""A training loss below this share of what knowing nothing costs is near 0."""
EARLY = 2
"""The last epoch that counts as kept early."""

_MARKS: Mapping[str, str] = {"nothing": "nothing was learned", "memorised": "the training cases were memorised"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Learning:
    """How far a training got, as a run keeps it."""

    chance_loss: float
    """The logarithm of the number of classes that the training cases have: the loss of even probabilities."""
    lowest_train_loss: float
    """The lowest of all epochs, divided by the mean class weight of the training cases."""
    val_spread: float | None
    """How far the validation cases' probabilities of a class are apart at the kept epoch, where most. None where the
    validation cases are of one class, which should all be called the same."""
    dead_units: float | None
    """Share of the projector's units that are 0 on every patch of the training cases at the kept epoch; None of a model
    whose units are not known."""
    kept_epoch: int
    epochs: int
    verdict: Verdict

    def facts(self) -> dict[str, Any]:
        """It as plain JSON values."""
        return asdict(self)


def judge(
    *,
    train_losses: Sequence[float],
    mean_class_weight: float,
    train_classes: int,
    val_probabilities: Sequence[Sequence[float]],
    val_classes: int,
    dead_units: float | None,
    kept_epoch: int,
) -> Learning:
    """What a training came to.

    Args:
        train_losses: of each epoch, weighted by class.
        mean_class_weight: of the training cases.
        train_classes: how many classes they have; two or more.
        val_probabilities: of each class for each validation case at the kept epoch.
        val_classes: how many classes the validation cases have.
        dead_units: see `Learning`.
        kept_epoch: see `Learning`.
    """
    chance, lowest = math.log(train_classes), min(train_losses) / mean_class_weight
    spread = None
    if val_classes > 1:
        spread = max(max(of_class) - min(of_class) for of_class in zip(*val_probabilities, strict=True))
    verdict: Verdict = "learned"
    if kept_epoch <= EARLY and lowest < MEMORISED_SHARE * chance:
        # Before the spread, which is small after an epoch or two.
        verdict = "memorised"
    elif lowest >= CHANCE_SHARE * chance or (spread is not None and spread < LEAST_SPREAD):
        verdict = "nothing"
    return Learning(
        chance_loss=chance,
        lowest_train_loss=lowest,
        val_spread=spread,
        dead_units=dead_units,
        kept_epoch=kept_epoch,
        epochs=len(train_losses),
        verdict=verdict,
    )


def mark(facts: Mapping[str, Any] | None) -> str:
    """A few words for a run that learned nothing or only its training cases; empty for others.

    Args:
        facts: what `Learning.facts` gave; None for a run that does not say, as those of 0.1.
    """
    return _MARKS.get(facts.get("verdict", ""), "") if isinstance(facts, Mapping) else ""


def sentence(facts: Mapping[str, Any] | None) -> str:
    """What to say of such a run, with the numbers; empty for others. `facts` as for `mark`."""
    if not mark(facts):
        return ""
    assert facts is not None
    loss, chance = facts["lowest_train_loss"], facts["chance_loss"]
    if facts["verdict"] == "memorised":
        return (
            f"the training cases were memorised: epoch {facts['kept_epoch']} of {facts['epochs']} was kept, while the "
            f"training loss went on to {loss:.3f}; what is told of other cases may be chance"
        )
    signs = []
    if loss >= CHANCE_SHARE * chance:
        signs.append(f"the training loss never fell below {loss:.2f}, where knowing nothing costs {chance:.2f}")
    spread = facts["val_spread"]
    if spread is not None and spread < LEAST_SPREAD:
        signs.append(f"the validation cases' probabilities are within {spread:.3f} of each other")
    said, dead = f"nothing was learned: {' and '.join(signs)}", facts["dead_units"]
    return said if dead is None else f"{said}; {dead:.0%} of the projector's units are dead (0 on every patch)"
