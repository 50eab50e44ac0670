"""`experiments`: every experiment side by side."""

import pandas as pd
import pytest

from milstore.analysis.intervals import wilson
from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.charts.experiments import answer
from milstore.errors import UsageError
from milstore.store import Store
from tests.drawing import drawn, subtitle_of
from tests.test_repeats import CASES, ONE, RIGHT, repeated

__all__ = ["repeated"]


@pytest.fixture
def two(repeated: Store) -> Store:
    """Beside `exp`, of which fox-r1 misses two of three cases and fox-r2 one: `good`, a run that calls all right."""
    from tests.making import make_run

    chances = {case_id: RIGHT[label] for case_id, label in CASES.items()}
    make_run(
        repeated, "good-s1-3", dict.fromkeys(CASES, "test"), CASES, chances, ONE, experiment="good", split_set="whole",
        split=1, n_splits=1, seed=3, finished_at="2026-01-02T00:00:00",
    )  # fmt: skip
    return repeated


def test_every_experiment_with_counts_intervals_and_means(two: Store) -> None:
    """Each case once by its mean probability, with counts; the mean of the runs with its error; how much was pooled."""
    found = ask(two, "experiments")
    assert found.title == "2 experiments, test subsets"
    assert found.columns == [
        "experiment", "measure", "true_class", "right", "cases", "value", "low", "high", "mean", "se",
        "runs", "split_sets", "seeds", "note",
    ]  # fmt: skip
    rows = found.rows()
    six, one = (6, 3, 1, None), (1, 1, 1, None)
    assert rows[:3] == [
        # Only the first splits have the benign case in test.
        ("exp", "recall", "benign", 1, 1, 1.0, *wilson(1, 1), 1.0, 0.0, *six),
        ("exp", "recall", "high-grade", 1, 2, 0.5, *wilson(1, 2), 0.5, pytest.approx(0.05**0.5), *six),
        ("exp", "accuracy", None, 2, 3, pytest.approx(2 / 3), *wilson(2, 3), pytest.approx(3.5 / 6),
         pytest.approx((1.2083333 / 5 / 6) ** 0.5), *six),
    ]  # fmt: skip
    assert rows[3][:6] == ("exp", "balanced accuracy", None, 2, 3, 0.75)
    # The mean probabilities of the cases 1, 2 and 3 are 0.25, 0.583 and 0.417.
    assert rows[4][:6] == ("exp", "AUC", None, None, 3, 1.0)
    assert rows[5:8] == [
        ("good", "recall", "benign", 1, 1, 1.0, *wilson(1, 1), 1.0, None, *one),
        ("good", "recall", "high-grade", 2, 2, 1.0, *wilson(2, 2), 1.0, None, *one),
        ("good", "accuracy", None, 3, 3, 1.0, *wilson(3, 3), 1.0, None, *one),
    ]


def test_some_experiments_alone(two: Store) -> None:
    """--experiment takes one, --like those whose names fit, and --seed those that have it."""
    assert {row["experiment"] for row in ask(two, "experiments", Choice(experiment="exp")).records()} == {"exp"}
    assert {row["experiment"] for row in ask(two, "experiments", values={"like": "g*"}).records()} == {"good"}
    assert {row["experiment"] for row in ask(two, "experiments", Choice(seed=3)).records()} == {"good"}
    with pytest.raises(UsageError, match="no experiment has a finished run of seed 5"):
        ask(two, "experiments", Choice(seed=5))


def test_the_chart_says_which_is_highest_and_whether_that_is_sure(two: Store) -> None:
    """The sentence under the title is computed: with three cases each, the intervals overlap."""
    spec = drawn(two, "experiments")
    said = "Highest accuracy: good, 100% (3 of 3); the interval of the other overlaps its own."
    assert said in subtitle_of(spec)
    panels = [panel["title"]["text"] for panel in spec["concat"]]
    assert panels == ["recall of benign", "recall of high-grade", "accuracy", "balanced accuracy", "AUC"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("a", 0.9, 90, 100, 0.85, 0.95)], "Highest accuracy: a, 90% (90 of 100); there is no other experiment."),
        (
            [("a", 0.9, 90, 100, 0.85, 0.95), ("b", 0.5, 40, 80, 0.4, 0.6)],
            "Highest accuracy: a, 90% (90 of 100); no other interval overlaps its own. "
            "They were tested on different numbers of cases.",
        ),
        ([], "No experiment has a test case with a label."),
    ],
)
def test_the_sentence_of_the_chart(rows: list[tuple[object, ...]], said: str) -> None:
    """One experiment, one that is better for sure, and none at all."""
    columns = ["experiment", "value", "right", "cases", "low", "high"]
    assert answer(pd.DataFrame(rows, columns=columns).assign(measure="accuracy")) == said
