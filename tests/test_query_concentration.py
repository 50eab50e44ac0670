"""`concentration`: attention in a case's top patches against the error."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from milstore.analysis.concentration import report
from milstore.analysis.correlation import spearman
from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.store import Store
from tests.attended import frame, random_store, rounded
from tests.drawing import drawn, rows_of, subtitle_of
from tests.making import make_run


def test_sums_of_the_top_patches(three: Store) -> None:
    """Each top's sum is added up by hand, with Spearman's rho of each class: -1 of the two benign cases, none of one case."""
    answer = ask(three, "concentration")
    assert answer.columns == [
        "top", "case_id", "true_class", "outcome", "error", "top_patches", "attention", "subset", "run_id",
        "rho", "rho_low", "rho_high", "p_value", "n", "n_cases", "pooled_rho", "pooled_low", "pooled_high",
    ]  # fmt: skip
    high = ("2", "high-grade", "right", 0.1)
    wrong = ("10", "benign", "wrong", 0.7)
    right = ("46", "benign", "right", 0.2)
    ends = [("test", f"exp-s{i}-0") for i in (1, 2, 3)]
    one, two = (None, None, None, None, 1, 1), (-1.0, None, None, None, 2, 2)
    sums = {
        "top 1": ((1, 0.25), (1, 0.25), (1, 0.5)),
        "top 2": ((2, 0.5), (2, 0.45), (2, 0.75)),
        "top 3": ((3, 0.7), (3, 0.625), (3, 1.0)),
        "top 4": ((4, 0.85), (4, 0.775), (3, 1.0)),
        "top 5%": ((1, 0.25), (1, 0.25), (1, 0.5)),
    }
    assert rounded(answer.rows()) == [
        (top, *case, *numbers[i], *ends[i], *(two if i else one), None, None, None)
        for top, numbers in sums.items()
        for i, case in enumerate((high, wrong, right))
    ]


def test_the_share_is_the_users(three: Store) -> None:
    """With --pct 50 the last top is half of the case's patches."""
    rows = ask(three, "concentration", values={"pct": 50}).records()
    assert [(r["top"], r["top_patches"], round(r["attention"], 6)) for r in rows[-3:]] == [
        ("top 50%", 3, 0.7), ("top 50%", 5, 0.825), ("top 50%", 1, 0.5),
    ]  # fmt: skip


def test_its_report_is_a_line_a_top_and_class(three: Store) -> None:
    """The report gives rho and the number of cases by class, and says that they are not pooled."""
    lines = report(ask(three, "concentration").records()).splitlines()
    assert lines[3:6] == [
        "top 2, benign: ρ = −1.00, 2 cases",
        "top 2, high-grade: ρ undefined, 1 case",
        "top 2, not pooled: not all classes go the same way",
    ]
    assert len(lines) == 15


def test_predictions_of_one_case_are_no_independent_cases(three: Store) -> None:
    """Where several runs predicted a case there is no p-value, and both numbers are told."""
    rows = ask(three, "concentration", Choice(subset="all")).records()
    assert {(r["p_value"], r["n"], r["n_cases"]) for r in rows} == {(None, 6, 2), (None, 3, 1)}


def test_one_case_has_no_correlation(three: Store) -> None:
    """Rho of a single case is undefined, not an error."""
    rows = ask(three, "concentration", Choice(cases=("46",))).records()
    assert [(r["top"], r["rho"], r["p_value"], r["n_cases"]) for r in rows[:1]] == [("top 1", None, None, 1)]


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_pandas_and_scipy(tmp_path: Path, seed: int) -> None:
    """On random stores the sums and the statistics are those of pandas and scipy."""
    store = random_store(tmp_path / "random", seed)
    attention = frame(store, "select * from attention")
    predictions = frame(store, "select * from predictions where subset = 'test'")
    found = ask(store, "concentration").df()
    for k in (1, 2, 3, 4, None):
        expected = []
        for row in predictions.itertuples():
            of_case = attention[(attention.run_id == row.run_id) & (attention.case_id == row.case_id)]
            weights = of_case.effective_attention.astype("float64").sort_values(ascending=False)
            held = weights.head(k or max(1, len(weights) * 5 // 100)).sum()
            expected.append((row.case_id, row.true_label, row.error, held))
        table = pd.DataFrame(expected, columns=["case_id", "label", "error", "attention"]).set_index("case_id")
        mine = found[found.top == (f"top {k}" if k else "top 5%")].set_index("case_id").loc[table.index]
        assert mine.attention.to_numpy() == pytest.approx(table.attention.to_numpy())
        for label, rows in table.groupby("label"):
            of_class = mine[table["label"] == label]
            rho = spearmanr(rows.attention.round(6), rows.error)
            assert (of_class.rho.iloc[0], of_class.p_value.iloc[0]) == pytest.approx(
                (rho.statistic, rho.pvalue), nan_ok=True
            )
            assert set(of_class.n) == {len(rows)}


def test_its_chart(three: Store) -> None:
    """Five panels of three cases each, and above them a line for each top and class."""
    spec = drawn(three, "concentration")
    tops = ["top 1", "top 2", "top 3", "top 4", "top 5%"]
    assert [panel["title"]["text"] for panel in spec["vconcat"][1]["concat"]] == tops
    lines = [(row["panel"], row["who"], row["words"]) for row in rows_of(spec)]
    assert lines == [
        (top, *words) for top in tops for words in (("benign", "−1.00, 2 cases"), ("high-grade", "undefined, 1 case"))
    ]
    assert subtitle_of(spec).startswith(
        "Top 5%: benign ρ = −1.00, high-grade ρ undefined; not pooled: not all classes go the same way."
    )


def test_more_than_two_classes(tmp_path: Path) -> None:
    """The error is 1 - p of the true class, whatever the number of classes."""
    from tests.making import levels, make_store

    patches = [(case, "h&e", 0, i) for case in ("a", "b", "c") for i in range(2)]
    labels = {"a": 0, "b": 1, "c": 2}
    store = make_store(tmp_path / "three", labels, patches, classes=("x", "y", "z"))
    chances = {"a": (0.5, 0.3, 0.2), "b": (0.1, 0.6, 0.3), "c": (0.7, 0.2, 0.1)}
    weights = levels(dict(zip(patches, (3, 1, 2, 2, 4, 1), strict=True)))
    make_run(store, "exp-s1-0", dict.fromkeys(labels, "test"), labels, chances, weights)
    rows = ask(store, "concentration").records()[:3]
    assert [(r["true_class"], r["outcome"], round(r["error"], 6), round(r["attention"], 6)) for r in rows] == [
        ("x", "right", 0.5, 0.75), ("y", "right", 0.4, 0.5), ("z", "wrong", 0.9, 0.8),
    ]  # fmt: skip
    drawn(store, "concentration")


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=40))
@settings(max_examples=200, deadline=None)
def test_rho_and_p_value_are_those_of_scipy(pairs: list[tuple[int, int]]) -> None:
    """With ties or without."""
    x, y = ([pair[side] for pair in pairs] for side in (0, 1))
    found = spearman(x, y)
    if min(len(set(x)), len(set(y))) == 1:
        assert found == (None, None, len(x), None, None)
        return
    expected = spearmanr(x, y)
    assert found.rho == pytest.approx(expected.statistic, abs=1e-14)
    # Where rho is 1 but for rounding, what is left of a p-value is rounding too.
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9, abs=1e-7)
