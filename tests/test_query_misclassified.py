"""`misclassified`: the cases that are called wrong, and what they look like."""

from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.charts.misclassified import chart
from milstore.charts.theme import About
from milstore.store import Store
from tests.drawing import drawn, subtitle_of


def test_the_wrong_case(three: Store) -> None:
    """Case 10 was called high-grade: 10 patches in 3 slices, no Melan-A, its top patch (of 10 in 40) has a quarter."""
    rows = ask(three, "misclassified").records()
    assert [{name: round(v, 6) if isinstance(v, float) else v for name, v in row.items()} for row in rows] == [
        {
            "case_id": "10", "true_class": "benign", "pred_class": "high-grade", "p_true": 0.3, "margin": 0.2,
            "patches": 10, "slices": 3, "missing_stains": "melan", "concentration": 0.25, "subset": "test", "split": 2,
            "run_id": "exp-s2-0",
        }
    ]  # fmt: skip


def test_concentration_follows_the_share(three: Store) -> None:
    """The top 30% of ten patches are three: (10 + 8 + 7) / 40."""
    (row,) = ask(three, "misclassified", None, {"pct": 30}).records()
    assert round(row["concentration"], 6) == 0.625


def test_none_wrong(three: Store) -> None:
    """A run without a wrong case has no rows, and the chart of none says so."""
    result = ask(three, "misclassified", Choice(run="exp-s1-0"))
    assert result.rows() == []
    spec = chart(result.df(), About(title="t", subtitle="s")).to_dict()
    assert spec["datasets"][spec["data"]["name"]] == [{"words": "No case is called wrong."}]


def test_its_chart(three: Store) -> None:
    """The chart explains its columns."""
    assert "Top 5%: effective attention of that share of the case's patches" in subtitle_of(
        drawn(three, "misclassified")
    )
