"""`slice-pattern`: spike, region or diffuse, and the measures behind the word."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milstore.analysis.pattern import longest_run, measure, moran_test, neighbours, run_chance
from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.charts import slice_pattern
from milstore.charts.theme import CLASS_COLOURS, OTHER_STAIN_COLOURS, STAIN_COLOURS
from milstore.store import Store
from tests.attending import random_store
from tests.drawing import drawn, subtitle_of
from tests.making import Patch, levels, make_run, make_store

SIDE = 10
GRID = np.array([(x, y) for y in range(SIDE) for x in range(SIDE)], float)
"""A slice of a hundred patches, numbered row by row."""


def _slice(hot: dict[int, float], seed: int = 0) -> np.ndarray:
    """A hundred patches of about 0.5 to 1.5, with these weights at these numbers."""
    weights = np.random.default_rng(seed).uniform(0.5, 1.5, SIDE * SIDE)
    weights[list(hot)] = list(hot.values())
    return weights


SQUARE = [y * SIDE + x for y in (4, 5, 6) for x in (4, 5, 6)]
COLUMN = [y * SIDE + 4 for y in range(2, 8)]
SCATTERED = [3, 17, 29, 41, 58, 66, 72, 85, 94]
MADE = {
    "one patch holds most": (dict.fromkeys([37], 300.0), "spike", "spike"),
    "three lone patches hold nearly all": (dict.fromkeys([5, 48, 91], 900.0), "spike", "spike"),
    "a square of neighbours": (dict.fromkeys(SQUARE, 60.0), "region", "region"),
    "a row of neighbours": (dict.fromkeys(range(42, 50), 60.0), "region", "region"),
    "a column of neighbours, which no run shows": (dict.fromkeys(COLUMN, 60.0), "region", "diffuse"),
    "many patches all over the slice": (dict.fromkeys(SCATTERED, 60.0), "diffuse", "diffuse"),
    "a slope from one side to the other": ({i: 1.0 + (i % SIDE) / SIDE for i in range(100)}, "diffuse", "diffuse"),
    "noise": ({}, "diffuse", "diffuse"),
    "all the same": (dict.fromkeys(range(100), 1.0), "diffuse", "diffuse"),
}


@pytest.mark.parametrize(("hot", "placed", "unplaced"), MADE.values(), ids=MADE)
def test_made_slices(hot: dict[int, float], placed: str, unplaced: str) -> None:
    """Each made slice gets its word, with places and without."""
    weights = _slice(hot)
    assert measure(weights, GRID * 64).pattern == placed
    assert measure(weights, None).pattern == unplaced


@pytest.mark.parametrize("n", [1, 4])
def test_a_slice_of_few_patches(n: int) -> None:
    """Below five patches there is no word."""
    assert measure(np.array([10.0, 1, 1, 1][:n]), None).pattern == "too few"


def test_regions_are_not_seen_in_noise() -> None:
    """Of a hundred slices of lognormal noise, at most four are taken for regions."""
    rng = np.random.default_rng(5)
    found = [measure(np.exp(rng.normal(size=100)), GRID, seed) for seed in range(100)]
    assert sum(each.pattern == "region" for each in found) <= 4


def test_measures_of_a_slice_by_hand() -> None:
    """Six patches in a row, of which two neighbours hold 0.4 each."""
    found = measure(np.array([1.0, 8, 8, 1, 1, 1]), np.array([[i * 50, 0] for i in range(6)], float))
    assert (found.patches, found.longest_run) == (6, 2)
    assert found.peak_share == pytest.approx(0.4)
    assert found.effective_patches == pytest.approx(1 / (2 * 0.16 + 4 * 0.0025))
    assert found.run_p == pytest.approx(5 / 15)  # two of six lie side by side in 5 of 15 ways
    assert found.moran_i == pytest.approx(_moran(np.array([1.0, 8, 8, 1, 1, 1]) / 20, [(i, i + 1) for i in range(5)]))


def _moran(p: np.ndarray, pairs: list[tuple[int, int]]) -> float:
    """Moran's I as it is written, pair by pair and in both orders."""
    z = p - p.mean()
    ordered = [*pairs, *((b, a) for a, b in pairs)]
    return float(len(p) / len(ordered) * sum(z[a] * z[b] for a, b in ordered) / sum(z * z))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(5, 30))
def test_moran_as_it_is_written(seed: int, n: int) -> None:
    """Moran's I of random weights on a grid with gaps agrees with the sum over pairs; its p-value is a share."""
    rng = np.random.default_rng(seed)
    places = GRID[rng.choice(100, n, replace=False)]
    p = rng.dirichlet(np.ones(n))
    pairs = [(int(a), int(b)) for a, b in neighbours(places)]
    found = moran_test(p, places, seed)
    if not pairs:
        assert found is None
        return
    assert found is not None
    assert found[0] == pytest.approx(_moran(p, pairs))
    assert 1 / 1000 <= found[1] <= 1
    assert moran_test(p, places, seed) == found


