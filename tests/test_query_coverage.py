"""`coverage`: patches that exist, that training could see, and that evaluation used."""

import pandas as pd
import pytest

from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.charts.coverage import chart
from milstore.charts.theme import About
from milstore.store import Store
from tests.drawing import drawn, subtitle_of
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


def test_its_chart(capped: Store) -> None:
    """Each case is drawn by its size and the share of it that was used; those that lost, and what they lost, are told."""
    spec = drawn(capped, "coverage")
    assert subtitle_of(spec).startswith(
        "A training epoch could see 12 of 16 (75.0%) patches of 2 cases; evaluation used all 19 patches of 3 cases. "
        "2 cases lost patches: 2 (2 of 6), 10 (2 of 10)."
    )
    sizes, counts = spec["vconcat"]
    assert [row["case_id"] for row in spec["datasets"][counts["data"]["name"]]] == ["2", "10"]
    assert len(sizes["hconcat"]) == 2
    spec = drawn(capped, "coverage", Choice(cases=("10",)))
    below = spec["datasets"][spec["vconcat"][1]["data"]["name"]]
    assert [(row["stain"], row["trained"]) for row in below] == [("h&e", 3), ("h&e", 1), ("sox10", 4)]
    assert "evaluation used all 19 patches of 3 cases" in subtitle_of(spec)


@pytest.mark.parametrize(("name", "called"), [("match_7", "h&e · match_7"), (None, "h&e · slice 0")])
def test_a_slice_is_called_by_its_name_where_it_is_known(name: str | None, called: str) -> None:
    """A row below is a slice by the name of its files; where the store has none, by its number."""
    row = {"case_id": "1", "stain": "h&e", "slice_idx": 0, "slice_name": name, "runs": 1, "runs_trained": 1}
    frame = pd.DataFrame([{**row, "existing": 9, "with_feature": 9, "trained": 5, "evaluated": 9}])
    spec = chart(frame, About(title="t", subtitle="s", cases=["1"])).to_dict()
    (shown,) = spec["datasets"][spec["vconcat"][1]["data"]["name"]]
    assert (shown["row"], shown["trained"]) == (called, 5)
