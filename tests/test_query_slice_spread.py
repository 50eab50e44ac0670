"""`slice-spread`: how many slices the top patches touch, against what drawing by lot would touch."""

from fractions import Fraction
from math import comb
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from milstore.analysis.spread import expected_ratio
from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.store import Store
from tests.drawing import drawn, rows_of, subtitle_of
from tests.making import Patch, levels, make_run, make_store


def test_three_cases(three: Store) -> None:
    """Of the top 50%: case 2 takes 3 patches from 2 of 2 slices, case 10 takes 5 from 3 of 3, case 46 one from its only one.

    By lot, 3 of 6 patches miss the slice of 4 never and that of 2 with C(4,3)/C(6,3) = 1/5; 5 of 10 miss a slice of 3 with
    C(7,5)/C(10,5) = 1/12 and that of 4 with C(6,5)/C(10,5) = 1/42.
    """
    found = ask(three, "slice-spread", None, {"pct": 50}).records()
    names = ("patches", "top_patches", "slices", "touched_slices", "ratio", "expected_ratio", "relative_spread")
    expected = {"2": 1 - 1 / 10, "10": 1 - (1 / 12 + 1 / 12 + 1 / 42) / 3, "46": 1.0}
    touched = {"2": (6, 3, 2, 2), "10": (10, 5, 3, 3), "46": (3, 1, 1, 1)}
    for row in found:
        _, _, slices, hit = touched[row["case_id"]]
        ratio, lot = hit / slices, expected[row["case_id"]]
        assert [row[name] for name in names] == pytest.approx([*touched[row["case_id"]], ratio, lot, ratio / lot])
    assert [row["case_id"] for row in found] == ["46", "10", "2"]


def test_few_slices(three: Store) -> None:
    """`--max-slices 2` leaves cases 2 and 46, one of each class, so that there is nothing to correlate."""
    rows = ask(three, "slice-spread", None, {"max_slices": 2}).records()
    found = [(row["case_id"], row["slices"], row["rho"], row["p_value"], row["n_cases"]) for row in rows]
    assert found == [("2", 2, None, None, 1), ("46", 1, None, None, 1)]


def test_no_case_has_so_few_slices(three: Store) -> None:
    """An empty answer keeps its columns."""
    result = ask(three, "slice-spread", Choice(run="exp-s2-0"), {"max_slices": 1})
    assert result.rows() == []
    assert "relative_spread" in result.columns


@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.data())
@settings(max_examples=60, deadline=None)
def test_the_expectation_is_exact(sizes: list[int], data: st.DataObject) -> None:
    """It is 1 - C(n - m, k) / C(n, k), averaged over the slices, to twelve digits."""
    n = sum(sizes)
    k = data.draw(st.integers(1, n))
    exact = sum(1 - Fraction(comb(n - m, k), comb(n, k)) for m in sizes) / len(sizes)
    assert expected_ratio(sizes, k) == pytest.approx(float(exact), rel=1e-12)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Thirty random cases of a run."""
    random = np.random.default_rng(5)
    labels = {str(i): i % 2 for i in range(30)}
    patches: list[Patch] = [
        (case_id, stain, slice_idx, patch_idx)
        for case_id in labels
        for stain in ("h&e", "melan")
        for slice_idx in range(random.integers(1, 4))
        for patch_idx in range(random.integers(3, 12))
    ]
    store = make_store(tmp_path_factory.mktemp("many"), labels, patches)
    chances = {case_id: (1 - p, p) for case_id, p in zip(labels, random.random(30).tolist(), strict=True)}
    weights = dict(zip(patches, np.exp(2 * random.normal(size=len(patches))).tolist(), strict=True))
    make_run(store, "r", dict.fromkeys(labels, "test"), labels, chances, levels(weights))
    return store


def test_agrees_with_pandas_and_scipy(many: Store) -> None:
    """Ratios and rank correlations are those of a computation from the raw attention."""
    from milstore.asking.ask import ask_sql

    found = ask(many, "slice-spread", None, {"pct": 20}).df().set_index("case_id")
    attention = ask_sql(many, "select * from attention").df()
    attention["slice"] = attention["stain"] + " " + attention["slice_idx"].astype(str)
    ratios, relative = {}, {}
    for case_id, rows in attention.groupby("case_id"):
        k = max(1, int(len(rows) * 20 // 100))
        top = rows.sort_values("effective_attention", ascending=False).head(k)
        ratios[case_id] = top["slice"].nunique() / rows["slice"].nunique()
        sizes = rows.groupby("slice").size()
        lot = np.mean([1 - comb(len(rows) - m, k) / comb(len(rows), k) for m in sizes])
        relative[case_id] = ratios[case_id] / lot
    assert found["ratio"].to_dict() == pytest.approx(ratios)
    assert found["relative_spread"].to_dict() == pytest.approx(relative)
    assert list(found["relative_spread"]) == sorted(found["relative_spread"])
    for x, suffix in (("ratio", ""), ("relative_spread", "_relative")):
        for _, of_class in found.groupby("true_class"):
            expected = spearmanr(of_class[x].round(6), of_class["error"])
            assert (of_class[f"rho{suffix}"].iloc[0], of_class[f"p_value{suffix}"].iloc[0]) == pytest.approx(
                (expected.statistic, expected.pvalue)
            )


def test_its_chart(many: Store) -> None:
    """Every case is a point, and the statistics stand above the panels."""
    spec = drawn(many, "slice-spread")
    assert len(rows_of(spec)) == 30
    assert [panel["title"]["text"] for panel in spec["vconcat"][1]["concat"]] == ["slices touched", "relative spread"]
    assert subtitle_of(spec).startswith("Relative spread: benign ρ = ")


def test_its_chart_of_one_run(three: Store) -> None:
    """Of a single case there is nothing to correlate, and it is drawn all the same."""
    drawn(three, "slice-spread", Choice(run="exp-s1-0"))


def test_a_store_can_be_asked_without_its_cohort(tmp_path: Path) -> None:
    """A run answers after its case has left the cohort."""
    from milstore.store.cohort_edit import edit_cohort

    patches = [("1", "h&e", 0, 0), ("2", "h&e", 0, 0)]
    store = make_store(tmp_path / "left", {"1": 0, "2": 1}, patches)
    chances = {"1": (0.4, 0.6), "2": (0.2, 0.8)}
    make_run(store, "r", dict.fromkeys(chances, "test"), {"1": 0, "2": 1}, chances, levels(dict.fromkeys(patches, 1.0)))
    with edit_cohort(store) as edit:
        for name in ("cases", "slices", "patches"):
            table = edit.table(name)
            edit.replace(name, table.filter(np.array(table["case_id"].to_pylist()) == "2"))
    for name in (
        "recall",
        "confusion",
        "roc",
        "deviation",
        "misclassified",
        "near-threshold",
        "slice-spread",
        "split-balance",
    ):
        assert ask(store, name).rows()
