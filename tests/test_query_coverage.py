"""`coverage`: patches that exist, that training could see, and that evaluation used."""

import pytest

from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.store import Store
from tests.drawing import drawn, rows_of, subtitle_of
from tests.making import THREE_LABELS, THREE_PATCHES, levels, make_run

COLUMNS = [
    "case_id",
    "stain",
    "slice_idx",
    "slice_name",
    "runs",
    "runs_trained",
    "existing",
    "with_feature",
    "trained",
    "evaluated",
]


@pytest.fixture
def capped(three: Store) -> Store:
    """The store of three cases, with a run whose training saw but two patches of a slice."""
    subsets = {"2": "train", "10": "train", "46": "test"}
    chances = dict.fromkeys(THREE_LABELS, (0.5, 0.5))
    make_run(
        three, "cap-s1-0", subsets, THREE_LABELS, chances, levels(dict.fromkeys(THREE_PATCHES, 1.0)),
        experiment="cap", trained={("2", "h&e", 0): 2, ("10", "h&e", 1): 1}, finished_at="2026-02-01T00:00:00",
    )  # fmt: skip
    return three


def test_counts_of_every_slice(capped: Store) -> None:
    """A row a slice; trained is what the cap let through, null where no run had the case in training."""
    answer = ask(capped, "coverage")
    assert (answer.columns, answer.title) == (COLUMNS, "experiment cap, 1 run")
    assert answer.rows() == [
        ("2", "h&e", 0, "match_1", 1, 1, 4, 4, 2, 4),
        ("2", "melan", 0, "match_1", 1, 1, 2, 2, 2, 2),
        ("10", "h&e", 0, "match_1", 1, 1, 3, 3, 3, 3),
        ("10", "h&e", 1, "match_2", 1, 1, 3, 3, 1, 3),
        ("10", "sox10", 0, "match_1", 1, 1, 4, 4, 4, 4),
        ("46", "h&e", 0, "match_1", 1, 0, 3, 3, None, 3),
    ]


def test_over_the_runs_of_an_experiment(three: Store) -> None:
    """Over three splits each case was in training once."""
    rows = ask(three, "coverage", Choice(experiment="exp", cases=("46",))).rows()
    assert rows == [("46", "h&e", 0, "match_1", 3, 1, 3, 3, 3, 3)]


def test_of_one_run_and_subset(three: Store) -> None:
    """--run and --subset narrow what is told."""
    rows = ask(three, "coverage", Choice(run="exp-s3", subset="test")).rows()
    assert rows == [("46", "h&e", 0, "match_1", 1, 0, 3, 3, None, 3)]


@pytest.mark.thorough
def test_its_chart(capped: Store) -> None:
    """Of few cases every slice is drawn, and what was lost is told."""
    spec = drawn(capped, "coverage")
    assert rows_of(spec)[0]["row"] == "case 2 · h&e · slice 0"
    assert "0 of 19 patches not evaluated; 4 of 16 beyond what a training epoch could see" in subtitle_of(spec)
