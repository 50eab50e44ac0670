"""`deviation`: how far each case's predicted probability is from its label."""

from pathlib import Path

from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.store import Store
from tests.drawing import drawn, rows_of
from tests.making import levels, make_run, make_store


def test_by_class_and_error(three: Store) -> None:
    """Benign before high-grade, the most wrong first; from the label 0 or 1 to the probability of high-grade."""
    result = ask(three, "deviation")
    assert result.columns == [
        "case_id", "true_class", "pred_class", "outcome", "label_value", "probability", "probability_of", "error", "subset",
        "split", "run_id",
    ]  # fmt: skip
    assert [(*row[:7], round(row[7], 9), *row[8:]) for row in result.rows()] == [
        ("10", "benign", "high-grade", "wrong", 0, 0.7, "high-grade", 0.7, "test", 2, "exp-s2-0"),
        ("46", "benign", "benign", "right", 0, 0.2, "high-grade", 0.2, "test", 3, "exp-s3-0"),
        ("2", "high-grade", "high-grade", "right", 1, 0.9, "high-grade", 0.1, "test", 1, "exp-s1-0"),
    ]


def test_more_than_two_classes(tmp_path: Path) -> None:
    """With three classes it is from 1 to the probability of the true class."""
    labels, patches = {"a": 2, "b": 0}, [("a", "h&e", 0, 0), ("b", "h&e", 0, 0)]
    store = make_store(tmp_path / "classes", labels, patches, classes=("x", "y", "z"))
    chances = {"a": (0.5, 0.25, 0.25), "b": (0.5, 0.25, 0.25)}
    make_run(store, "r", {"a": "test", "b": "test"}, labels, chances, levels(dict.fromkeys(patches, 1.0)))
    rows = [row[:7] for row in ask(store, "deviation").rows()]
    assert rows == [
        ("b", "x", "x", "right", 1, 0.5, "the true class"),
        ("a", "z", "x", "wrong", 1, 0.25, "the true class"),
    ]
    drawn(store, "deviation")


def test_a_case_of_several_runs_has_a_line_each(three: Store) -> None:
    """Over all subsets the rows are told apart by the split."""
    spec = drawn(three, "deviation", Choice(subset="all"))
    assert {row["row"] for row in rows_of(spec)} == {f"{case} (split {i})" for case in ("10", "46") for i in (1, 2, 3)}


def test_its_chart(three: Store) -> None:
    """The chart has a line a case."""
    drawn(three, "deviation")
