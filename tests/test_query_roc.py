"""`roc`: a curve a split, one of all predictions pooled, and areas with intervals."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from milstore.analysis.roc import area, bootstrap_interval, corners
from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.errors import UsageError
from milstore.store import Store
from tests.drawing import drawn, subtitle_of
from tests.making import levels, make_run, make_store


def _store(folder: Path, n_classes: int, n_cases: int = 24, n_splits: int = 2) -> Store:
    """Random predictions that tell something, each case in test once."""
    random = np.random.default_rng(n_classes)
    labels = {str(i): i % n_classes for i in range(n_cases)}
    patches = [(case_id, "h&e", 0, 0) for case_id in labels]
    store = make_store(folder, labels, patches, classes=("benign", "dysplastic", "high-grade")[-n_classes:])
    for split in range(1, n_splits + 1):
        score = random.normal(size=(n_cases, n_classes)) + 1.0 * np.eye(n_classes)[list(labels.values())]
        chances = np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)
        make_run(
            store, f"exp-s{split}-0",
            {case_id: "test" if int(case_id) // n_classes % n_splits == split - 1 else "train" for case_id in labels}, labels,
            dict(zip(labels, chances.tolist(), strict=True)), levels(dict.fromkeys(patches, 1.0)),
            split=split, n_splits=n_splits,
        )  # fmt: skip
    return store


def _areas(store: Store, **values: Any) -> dict[str, tuple[float, float, float]]:
    return {row["curve"]: (row["auc"], row["low"], row["high"]) for row in ask(store, "roc", None, values).records()}


def test_curves_of_three_cases(three: Store) -> None:
    """Splits with one case have no curve; pooled, the high-grade case scores highest: area 1, and no interval."""
    mixed = "compares probabilities of different models"
    pooled = {"auc": 1.0, "low": None, "high": None, "positives": 1, "negatives": 2, "note": mixed}
    none = {
        "false_positive_rate": None,
        "true_positive_rate": None,
        "threshold": None,
        "auc": None,
        "low": None,
        "high": None,
    }
    both = {"positive_class": "high-grade", "n_classes": 2}
    assert ask(three, "roc").records() == [
        {
            "curve": "mean over splits",
            **none,
            "positives": 1,
            "negatives": 2,
            **both,
            "note": "0 of 3 splits have both",
        },
        {"curve": "pooled", "false_positive_rate": 0.0, "true_positive_rate": 0.0, "threshold": None, **pooled, **both},
        {"curve": "pooled", "false_positive_rate": 0.0, "true_positive_rate": 1.0, "threshold": 0.9, **pooled, **both},
        {"curve": "pooled", "false_positive_rate": 1.0, "true_positive_rate": 1.0, "threshold": 0.2, **pooled, **both},
        {"curve": "split 1", **none, "positives": 1, "negatives": 0, **both, "note": None},
        {"curve": "split 2", **none, "positives": 0, "negatives": 1, **both, "note": None},
        {"curve": "split 3", **none, "positives": 0, "negatives": 1, **both, "note": None},
    ]


def test_the_mean_over_splits_is_of_the_splits_areas(tmp_path: Path) -> None:
    """The mean averages areas of single models; its interval holds it."""
    found = _areas(_store(tmp_path / "two", 2))
    assert set(found) == {"mean over splits", "pooled", "split 1", "split 2"}
    mean, low, high = found["mean over splits"]
    assert mean == pytest.approx((found["split 1"][0] + found["split 2"][0]) / 2)
    assert 0 <= low < mean < high <= 1


def test_of_two_classes_either_gives_the_same_area(tmp_path: Path) -> None:
    """`--positive 0` turns the curve and keeps the area."""
    store = _store(tmp_path / "two", 2)
    assert _areas(store, positive=0)["pooled"][0] == pytest.approx(_areas(store)["pooled"][0])


def test_of_three_classes_one_stands_against_the_others(tmp_path: Path) -> None:
    """Each class can be asked for; the highest is the default; one that is not there is refused."""
    store = _store(tmp_path / "three", 3)
    assert {row["positive_class"] for row in ask(store, "roc").records()} == {"high-grade"}
    assert {row["positive_class"] for row in ask(store, "roc", None, {"positive": 1}).records()} == {"dysplastic"}
    with pytest.raises(UsageError, match="no class number 3"):
        ask(store, "roc", None, {"positive": 3}).rows()
    assert "high-grade against all other classes" in subtitle_of(drawn(store, "roc"))


def test_predictions_of_one_case_are_not_taken_for_many_cases(tmp_path: Path) -> None:
    """Over all subsets, cases stand in the pooled curve more than once: no interval for it."""
    rows = ask(_store(tmp_path / "two", 2), "roc", Choice(subset="all")).records()
    assert {(row["curve"], row["low"] is None) for row in rows} == {
        ("mean over splits", True), ("pooled", True), ("split 1", False), ("split 2", False),
    }  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=30))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_the_bootstrap_draws_within_the_classes(cases: list[tuple[int, bool]]) -> None:
    """The interval is seeded, lies in 0 to 1, and is that of drawing cases one by one."""
    score_N, positive_N = (
        np.array([score for score, _ in cases], dtype=float),
        np.array([positive for _, positive in cases]),
    )
    found = bootstrap_interval([(score_N, positive_N)], draws=400, seed=3)
    assert found == bootstrap_interval([(score_N, positive_N)], draws=400, seed=3)
    if area((score_N, positive_N)) in (None, 0.0, 1.0):
        assert found == (None, None)
        return
    random = np.random.default_rng(4)
    positives = random.choice(score_N[positive_N], (400, positive_N.sum(), 1))
    negatives = random.choice(score_N[~positive_N], (400, 1, (~positive_N).sum()))
    drawn_areas = ((positives > negatives) + (positives == negatives) / 2).mean(axis=(1, 2))
    low, high = found
    assert low is not None and high is not None and 0 <= low <= high <= 1
    # Two samples of 400 draws of a coarse distribution: their ends agree within a step or two of it.
    assert (low, high) == pytest.approx(np.quantile(drawn_areas, [0.025, 0.975]), abs=0.26)
    assert low - 1e-9 <= float(np.median(drawn_areas)) <= high + 1e-9


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40))
@settings(max_examples=200, deadline=None)
def test_curve_and_area_are_those_of_scikit_learn(cases: list[tuple[int, bool]]) -> None:
    """The corners are the same to the last bit, and the areas agree."""
    score_N = np.array([score / 7 for score, _ in cases])
    positive_N = np.array([positive for _, positive in cases])
    if positive_N.all() or not positive_N.any():
        assert area((score_N, positive_N)) is None
        return
    assert area((score_N, positive_N)) == pytest.approx(roc_auc_score(positive_N, score_N), rel=1e-14)
    for ours, theirs in zip(corners((score_N, positive_N)), roc_curve(positive_N, score_N), strict=True):
        assert ours.tolist() == theirs.tolist()


def test_its_chart(tmp_path: Path) -> None:
    """The chart says that the pooled curve mixes models."""
    assert "compares probabilities of different models" in subtitle_of(drawn(_store(tmp_path / "two", 2), "roc"))


def test_its_chart_without_a_curve(three: Store) -> None:
    """Of one case there is no curve, and the chart says so."""
    spec = drawn(three, "roc", Choice(run="exp-s1-0"))
    assert any("needs cases of the class" in row.get("words", "") for rows in spec["datasets"].values() for row in rows)
