"""`split-balance`: how the classes are spread over the subsets of each split."""

import pandas as pd

from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.store import Store
from tests.drawing import drawn
from tests.making import THREE_LABELS, THREE_PATCHES, levels, make_run


def test_counts_by_split_subset_and_class(three: Store) -> None:
    """All three subsets are counted, whichever is the default elsewhere; a class without a case is 0."""
    result = ask(three, "split-balance")
    assert result.columns == ["split", "subset", "benign", "high-grade", "cases", "run_id"]
    assert result.rows() == [
        (1, "train", 1, 0, 1, "exp-s1-0"),
        (1, "val", 1, 0, 1, "exp-s1-0"),
        (1, "test", 0, 1, 1, "exp-s1-0"),
        (2, "train", 0, 1, 1, "exp-s2-0"),
        (2, "val", 1, 0, 1, "exp-s2-0"),
        (2, "test", 1, 0, 1, "exp-s2-0"),
        (3, "train", 1, 0, 1, "exp-s3-0"),
        (3, "val", 0, 1, 1, "exp-s3-0"),
        (3, "test", 1, 0, 1, "exp-s3-0"),
    ]


def test_of_several_runs_of_a_split_the_newest_counts(three: Store) -> None:
    """A second seed does not count the split's cases twice."""
    make_run(
        three, "exp-s1-1", {"2": "test", "10": "val", "46": "train"}, THREE_LABELS, dict.fromkeys(THREE_LABELS, (0.5, 0.5)),
        levels(dict.fromkeys(THREE_PATCHES, 1.0)), split_set="three", seed=1, n_splits=3, finished_at="2026-02-01T00:00:00",
    )  # fmt: skip
    rows = ask(three, "split-balance").records()
    assert len(rows) == 9
    assert {row["run_id"] for row in rows if row["split"] == 1} == {"exp-s1-1"}


def test_a_subset_narrows_it(three: Store) -> None:
    """`--subset test` leaves the test rows."""
    rows = ask(three, "split-balance", Choice(subset="test")).df()
    pd.testing.assert_series_equal(rows["benign"], pd.Series([0, 1, 1], name="benign"))


def test_its_chart(three: Store) -> None:
    """The chart shows every split and subset."""
    drawn(three, "split-balance")
