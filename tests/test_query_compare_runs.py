"""`compare-runs`: whether two runs look at the same patches; and how a question is over runs."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from math import log, log2, sqrt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy.spatial.distance import cosine, jensenshannon
from scipy.stats import spearmanr

from milstore import queries
from milstore.analysis.comparison import report
from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.charts import compare_runs
from milstore.errors import UsageError
from milstore.store import Store
from milstore.store.patch_index import PLACE
from tests.attended import frame, random_store, rounded
from tests.drawing import drawn, rows_of, subtitle_of
from tests.making import THREE_PATCHES, Patch, levels, make_run, make_store

COLUMNS = [
    "run_a", "split_a", "seed_a", "subset_a", "run_b", "split_b", "seed_b", "subset_b", "case_id", "n_patches",
    "same_patches", "spearman", "jaccard", "cosine", "js_divergence", "kl_divergence", "p_true_difference",
]  # fmt: skip
FOUR: list[Patch] = [("4", "h&e", 0, i) for i in range(4)]
EVEN: list[Patch] = [("7", "h&e", 0, i) for i in range(2)]
GROWN: list[Patch] = [("10", "h&e", 0, i) for i in range(3)]


@pytest.fixture
def two(tmp_path: Path) -> Store:
    """Two runs: case 4 attended the other way round, case 7 evenly by run a, case 10 with a patch that run a had not."""
    labels = {"4": 0, "7": 1, "10": 1}
    store = make_store(tmp_path / "two", labels, [*FOUR, *EVEN, *GROWN])
    truth_b = {**labels, "7": 0}  # its label was corrected in between
    subsets = ({"4": "test", "7": "train", "10": "val"}, {"4": "train", "7": "test", "10": "val"})
    weights_a = {**dict(zip(FOUR, (4, 3, 2, 1), strict=True)), **dict.fromkeys(EVEN, 1), **dict.fromkeys(GROWN[:2], 1)}
    weights_b = {**dict(zip(FOUR, (1, 2, 3, 4), strict=True)), EVEN[0]: 1, EVEN[1]: 3, **dict.fromkeys(GROWN, 1)}
    chances_a = {"4": (0.75, 0.25), "7": (0.25, 0.75), "10": (0.5, 0.5)}
    chances_b = {"4": (0.5, 0.5), "7": (0.125, 0.875), "10": (0.25, 0.75)}
    make_run(store, "exp-s1-0", subsets[0], labels, chances_a, levels(weights_a), n_splits=2)
    make_run(
        store, "exp-s2-0", subsets[1], truth_b, chances_b, levels(weights_b), split=2, n_splits=2,
        finished_at="2026-01-01T02:00:00",
    )  # fmt: skip
    return store


def test_measures_by_hand(two: Store) -> None:
    """Every measure of every shared case, whatever its subset; null where the patches are not the same."""
    answer = ask(two, "compare-runs")
    assert (answer.columns, answer.title) == (COLUMNS, "experiment exp, 2 runs")
    tenths = sum(p * log2(p) for p in (0.4, 0.3, 0.2, 0.1))
    quarters = sum(p * log2(2 * p / (p + 0.5)) for p in (0.25, 0.75)) / 2
    halves = sum(0.5 * log2(1 / (p + 0.5)) for p in (0.25, 0.75)) / 2
    assert rounded(answer.rows()) == rounded(
        [
            ("exp-s1-0", 1, 0, "test", "exp-s2-0", 2, 0, "train", "4", 4, True,
             -1.0, 0.0, 20 / 30, 2 + tenths, 0.3 * log(4) + 0.1 * log(1.5), 0.25),
            ("exp-s1-0", 1, 0, "train", "exp-s2-0", 2, 0, "test", "7", 2, True,
             None, 0.0, 0.5 / (0.5 * 0.625) ** 0.5, quarters + halves, 0.5 * log(2) + 0.5 * log(2 / 3), -0.125),
            ("exp-s1-0", 1, 0, "val", "exp-s2-0", 2, 0, "val", "10", None, False,
             None, None, None, None, None, -0.25),
        ]
    )  # fmt: skip


def test_named_runs_stand_in_their_order(two: Store) -> None:
    """--a and --b take beginnings of ids; the other way round the difference changes its sign."""
    answer = ask(two, "compare-runs", Choice(cases=("04",)), {"a": "exp-s2", "b": "exp-s1"})
    assert answer.title == "runs exp-s2-0 and exp-s1-0"
    assert [(r["run_a"], r["run_b"], r["p_true_difference"]) for r in answer.records()] == [
        ("exp-s2-0", "exp-s1-0", -0.25)
    ]


def test_a_subset_is_of_both_runs(three: Store) -> None:
    """With --subset a case counts where both runs had it in this subset; of other splits' test subsets, none."""
    with pytest.raises(UsageError, match="no two runs here that predicted the same case"):
        ask(three, "compare-runs", Choice(subset="test")).rows()