def test_neighbours_are_the_eight_around() -> None:
    """On a grid, whatever its step; and none where all patches are at one place."""
    beside = {(a, b) for a, b in combinations(range(100), 2) if np.abs(GRID[a] - GRID[b]).max() == 1}
    for places in (GRID, GRID * 224 + 17):
        assert {(min(a, b), max(a, b)) for a, b in neighbours(places).tolist()} == beside
    assert len(neighbours(np.zeros((5, 2)))) == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=11))
def test_the_chance_of_a_run(hot: list[bool]) -> None:
    """The longest run and its exact chance, by listing every order."""
    run = longest_run(np.array(hot))
    assert run == max(len(part) for part in "".join("x" if h else " " for h in hot).split(" "))
    orders = [np.isin(range(len(hot)), which) for which in combinations(range(len(hot)), sum(hot))]
    expected = np.mean([longest_run(order) >= run for order in orders])
    assert run_chance(len(hot), sum(hot), run) == pytest.approx(expected)


def _made_store(folder: Path) -> Store:
    """Four cases, one of each class and outcome: spike, region, diffuse, and a slice too small to say."""
    kinds = {
        "1": _slice({37: 300.0}),
        "2": _slice(dict.fromkeys(range(40, 49), 60.0)),
        "3": _slice({}),
        "4": np.ones(3),
    }
    weights: dict[Patch, float] = {
        (case_id, "h&e", 0, i): float(weight) for case_id, kind in kinds.items() for i, weight in enumerate(kind)
    }
    labels = {"1": 0, "2": 0, "3": 1, "4": 1}
    chances = {"1": (0.9, 0.1), "2": (0.2, 0.8), "3": (0.1, 0.9), "4": (0.6, 0.4)}
    store = make_store(folder, labels, list(weights))
    make_run(store, "exp-s1-0", dict.fromkeys(labels, "test"), labels, chances, levels(weights))
    return store


def test_slices_of_a_store(tmp_path: Path) -> None:
    """A row a slice, with the measures; the made store's patches lie in rows of four, so runs and places both speak."""
    store = _made_store(tmp_path / "made")
    found = ask(store, "slice-pattern")
    assert found.columns == [
        "run_id", "case_id", "subset", "true_class", "outcome", "stain", "slice_idx", "slice_name", "slice_patches",
        "slice_effective_attention", "pattern", "peak_share", "effective_patches", "longest_run", "run_p", "moran_i",
        "moran_p",
    ]  # fmt: skip
    rows = found.records()
    assert [(row["case_id"], row["true_class"], row["outcome"], row["slice_patches"]) for row in rows] == [
        ("1", "benign", "right", 100), ("2", "benign", "wrong", 100),
        ("3", "high-grade", "right", 100), ("4", "high-grade", "wrong", 3),
    ]  # fmt: skip
    assert [row["pattern"] for row in rows] == ["spike", "region", "diffuse", "too few"]
    assert rows[0]["peak_share"] == pytest.approx(300 / (300 + _slice({}).sum() - _slice({})[37]), rel=1e-5)
    assert rows[3]["moran_i"] is None


def test_alone_or_in_company(tmp_path: Path) -> None:
    """A slice's p-value does not depend on which other cases are asked for."""
    attended = random_store(tmp_path / "random", 8, n_cases=4)
    together = [row for row in ask(attended.store, "slice-pattern").rows() if row[1] == "3"]
    assert ask(attended.store, "slice-pattern", Choice(cases=("3",))).rows() == together


def test_its_chart(tmp_path: Path) -> None:
    """A bar a class and outcome, with the number of cases, and the pattern's words explained."""
    spec = drawn(_made_store(tmp_path / "made"), "slice-pattern")
    rows = [row for rows in spec["datasets"].values() for row in rows if "share" in row]
    assert {(row["name"], row["pattern"]) for row in rows} == {
        ("benign called right (1 case)", "spike"), ("benign called wrong (1 case)", "region"),
        ("high-grade called right (1 case)", "diffuse"), ("high-grade called wrong (1 case)", "too few"),
    }  # fmt: skip
    assert "region: patches that lie together" in subtitle_of(spec)
    assert subtitle_of(spec).startswith(
        "benign: of 2 slices 1 spike, 1 region. high-grade: of 2 slices 1 diffuse, 1 too few."
    )
    drawn(random_store(tmp_path / "random", 9, n_classes=3).store, "slice-pattern")


def test_patterns_have_colours_of_their_own() -> None:
    """No pattern is drawn in the colour of a class or of a stain."""
    taken = {*CLASS_COLOURS, *STAIN_COLOURS.values(), *OTHER_STAIN_COLOURS}
    assert taken.isdisjoint(slice_pattern.COLOURS)
