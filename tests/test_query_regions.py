"""`regions`: which annotated regions attention falls in."""

import pytest

from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.store import Store
from tests.attending import Attended, random_store
from tests.drawing import drawn, subtitle_of
from tests.making import make_regions


def test_three_cases(three: Store) -> None:
    """Of the annotated slices alone: attention's share over the patches' share; a patch in two regions counts in each."""
    found = ask(three, "regions")
    near = pytest.approx
    columns = ("case_id", "true_class", "region", "annotated", "region_patches", "region_attention", "attention_share",
               "patch_share", "times_even", "annotated_patches", "annotated_attention", "in_several")  # fmt: skip
    rows = [tuple(row[name] for name in columns) for row in found.records()]
    assert rows == [
        # Twentieths of the case: 4, 3 | 2, 1 on the h&e slice; the melan slice, with half the attention, has no region.
        ("2", "high-grade", "tumour", True, 2, near(7 / 20), near(0.7), 0.5, near(1.4), 4, near(0.5), 0),
        ("2", "high-grade", "outside", False, 2, near(3 / 20), near(0.3), 0.5, near(0.6), 4, near(0.5), 0),
        # Fortieths: 10, 1, 1 on the first h&e slice, 8, 7, 6, 1 on the sox10 one.
        ("10", "benign", "tumour", True, 3, near(25 / 40), near(25 / 34), near(3 / 7), near(175 / 102), 7, near(0.85), 1),
        ("10", "benign", "ulcer", True, 2, near(11 / 40), near(11 / 34), near(2 / 7), near(77 / 68), 7, near(0.85), 1),
        ("10", "benign", "outside", False, 3, near(8 / 40), near(8 / 34), near(3 / 7), near(56 / 102), 7, near(0.85), 1),
        # Quarters: 1, 2, 1.
        ("46", "benign", "ulcer", True, 1, near(0.5), near(0.5), near(1 / 3), near(1.5), 3, near(1.0), 0),
        ("46", "benign", "outside", False, 2, near(0.5), near(0.5), near(2 / 3), near(0.75), 3, near(1.0), 0),
    ]  # fmt: skip
    classes = [(row["true_class"], row["region"], row["region_cases"], row["class_cases"]) for row in found.records()]
    assert classes == [
        ("high-grade", "tumour", 1, 1), ("high-grade", "outside", 1, 1), ("benign", "tumour", 1, 2), ("benign", "ulcer", 2, 2),
        ("benign", "outside", 2, 2), ("benign", "ulcer", 2, 2), ("benign", "outside", 2, 2),
    ]  # fmt: skip
    assert found.records()[3]["class_times_even"] == near((77 / 68 + 1.5) / 2)
    assert found.notes == [
        "1 patch in several regions: counted in each",
        "in 2 cases attention lies on slices without a region too: shares are of the annotated slices alone, which hold 50% "
        "of a case's attention or more",
    ]


def test_a_region_called_outside_is_not_what_lies_in_none(three: Store) -> None:
    """Its row says that it is annotated."""
    make_regions(three, {"outside": [("46", "h&e", 0, 5)]})
    found = ask(three, "regions")
    rows = [(row["region"], row["annotated"], row["region_patches"], row["attention_share"]) for row in found.records()]
    assert rows == [("outside", True, 1, pytest.approx(0.5)), ("outside", False, 2, pytest.approx(0.5))]
    assert found.notes == ["without an annotated region, and not in this answer: 2 cases"]
    marks = {row["group"] for rows in drawn(three, "regions")["datasets"].values() for row in rows if "group" in row}
    assert marks == {"outside (a region)", "outside"}


def test_without_regions(three: Store) -> None:
    """There is no row, and it is said what takes regions in."""
    make_regions(three, {"ulcer": []})
    found = ask(three, "regions")
    assert found.rows() == []
    assert found.notes == ["no slice of these cases has an annotated region: milstore ingest regions takes them in"]


@pytest.fixture(scope="module")
def attended(tmp_path_factory: pytest.TempPathFactory) -> Attended:
    """Random cases of two classes."""
    return random_store(tmp_path_factory.mktemp("random") / "store", 7, n_cases=12)


def test_as_pandas_finds(attended: Attended) -> None:
    """Sums and counts by case and region, medians by class."""
    places = ["case_id", "stain", "slice_idx", "patch_idx"]
    patches = attended.attention[places].drop_duplicates()
    inside = patches[patches["patch_idx"] % 3 == 0]
    make_regions(attended.store, {"third": list(inside.itertuples(index=False, name=None))})
    found = ask(attended.store, "regions").df()
    table = attended.attention.merge(inside[places[:3]].drop_duplicates(), on=places[:3])
    table = table.merge(inside.assign(region="third"), on=places, how="left").fillna({"region": "outside"})
    sums = table.groupby(["case_id", "region"])["effective_attention"].agg(["sum", "size"]).reset_index()
    whole = table.groupby("case_id")["effective_attention"].agg(["sum", "size"])
    merged = found.merge(sums, on=["case_id", "region"])
    assert len(merged) == len(found) == len(sums) > 12
    shares = merged["sum"] / merged["case_id"].map(whole["sum"])
    even = merged["size"] / merged["case_id"].map(whole["size"])
    assert merged["attention_share"].to_numpy() == pytest.approx(shares.to_numpy(), abs=1e-6)
    assert merged["times_even"].to_numpy() == pytest.approx((shares / even).to_numpy(), rel=1e-5)
    medians = found.groupby(["true_class", "region"])["times_even"].transform("median")
    assert found["class_times_even"].to_numpy() == pytest.approx(medians.to_numpy())


def test_its_charts(three: Store) -> None:
    """All cases are drawn, and one that is asked for is said with its regions."""
    spec = drawn(three, "regions")
    assert {row["case_id"] for rows in spec["datasets"].values() for row in rows if "case_id" in row} == {
        "2",
        "10",
        "46",
    }
    assert "benign, times the even share (median): tumour ×1.7 (1 of 2 cases), ulcer ×1.3" in subtitle_of(spec)
    spec = drawn(three, "regions", Choice(cases=("2",)))
    said = "Case 2 (high-grade, called right): tumour 70% of attention on 50% of patches; outside 30% of attention on 50% of"
    assert said in subtitle_of(spec)