def test_every_pair_of_an_experiment(three: Store) -> None:
    """Three runs make three pairs over their three cases, and --case narrows the cases, not the runs."""
    pairs = [("exp-s1-0", "exp-s2-0"), ("exp-s1-0", "exp-s3-0"), ("exp-s2-0", "exp-s3-0")]
    rows = ask(three, "compare-runs").records()
    assert [(r["run_a"], r["run_b"], r["case_id"]) for r in rows] == [(*p, c) for p in pairs for c in ("2", "10", "46")]
    assert {(r["js_divergence"], r["kl_divergence"], r["jaccard"]) for r in rows} == {(0, 0, 1)}
    rows = ask(three, "compare-runs", Choice(cases=("46",))).records()
    assert [(r["run_a"], r["run_b"], r["case_id"]) for r in rows] == [(*p, "46") for p in pairs]


def test_seeds_are_compared_too(two: Store) -> None:
    """All seeds answer unless one is said."""
    weights = levels({**dict.fromkeys(FOUR, 1.0)})
    make_run(two, "exp-s1-1", {"4": "test"}, {"4": 0}, {"4": (0.5, 0.5)}, weights, seed=1, n_splits=2)
    rows = ask(two, "compare-runs").records()
    assert sorted({(r["run_a"], r["run_b"]) for r in rows}) == [
        ("exp-s1-0", "exp-s1-1"), ("exp-s1-0", "exp-s2-0"), ("exp-s1-1", "exp-s2-0"),
    ]  # fmt: skip
    rows = ask(two, "compare-runs", Choice(seed=0)).records()
    assert {(r["run_a"], r["run_b"]) for r in rows} == {("exp-s1-0", "exp-s2-0")}


