"""`selected-slices`: the slices that weigh most in their case."""

import csv
from importlib.resources import files
from pathlib import Path

import pytest

from milstore.asking.ask import ask
from milstore.store import Store
from tests.attending import random_store
from tests.drawing import drawn
from tests.making import levels, make_run, make_store


def test_three_cases(three: Store) -> None:
    """The one slice of case 46 holds everything; then case 10's sox10, and case 2's two, h&e first."""
    found = ask(three, "selected-slices", values={"n": 4})
    assert found.columns == [
        "position", "run_id", "case_id", "subset", "true_class", "outcome", "error", "stain", "slice_idx", "slice_name",
        "effective_attention", "stain_attention", "slice_attention", "even", "slice_patches", "case_slices",
        "tied",
    ]  # fmt: skip
    near = pytest.approx
    ten = ("exp-s2-0", "10", "test", "benign", "wrong", near(0.7))
    two = ("exp-s1-0", "2", "test", "high-grade", "right", near(0.1))
    assert found.rows() == [
        (
            1,
            "exp-s3-0",
            "46",
            "test",
            "benign",
            "right",
            near(0.2),
            "h&e",
            0,
            "match_1",
            1.0,
            1.0,
            1.0,
            1.0,
            3,
            1,
            False,
        ),
        (2, *ten, "sox10", 0, "match_1", near(0.55), near(0.55), 1.0, near(1 / 3), 4, 3, False),
        (3, *two, "h&e", 0, "match_1", 0.5, 0.5, 1.0, 0.5, 4, 2, False),
        (4, *two, "melan", 0, "match_1", 0.5, 0.5, 1.0, 0.5, 2, 2, False),
    ]


def test_the_studys_table(tmp_path: Path) -> None:
    """With attention set to the published weights, the table is the study's twenty rows in the study's order."""
    text = files("milstore").joinpath("study", "selected_slices_published.csv").read_text(encoding="utf-8")
    published = [
        (row["case_id"], row["stain"], int(row["slice_idx"]), float(row["effective_attention"]))
        for row in csv.DictReader(text.splitlines())
    ]
    weights = {(case_id, stain, slice_idx, 0): weight for case_id, stain, slice_idx, weight in published}
    cases = dict.fromkeys(case_id for case_id, *_ in published)
    for case_id in cases:
        # What the slices that are not in the table share, too little each to be in it.
        rest = 1 - sum(weight for case, *_, weight in published if case == case_id)
        weights |= {(case_id, "melan", 10 + i, 0): rest / 9 for i in range(9) if rest > 1e-3}
    labels = dict.fromkeys(cases, 1)
    store = make_store(tmp_path / "study", labels, list(weights))
    chances = dict.fromkeys(cases, (0.1, 0.9))
    make_run(store, "exp-s1-0", dict.fromkeys(cases, "test"), labels, chances, levels(weights))
    found = ask(store, "selected-slices").records()
    assert [(row["case_id"], row["stain"], row["slice_idx"]) for row in found] == [row[:3] for row in published]
    assert [row["effective_attention"] for row in found] == pytest.approx([row[3] for row in published], abs=1e-5)


def test_as_pandas_finds(tmp_path: Path) -> None:
    """The highest sums of effective attention over slices, in this order."""
    attended = random_store(tmp_path / "random", 6, n_cases=15)
    found = ask(attended.store, "selected-slices", values={"n": 12}).records()
    sums = attended.attention.groupby(["case_id", "stain", "slice_idx"])["effective_attention"].sum()
    expected = sums.sort_values(ascending=False).head(12)
    assert [(row["case_id"], row["stain"], row["slice_idx"]) for row in found] == expected.index.tolist()
    assert [row["effective_attention"] for row in found] == pytest.approx(expected.tolist(), abs=1e-5)
    drawn(attended.store, "selected-slices", values={"n": 100000})
