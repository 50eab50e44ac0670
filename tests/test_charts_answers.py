"""The answer under a chart's title, and a case within its cohort."""

import pandas as pd

from milstore.charts.answer_line import answered
from milstore.charts.theme import About
from milstore.charts.within import asked_for, with_cohort

ABOUT = About(title="Which?", subtitle="experiment e, seed 0", notes=["2 of 5 splits"], cases=["46"])


def test_the_answer_is_the_first_line_under_the_title() -> None:
    """Under the question stands the answer, then the run, its caveats, and how the marks are read."""
    title = answered(ABOUT, "Benign: 2 of 3.", ["Ringed: case 46."])
    assert title.to_dict() == {
        "text": ["Which?"],
        "subtitle": ["Benign: 2 of 3.", "experiment e, seed 0", "2 of 5 splits", "Ringed: case 46."],
    }


def test_long_lines_are_broken() -> None:
    """No line is wider than the chart, whatever a case is called."""
    title = answered(About(title="a " * 60, subtitle="s"), "b" * 250).to_dict()
    assert max(map(len, title["text"])) <= 78
    assert [len(line) for line in title["subtitle"]] == [104, 104, 42, 1]


def test_a_case_that_was_trained_on_joins_the_cohort() -> None:
    """The cohort's rows stay as they are; a case that is not among them brings its own."""
    cohort = pd.DataFrame({"run_id": ["r1", "r2"], "case_id": ["2", "46"], "error": [0.1, 0.2]})
    mine = pd.DataFrame({"run_id": ["r2", "r1"], "case_id": ["46", "7"], "error": [0.9, 0.3]})
    frame = with_cohort(mine, cohort)
    assert frame.to_dict("list") == {
        "run_id": ["r1", "r2", "r1"], "case_id": ["2", "46", "7"], "error": [0.1, 0.2, 0.3],
    }  # fmt: skip
    assert asked_for(frame, ABOUT).tolist() == [False, True, False]
