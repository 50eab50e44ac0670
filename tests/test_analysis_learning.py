"""Whether a training learned anything: told from its course and its probabilities, by hand."""

from typing import Any

import pytest

from milstore.analysis.learning import Learning, judge, mark, sentence

APART = [[0.9, 0.1], [0.2, 0.8]]


def judged(**changes: Any) -> Learning:
    about: dict[str, Any] = {
        "train_losses": [0.7, 0.5, 0.4],
        "mean_class_weight": 1.0,
        "train_classes": 2,
        "val_probabilities": APART,
        "val_classes": 2,
        "dead_units": 0.0,
        "kept_epoch": 3,
        **changes,
    }
    return judge(**about)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "learned"),
        # log 2 is 0.693, 95 % of it 0.6585.
        ({"train_losses": [0.7, 0.659]}, "nothing"),
        ({"train_losses": [0.7, 0.658, 0.8]}, "learned"),
        # Class weights of the study: benign 2.5, high-grade 1, as many of each.
        ({"train_losses": [1.2], "mean_class_weight": 1.75}, "nothing"),
        ({"train_losses": [1.1], "mean_class_weight": 1.75}, "learned"),
        # log 3 is 1.0986, 95 % of it 1.0437.
        ({"train_losses": [1.05], "train_classes": 3}, "nothing"),
        ({"train_losses": [1.04], "train_classes": 3}, "learned"),
        ({"val_probabilities": [[0.45, 0.55], [0.54, 0.46]]}, "nothing"),
        ({"val_probabilities": [[0.45, 0.55], [0.56, 0.44]]}, "learned"),
        # Of three classes, the one that differs most tells.
        ({"val_probabilities": [[0.4, 0.5, 0.1], [0.42, 0.3, 0.28]]}, "learned"),
        # Cases of one class should all be called the same.
        ({"val_probabilities": [[0.9, 0.1], [0.91, 0.09]], "val_classes": 1}, "learned"),
        ({"train_losses": [0.6, 0.3, 0.01], "kept_epoch": 2}, "memorised"),
        ({"train_losses": [0.6, 0.01], "kept_epoch": 1, "val_probabilities": [[0.5, 0.5], [0.51, 0.49]]}, "memorised"),
        ({"train_losses": [0.6, 0.3, 0.01], "kept_epoch": 3}, "learned"),
        ({"train_losses": [0.6, 0.3, 0.2], "kept_epoch": 1}, "learned"),
        ({"dead_units": 0.99}, "learned"),
    ],
)
def test_what_a_training_came_to(changes: dict[str, Any], verdict: str) -> None:
    """Nothing: a loss of even guesses, or validation cases that are all called alike. Memorised: kept early, loss near 0."""
    assert judged(**changes).verdict == verdict


def test_what_is_said() -> None:
    """A mark for lists; a sentence with the signs that were seen and the share of dead units; nothing of a good run."""
    collapsed = judged(
        train_losses=[1.73, 0.694], val_probabilities=[[0.501, 0.499], [0.504, 0.496]], dead_units=0.97
    ).facts()
    assert mark(collapsed) == "nothing was learned"
    assert sentence(collapsed) == (
        "nothing was learned: the training loss never fell below 0.69, where knowing nothing costs 0.69 and the "
        "validation cases' probabilities are within 0.003 of each other; 97% of the projector's units are dead "
        "(0 on every patch)"
    )
    memorised = judged(train_losses=[0.6, 0.1, 0.001], kept_epoch=1).facts()
    assert mark(memorised) == "the training cases were memorised"
    assert sentence(memorised) == (
        "the training cases were memorised: epoch 1 of 3 was kept, while the training loss went on to 0.001; "
        "what is told of other cases may be chance"
    )
    for said_nothing in (judged().facts(), None):
        assert (mark(said_nothing), sentence(said_nothing)) == ("", "")
