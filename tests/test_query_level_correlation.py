"""`level-correlation`: correlation of each level's attention with effective attention."""

from pathlib import Path

import pytest
from scipy.stats import pearsonr, spearmanr

from milstore.asking.ask import ask
from milstore.store import Store
from tests.attended import frame, random_store
from tests.drawing import drawn, subtitle_of
from tests.making import Patch, levels, make_run, make_store

COLUMNS = [
    "case_id", "true_class", "outcome", "error", "n_patches", "level", "pearson", "spearman", "undefined",
    "pearson_class", "spearman_class", "pearson_all", "spearman_all", "tied_patches", "subset", "run_id",
]  # fmt: skip


def test_levels_of_three_cases(three: Store) -> None:
    """Where one level alone varies it is effective attention itself; what does not vary is undefined, and why."""
    answer = ask(three, "level-correlation")
    assert answer.columns == COLUMNS
    found = {(r["case_id"], r["level"]): (r["pearson"], r["spearman"], r["undefined"]) for r in answer.records()}
    one, even = pytest.approx(1), "stain attention is even"
    assert {key: value for key, value in found.items() if key[0] != "10"} == {
        ("2", "patch"): (one, one, None),
        ("2", "slice"): (None, None, "one slice a stain"),
        ("2", "stain"): (None, None, even),
        ("46", "patch"): (one, one, None),
        ("46", "slice"): (None, None, "one slice a stain"),
        ("46", "stain"): (None, None, "one stain"),
    }


def test_correlations_by_hand(tmp_path: Path) -> None:
    """Two stains of one slice: weights 3, 1 and 4, 4 of 12; stain attention is 1/3 and 2/3."""
    patches: list[Patch] = [("a", stain, 0, i) for stain in ("h&e", "melan") for i in (0, 1)]
    store = make_store(tmp_path / "one", {"a": 0}, patches)
    weights = levels(dict(zip(patches, (3, 1, 4, 4), strict=True)))
    make_run(store, "exp-s1-0", {"a": "test"}, {"a": 0}, {"a": (0.9, 0.1)}, weights)
    found = {r["level"]: r for r in ask(store, "level-correlation").records()}
    # Patch attention 3, 1, 2, 2 quarters with 3, 1, 4, 4 twelfths: centred 1, -1, 0, 0 and 0, -2, 1, 1.
    assert found["patch"]["pearson"] == pytest.approx(2 / (2 * 6) ** 0.5)
    # Ranks 4, 1, 2.5, 2.5 and 2, 1, 3.5, 3.5: centred 1.5, -1.5, 0, 0 and -0.5, -1.5, 1, 1.
    assert found["patch"]["spearman"] == pytest.approx(1.5 / (4.5 * 4.5) ** 0.5)
    # Stain attention 1, 1, 2, 2 thirds: centred -0.5, -0.5, 0.5, 0.5 with 0, -2, 1, 1.
    assert found["stain"]["pearson"] == pytest.approx(2 / (1 * 6) ** 0.5)
    assert found["stain"]["pearson_all"] == pytest.approx(found["stain"]["pearson"])
    assert found["slice"]["undefined"] == "one slice a stain" and found["slice"]["pearson_all"] is None


def test_what_is_even_is_called_so(tmp_path: Path) -> None:
    """One patch; a patch a slice; slices of even weight: each has its own reason."""
    patches: list[Patch] = [("one", "h&e", 0, 0), *(("two", "h&e", i, 0) for i in (0, 1))]
    store = make_store(tmp_path / "even", {"one": 0, "two": 0}, patches)
    make_run(
        store, "exp-s1-0", {"one": "test", "two": "test"}, {"one": 0, "two": 0},
        {"one": (0.9, 0.1), "two": (0.9, 0.1)}, levels(dict.fromkeys(patches, 1.0)),
    )  # fmt: skip
    found = [(r["case_id"], r["level"], r["undefined"]) for r in ask(store, "level-correlation").records()]
    assert found == [
        ("one", "patch", "one patch"),
        ("one", "slice", "one patch"),
        ("one", "stain", "one patch"),
        ("two", "patch", "one patch a slice"),
        ("two", "slice", "slice attention is even"),
        ("two", "stain", "one stain"),
    ]
    drawn(store, "level-correlation")


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_scipy(tmp_path: Path, seed: int) -> None:
    """On random stores both correlations, per case and over all, are scipy's."""
    store = random_store(tmp_path / "random", seed)
    attention = frame(
        store, "select attention.* from attention join predictions using (run_id, case_id) where subset = 'test'"
    )
    weights = attention.astype({name: "float64" for name in attention if name.endswith("_attention")})
    found = ask(store, "level-correlation").df()
    for row in found.itertuples():
        of_case = weights[(weights.run_id == row.run_id) & (weights.case_id == row.case_id)]
        pairs = of_case[f"{row.level}_attention"], of_case.effective_attention
        if row.undefined is not None and row.undefined == row.undefined:
            assert min(pairs[0].nunique(), pairs[1].nunique()) == 1
        else:
            assert row.pearson == pytest.approx(pearsonr(*pairs).statistic)
            assert row.spearman == pytest.approx(spearmanr(*pairs).statistic)
    classes = found.drop_duplicates("case_id").set_index("case_id")["true_class"]
    for level, rows in found.groupby("level"):
        pairs = weights[f"{level}_attention"], weights.effective_attention
        for measure, by in (("pearson", pearsonr), ("spearman", spearmanr)):
            of_class = rows.groupby("true_class")[f"{measure}_class"].first()
            for name, value in of_class.items():
                mine = weights.case_id.map(classes) == name
                assert value == pytest.approx(by(pairs[0][mine], pairs[1][mine]).statistic)
            over_all = rows[f"{measure}_all"].iloc[0]
            agree = of_class.min() > 0 or of_class.max() < 0
            assert over_all == pytest.approx(by(*pairs).statistic) if agree else over_all != over_all


def test_its_chart(three: Store) -> None:
    """Cases without a correlation are counted in words, and drawn nowhere; no axis reaches below -1."""
    spec = drawn(three, "level-correlation")
    assert "Undefined, and not drawn, of 3 cases: slice 2, stain 2" in subtitle_of(spec)
    # Case 10 has all levels; 2 and 46 have that of patches alone.
    rows = [row for rows in spec["datasets"].values() for row in rows if "group" in row and row.get("case_id")]
    assert sorted({(row["case_id"], row["group"]) for row in rows}) == [
        ("10", "patch"), ("10", "slice"), ("10", "stain"), ("2", "patch"), ("46", "patch"),
    ]  # fmt: skip
    assert [side["layer"][1]["layer"][0]["encoding"]["y"]["scale"]["domain"] for side in spec["hconcat"]] == [
        [-1, 1]
    ] * 2