@pytest.mark.parametrize(
    ("choice", "values", "message"),
    [
        ({}, {"a": "exp-s1"}, "give --a and --b, or neither"),
        ({}, {"a": "exp-s1", "b": "exp-s1-0"}, "are both run exp-s1-0: name two"),
        ({}, {"a": "exp", "b": "exp-s1"}, "run 'exp' is ambiguous"),
        ({}, {"a": "nothing", "b": "exp-s1"}, "there is no finished run 'nothing'"),
        ({"run": "exp-s1"}, {"a": "exp-s1", "b": "exp-s2"}, "leave out --run, --experiment, --split and --seed"),
        ({"run": "exp-s1"}, {}, "name two by --a and --b"),
        ({"cases": ("10",)}, {"a": "exp-s1", "b": "exp-s2"}, "no case over the same patches"),
        ({"cases": ("5",)}, {}, "there is no case '5'"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    two: Store, choice: dict[str, object], values: dict[str, object], message: str
) -> None:
    """Unknown, single or incomparable runs are refused with what to do."""
    with pytest.raises(UsageError, match=message):
        ask(two, "compare-runs", Choice(**choice), values).rows()  # type: ignore[arg-type]


def test_its_report(two: Store) -> None:
    """The report counts what could be compared, and gives the medians over it."""
    lines = report(ask(two, "compare-runs").records()).splitlines()
    assert lines[0] == ("exp-s1-0 and exp-s2-0: 2 of 3 shared cases are over the same patches; medians over these")
    assert lines[1:3] == ["  spearman: -1.000", "  jaccard: 0.000"] and lines[-1] == "  |p_true_difference|: 0.250"


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_scipy(tmp_path: Path, seed: int) -> None:
    """On random stores every measure is scipy's, or numpy's."""
    store = random_store(tmp_path / "random", seed)
    attention = frame(store, "select * from attention order by case_id, stain, slice_idx, patch_idx")
    p_true = frame(store, "select * from predictions").set_index(["run_id", "case_id"]).p_true
    found = ask(store, "compare-runs", values={"pct": 40}).df()
    assert list(found.case_id) == [str(i) for i in range(1, 13)]
    for row in found.itertuples():
        a, b = (
            attention[(attention.run_id == run) & (attention.case_id == row.case_id)] for run in (row.run_a, row.run_b)
        )
        p, q = (side.effective_attention.to_numpy(float) for side in (a, b))
        p, q = p / p.sum(), q / q.sum()
        k = max(1, len(p) * 40 // 100)
        top_a, top_b = ((side["rank"] <= k).to_numpy() for side in (a, b))
        assert row.jaccard == (top_a & top_b).sum() / (top_a | top_b).sum()
        assert row.cosine == pytest.approx(1 - cosine(p, q))
        assert row.js_divergence == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=1e-9)
        assert row.kl_divergence == pytest.approx(np.sum(p * np.log((p + 1e-12) / (q + 1e-12))), abs=1e-9)
        assert row.p_true_difference == p_true[row.run_a, row.case_id] - p_true[row.run_b, row.case_id]
        if min(len(set(p)), len(set(q))) > 1:
            assert row.spearman == pytest.approx(spearmanr(p, q).statistic)
        else:
            assert np.isnan(row.spearman)


def mean_ranks(weights: Mapping[Patch, float]) -> dict[Patch, float]:
    """Ranks from 1 for the highest, by counting."""
    values = list(weights.values())
    return {
        patch: sum(each > weight for each in values) + (values.count(weight) + 1) / 2
        for patch, weight in weights.items()
    }


def expected(a: Mapping[Patch, float], b: Mapping[Patch, float], pct: float) -> list[float | None]:
    """The measures of a pair by their definitions, patch by patch; all null over different patches."""
    if set(a) != set(b):
        return [None] * 5
    ps, qs = (dict(zip(side, np.array(list(side.values())) / sum(side.values()), strict=True)) for side in (a, b))
    ranks, tops, middle = (mean_ranks(a), mean_ranks(b)), [], (len(a) + 1) / 2
    for side in (a, b):
        # Equal weights are told apart by their places.
        in_order = sorted(side, key=lambda patch: (-side[patch], patch))
        tops.append(set(in_order[: max(1, int(len(a) * pct // 100))]))
    off = [[of_side[patch] - middle for patch in a] for of_side in ranks]
    spread = [sum(x * x for x in side) for side in off]
    spearman = sum(x * y for x, y in zip(*off, strict=True)) / sqrt(spread[0] * spread[1]) if all(spread) else None
    pairs = [(ps[patch], qs[patch]) for patch in a]
    js = sum(each * log2(2 * each / (p + q)) / 2 for p, q in pairs for each in (p, q) if each > 0)
    cosine_ = sum(p * q for p, q in pairs) / sqrt(sum(p * p for p, _ in pairs) * sum(q * q for _, q in pairs))
    kl = sum(p * log((p + 1e-12) / (q + 1e-12)) for p, q in pairs)
    return [spearman, len(tops[0] & tops[1]) / len(tops[0] | tops[1]), cosine_, js, kl]


@pytest.mark.parametrize("seed", range(3))
def test_measures_are_those_of_a_plain_loop(tmp_path: Path, seed: int) -> None:
    """Over every pair of five runs, among weights with ties, zeros and nothing but one value, of runs that saw more or
    fewer patches of a case, and were told of them in different orders."""
    random = np.random.default_rng(seed)
    labels = {"2": 0, "10": 1, "5": 1}
    patches: list[Patch] = [
        (case, stain, i, p)
        for case in labels
        for stain in ("h&e", "melan")
        for i in range(2)
        for p in range(random.integers(1, 9))
    ]
    store = make_store(tmp_path / "five", labels, patches)
    runs: dict[str, pa.Table] = {}
    chances = {}
    for number in range(5):
        # The first of a slice has some weight: a slice without any has no attention within it.
        weights = {p: float(random.integers(0, 4) ** 2 + (p[3] == 0)) for p in patches}
        if number == 1:
            weights |= {p: 1.0 for p in patches if p[0] == "2"}
        if number in (2, 3):
            weights = {p: weight for p, weight in weights.items() if p[:2] != ("10", "melan")}
        if number == 4:
            weights = {p: weight for p, weight in weights.items() if p[0] != "5" or p[2] == 0}
        chances[f"exp-s{number + 1}-0"] = {case: (1 - p, p) for case, p in zip(labels, random.random(3), strict=True)}
        order = random.permutation(len(weights))
        runs[f"exp-s{number + 1}-0"] = levels({list(weights)[i]: list(weights.values())[i] for i in order})
    for split, (run, attention) in enumerate(runs.items(), start=1):
        make_run(
            store, run, dict.fromkeys(labels, "test"), labels, chances[run], attention, split=split, n_splits=5
        )  # fmt: skip
    found = ask(store, "compare-runs", values={"pct": 30}).records()
    cases = [(a, b, case) for a, b in combinations(runs, 2) for case in ("2", "5", "10")]
    assert [(row["run_a"], row["run_b"], row["case_id"]) for row in found] == cases
    for row, (a, b, case) in zip(found, cases, strict=True):
        measures = expected(*(stored(runs[run], case) for run in (a, b)), pct=30)
        difference = chances[a][case][labels[case]] - chances[b][case][labels[case]]
        assert [row[name] for name in COLUMNS[-6:]] == pytest.approx([*measures, difference], abs=1e-9)


def stored(attention: pa.Table, case: str) -> dict[Patch, float]:
    """Effective attention of a case's patches, in the numbers that a file holds."""
    rows = [row for row in attention.to_pylist() if row["case_id"] == case]
    return {tuple(row[name] for name in PLACE): float(np.float32(row["effective_attention"])) for row in rows}


@pytest.mark.parametrize("bound", ["100_000_000", "5_000_000_000"])
def test_too_much_is_refused_before_it_is_read(three: Store, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    """More patches, or more comparisons of patches, than a question has memory and time for are one line that says what
    to do; and a single pair of these runs, or a case, is compared."""
    asked = queries.load("compare-runs")
    patches = len(THREE_PATCHES)
    smaller = asked.sql.replace(bound, str(2 * patches))
    assert smaller != asked.sql
    monkeypatch.setattr(queries, "load", lambda *_: replace(asked, sql=smaller))
    message = (
        f"3 pairs of runs with {3 * patches} patches are too many to compare: give --seed, two runs by --a and --b"
    )
    with pytest.raises(UsageError, match=message):
        ask(three, "compare-runs").rows()
    assert len(ask(three, "compare-runs", values={"a": "exp-s1", "b": "exp-s2"}).rows()) == 3
    assert len(ask(three, "compare-runs", Choice(cases=("46",))).rows()) == 3


def test_its_chart_of_pairs(three: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row a pair and a column a measure: few pairs are dots with whiskers, many are heat maps."""
    spec = drawn(three, "compare-runs")
    assert [(row["a"], row["b"]) for row in rows_of(spec)] == [
        ("split 1", "split 2"), ("split 1", "split 3"), ("split 2", "split 3"),
    ]  # fmt: skip
    assert len(spec["hconcat"]) == 4
    assert {part["mark"]["type"] for panel in spec["hconcat"] for part in panel["layer"]} == {"rule", "point"}
    monkeypatch.setattr(compare_runs, "_MOST_PAIRS", 2)
    assert len(drawn(three, "compare-runs")["concat"]) == 4


def test_its_chart_of_one_pair(two: Store) -> None:
    """Of two runs every case is drawn, the least alike first, and what was left out is told."""
    spec = drawn(two, "compare-runs")
    assert [row["case_id"] for row in rows_of(spec)] == ["4", "7", "10"]
    assert "1 of 3 comparisons left out" in subtitle_of(spec)
