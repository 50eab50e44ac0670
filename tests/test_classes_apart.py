"""Classes are not mixed: what holds within each of them is told, whatever all cases together seem to say (Simpson 1951)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from milstore.analysis.correlation import interval, lines_of, pooled, spearman
from milstore.asking.ask import ask
from milstore.store import Store
from tests.drawing import drawn, subtitle_of
from tests.making import Patch, levels, make_run, make_store

UP = (0.1, 0.2, 0.3, 0.5, 0.4)
"""Errors of five cases that have 1 to 5 patches: rho is 1 - 6 * 2 / (5 * 24) = 0.9."""
STEEP = (0.1, 0.3, 0.2, 0.5, 0.4)
"""Two neighbours changed places twice: rho is 1 - 6 * 4 / 120 = 0.8."""


def two_classes(folder: Path, benign: Sequence[float], high: Sequence[float], more: int = 0) -> Store:
    """Cases a1, a2 … (benign) and b1, b2 … (high-grade) of 1, 2 … patches; those of high-grade have so many more."""
    errors = {f"{name}{i}": e for name, of in (("a", benign), ("b", high)) for i, e in enumerate(of, 1)}
    labels = {case: int(case[0] == "b") for case in errors}
    n = {case: int(case[1:]) + (more if case[0] == "b" else 0) for case in errors}
    patches: list[Patch] = [(case, "h&e", 0, i) for case in errors for i in range(n[case])]
    store = make_store(folder / "store", labels, patches)
    chances = {case: (e, 1 - e) if labels[case] else (1 - e, e) for case, e in errors.items()}
    # The first patch of a case of n holds n parts, each of the others one: the more patches, the less it holds.
    weights = {patch: float(n[patch[0]] if patch[3] == 0 else 1) for patch in patches}
    make_run(store, "exp-s1-0", dict.fromkeys(labels, "test"), labels, chances, levels(weights))
    return store


def numbers(store: Store, question: str, group: str, value: str) -> dict[str, tuple[float | None, ...]]:
    """By class: rho, its interval, the pooled rho and its interval, to six digits."""
    names = ("rho", "rho_low", "rho_high", "n_cases", "pooled_rho", "pooled_low", "pooled_high")
    found: dict[str, tuple[float | None, ...]] = {}
    for row in ask(store, question).records():
        if row[group] == value:
            found[row["true_class"]] = tuple(None if row[n] is None else round(row[n], 6) for n in names)
    return found


def test_classes_that_go_different_ways_are_not_pooled(tmp_path: Path) -> None:
    """Of 0.9 in one class and -0.9 in the other both are told with interval and count; together they would be about 0."""
    store = two_classes(tmp_path, UP, [1 - e for e in UP])
    # atanh 0.9 = 1.472219; half = 1.959964 * sqrt((1 + 0.81 / 2) / (5 - 3)) = 1.642742.
    low, high = -0.168890, 0.996076
    assert numbers(store, "patch-count", "counted", "all") == {
        "benign": (0.9, pytest.approx(low, abs=1e-5), pytest.approx(high, abs=1e-5), 5, None, None, None),
        "high-grade": (-0.9, pytest.approx(-high, abs=1e-5), pytest.approx(-low, abs=1e-5), 5, None, None, None),
    }
    rows = ask(store, "patch-count").records()[10:]
    everything = spearmanr([row["patches"] for row in rows], [row["error"] for row in rows]).statistic
    assert abs(everything) < 0.1
    assert lines_of(rows) == [
        "benign: ρ = 0.90 (95% interval −0.17 to 1.00), p = 0.037, 5 cases",
        "high-grade: ρ = −0.90 (95% interval −1.00 to 0.17), p = 0.037, 5 cases",
        "not pooled: not all classes go the same way",
    ]


@pytest.mark.parametrize("question", ["patch-count", "concentration", "slice-spread"])
def test_no_question_pools_classes_that_disagree(tmp_path: Path, question: str) -> None:
    """In every question of a correlation with the error a row speaks of its own class alone, and so does the chart."""
    store = two_classes(tmp_path, UP, [1 - e for e in UP])
    rows = ask(store, question).records()
    by_class = {row["true_class"]: row["rho"] for row in rows if row.get("top", "top 1") == "top 1"}
    # What the first patch holds falls with the number of patches; all cases have one slice.
    expected = {"patch-count": (0.9, -0.9), "concentration": (-0.9, 0.9), "slice-spread": (None, None)}[question]
    if question == "concentration":
        # Half of the attention in a case of one patch's like: n / (2n - 1) is 1, 2/3, 3/5 …
        assert [round(row["attention"], 6) for row in rows[:5]] == [1, 0.666667, 0.6, 0.571429, 0.555556]
    assert (by_class["benign"], by_class["high-grade"]) == (
        expected if expected[0] is None else pytest.approx(expected)
    )
    assert {row["pooled_rho"] for row in rows} == {None}
    assert "not pooled: not all classes go the same way" in subtitle_of(drawn(store, question))


def test_classes_that_go_the_same_way_are_pooled_within(tmp_path: Path) -> None:
    """0.9 and 0.8 of five cases each are 0.85 pooled, though all cases at once have a rho of another sign."""
    high = [e / 100 for e in STEEP]
    store = two_classes(tmp_path, UP, high, more=10)
    found = numbers(store, "patch-count", "counted", "all")
    assert (found["benign"][0], found["high-grade"][0]) == (0.9, 0.8)
    # Four degrees of freedom: atanh 0.85 = 1.256153; half = 1.959964 * sqrt((1 + 0.7225 / 2) / 4) = 1.143370.
    assert found["benign"][4:] == found["high-grade"][4:]
    assert found["benign"][4:] == pytest.approx((0.85, np.tanh(0.112783), np.tanh(2.399523)), abs=1e-5)
    rows = ask(store, "patch-count").records()[10:]
    assert spearmanr([row["patches"] for row in rows], [row["error"] for row in rows]).statistic < 0
    assert "pooled within the classes: ρ = 0.85 (95% interval 0.11 to 0.98)" in subtitle_of(drawn(store, "patch-count"))


def test_a_class_of_few_cases_has_no_say(tmp_path: Path) -> None:
    """Three cases have a rho and no interval, and their sign is no ground for pooling."""
    store = two_classes(tmp_path, UP, (0.1, 0.2, 0.3))
    assert numbers(store, "patch-count", "counted", "all")["high-grade"] == (1.0, None, None, 3, None, None, None)


def test_a_class_alone_is_not_called_pooled(tmp_path: Path) -> None:
    """Of cases of one class there is one line."""
    store = two_classes(tmp_path, UP, ())
    assert lines_of(ask(store, "patch-count").records()[5:]) == [
        "benign: ρ = 0.90 (95% interval −0.17 to 1.00), p = 0.037, 5 cases"
    ]


def test_levels_of_classes_that_disagree_are_not_pooled(tmp_path: Path) -> None:
    """`level-correlation`: where stain attention goes with effective attention in one class and against it in the other."""
    weights: dict[Patch, float] = {
        # The heavy stain has the heavy patches in a; in b it has many light ones.
        **{("a", "h&e", 0, i): w for i, w in enumerate((6.0, 4.0))}, **{("a", "melan", 0, i): 1.0 for i in range(2)},
        **{("b", "h&e", 0, i): 1.0 for i in range(6)}, **{("b", "melan", 0, i): w for i, w in enumerate((4.0, 1.0))},
    }  # fmt: skip
    labels = {"a": 0, "b": 1}
    store = make_store(tmp_path / "store", labels, list(weights))
    make_run(
        store, "exp-s1-0", dict.fromkeys(labels, "test"), labels, {"a": (0.9, 0.1), "b": (0.1, 0.9)}, levels(weights)
    )
    found = {row["case_id"]: row for row in ask(store, "level-correlation").records() if row["level"] == "stain"}
    assert found["a"]["spearman_class"] > 0 > found["b"]["spearman_class"]
    assert [found[case]["spearman_all"] for case in "ab"] == [None, None]
    # A class of one case says what the case says.
    assert found["a"]["spearman_class"] == pytest.approx(found["a"]["spearman"])


@given(st.integers(5, 60), st.floats(-0.94, 0.94))
def test_the_interval_holds_rho_and_shrinks_with_cases(n: int, rho: float) -> None:
    """It lies around rho, within -1 and 1, and is narrower of twice as many."""
    low, high = interval(rho, n - 3)
    narrow = interval(rho, 2 * n - 3)
    assert low is not None and high is not None and narrow[0] is not None and narrow[1] is not None
    assert -1 <= low < narrow[0] < rho < narrow[1] < high <= 1


def test_the_interval_covers_what_it_says() -> None:
    """Of 600 samples of 30 pairs with a known rho, the interval holds it in 95 of 100, give or take three."""
    rng = np.random.default_rng(0)
    r = 0.6
    # Spearman's rho of a normal pair with Pearson's r (Kruskal 1958).
    truth = 6 / np.pi * np.arcsin(r / 2)
    held = 0
    for _ in range(600):
        x, noise = rng.normal(size=(2, 30))
        found = spearman(x.tolist(), (r * x + np.sqrt(1 - r * r) * noise).tolist())
        assert found.low is not None and found.high is not None
        held += found.low <= truth <= found.high
    assert 0.92 <= held / 600 <= 0.98


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), min_size=4, max_size=12), min_size=2, max_size=3))
def test_pooled_lies_between_the_classes(classes: list[list[int]]) -> None:
    """It is between the lowest and the highest rho of the classes, and is there exactly where all have one sign."""
    found = [spearman(list(range(len(errors))), errors) for errors in classes]
    together = pooled(found)
    rhos = [each.rho for each in found if each.rho is not None]
    agree = len(rhos) == len(found) and (all(rho > 1e-9 for rho in rhos) or all(rho < -1e-9 for rho in rhos))
    assert (together is not None) == agree
    if together is not None and together.rho is not None:
        assert min(rhos) - 1e-9 <= together.rho <= max(rhos) + 1e-9
