"""`stain-attention`: the weight of each stain, and which stain leads."""

import pytest

from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.store import Store
from tests.attending import Attended, random_store
from tests.drawing import drawn, subtitle_of


def test_three_cases(three: Store) -> None:
    """In case 2 both stains weigh half, and none leads; case 46 has one stain, which weighs all."""
    found = ask(three, "stain-attention")
    assert found.columns == [
        "run_id", "case_id", "subset", "true_class", "outcome", "error", "stain", "stain_attention", "even", "leads",
        "tied", "stain_slices", "stain_patches", "leads_in_class", "cases_in_class", "tied_in_class",
    ]  # fmt: skip
    near = pytest.approx
    assert found.rows() == [
        ("exp-s1-0", "2", "test", "high-grade", "right", near(0.1), "h&e", 0.5, 0.5, False, True, 1, 4, 0, 1, 1),
        ("exp-s1-0", "2", "test", "high-grade", "right", near(0.1), "melan", 0.5, 0.5, False, True, 1, 2, 0, 1, 1),
        (
            "exp-s2-0",
            "10",
            "test",
            "benign",
            "wrong",
            near(0.7),
            "h&e",
            near(18 / 40),
            0.5,
            False,
            False,
            2,
            6,
            1,
            2,
            0,
        ),
        (
            "exp-s2-0",
            "10",
            "test",
            "benign",
            "wrong",
            near(0.7),
            "sox10",
            near(22 / 40),
            0.5,
            True,
            False,
            1,
            4,
            1,
            2,
            0,
        ),
        ("exp-s3-0", "46", "test", "benign", "right", near(0.2), "h&e", 1.0, 1.0, True, False, 1, 3, 1, 2, 0),
    ]


@pytest.fixture(scope="module")
def attended(tmp_path_factory: pytest.TempPathFactory) -> Attended:
    """Random cases of three classes."""
    return random_store(tmp_path_factory.mktemp("random") / "store", 4, n_cases=20, n_classes=3)


def test_as_pandas_finds(attended: Attended) -> None:
    """Weights are the sums of effective attention, and each class's leaders are counted as pandas counts them."""
    found = ask(attended.store, "stain-attention").df()
    sums = attended.attention.groupby(["case_id", "true_label", "stain"])["effective_attention"].sum().reset_index()
    merged = found.merge(sums, on=["case_id", "stain"])
    assert len(merged) == len(found) == len(sums)
    assert merged["stain_attention"].to_numpy() == pytest.approx(merged["effective_attention"].to_numpy(), abs=1e-5)
    leaders = sums.loc[sums.groupby("case_id")["effective_attention"].idxmax()]
    counts = leaders.groupby(["true_label", "stain"]).size()
    for row in found.itertuples():
        label = int(str(row.true_class).removeprefix("class-"))
        assert row.leads_in_class == counts.get((label, row.stain), 0)
        assert row.cases_in_class == (leaders["true_label"] == label).sum()


def test_its_charts(attended: Attended, three: Store) -> None:
    """Every case is in it; and one case that is asked for stands out among them."""
    spec = drawn(attended.store, "stain-attention")
    cases = {row["case_id"] for rows in spec["datasets"].values() for row in rows if "case_id" in row}
    assert cases == set(attended.attention["case_id"])
    spec = drawn(three, "stain-attention", Choice(cases=("46",)))
    rows = [row for rows in spec["datasets"].values() for row in rows if "asked" in row]
    assert {row["case_id"]: row["asked"] for row in rows} == {"2": False, "10": False, "46": True}
    assert "Case 46 (benign, called right): h&e 100%." in subtitle_of(spec)
