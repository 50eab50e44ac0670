"""`near-threshold`: the cases whose call was close."""

from pathlib import Path

import pytest

from milstore.asking.ask import ask
from milstore.errors import UsageError
from milstore.store import Store
from tests.drawing import drawn, subtitle_of
from tests.making import levels, make_run, make_store


@pytest.fixture
def close(tmp_path: Path) -> Store:
    """Three classes: case 1 is called by a hair, 2 within 0.1 exactly, 3 clearly, and 4 between the two lesser classes."""
    labels = {"1": 0, "2": 1, "3": 2, "4": 2}
    patches = [(case_id, stain, 0, 0) for case_id in labels for stain in ("h&e", "sox10")]
    store = make_store(tmp_path / "close", labels, patches, classes=("x", "y", "z"))
    chances = {"1": (0.4, 0.42, 0.18), "2": (0.3, 0.5, 0.2), "3": (0.1, 0.1, 0.8), "4": (0.05, 0.05, 0.9)}
    make_run(store, "r", dict.fromkeys(labels, "test"), labels, chances, levels(dict.fromkeys(patches, 1.0)))
    return store


def test_the_margin_is_half_the_difference_of_the_two_largest(close: Store) -> None:
    """The closest first; a margin of exactly 0.1 counts."""
    found = [
        (r["case_id"], r["outcome"], round(r["margin"], 6), r["missing_stains"])
        for r in ask(close, "near-threshold").records()
    ]
    assert found == [("1", "wrong", 0.01, "melan"), ("2", "right", 0.1, "melan")]


def test_a_narrower_margin(close: Store) -> None:
    """`--margin 0.05` leaves the closest; one beyond 0.5 makes no sense and is refused."""
    assert [row["case_id"] for row in ask(close, "near-threshold", None, {"margin": 0.05}).records()] == ["1"]
    with pytest.raises(UsageError, match="margin"):
        ask(close, "near-threshold", None, {"margin": 0.6})


def test_a_row_can_be_asked_about_further(three: Store) -> None:
    """With two classes the margin is the distance from 0.5; a row holds everything that misclassified tells, and the run."""
    (row,) = [row for row in ask(three, "near-threshold", None, {"margin": 0.2}).records() if row["case_id"] == "10"]
    assert {name: round(v, 6) if isinstance(v, float) else v for name, v in row.items()} == {
        "case_id": "10", "true_class": "benign", "pred_class": "high-grade", "outcome": "wrong", "p_true": 0.3,
        "margin": 0.2, "patches": 10, "slices": 3, "missing_stains": "melan", "concentration": 0.25, "subset": "test",
        "split": 2, "run_id": "exp-s2-0",
    }  # fmt: skip


def test_its_chart(three: Store, close: Store) -> None:
    """The chart counts the cases and the wrong ones among them."""
    assert "Margin up to 0.3: 1 of 2 cases called wrong, of 3 cases in all" in subtitle_of(
        drawn(three, "near-threshold", None, {"margin": 0.3})
    )
    drawn(close, "near-threshold")
