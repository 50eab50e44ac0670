"""`attention-distribution`: how a case's effective attention spreads over its patches."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.errors import UsageError
from milstore.store import Store
from tests.attending import Attended, random_store
from tests.drawing import drawn, subtitle_of
from tests.making import Patch, levels, make_run, make_store

TEN = Choice(cases=("10",))


def test_a_case_in_four_bins(three: Store) -> None:
    """Case 10's weights, in fortieths: 10, 8, 7, 6, three of 2 and three of 1; a bin is two and a half fortieths.

    From the highest bin down they add up: two patches hold 18 fortieths, four of them 31, all ten 40.
    """
    found = ask(three, "attention-distribution", TEN, {"bins": 4})
    assert found.columns == [
        "run_id", "case_id", "subset", "true_class", "outcome", "bin", "low", "high", "patches", "attention", "uniform",
        "case_patches", "top_patches", "top_attention", "even_patches",
    ]  # fmt: skip
    start, near = ("exp-s2-0", "10", "test", "benign", "wrong"), pytest.approx
    assert found.rows() == [
        (*start, 0, 0.0, 0.0625, 6, near(9 / 40), 0.1, 10, 10, near(1.0), near(10.0)),
        (*start, 1, 0.0625, 0.125, 0, 0.0, 0.1, 10, 4, near(31 / 40), near(7.75)),
        (*start, 2, 0.125, 0.1875, 2, near(13 / 40), 0.1, 10, 4, near(31 / 40), near(7.75)),
        (*start, 3, 0.1875, 0.25, 2, near(18 / 40), 0.1, 10, 2, near(18 / 40), near(4.5)),
    ]


def test_its_logarithm(three: Store) -> None:
    """With --log the bins are decades of the weights: from one fortieth to ten, halves are the square root of ten."""
    found = ask(three, "attention-distribution", TEN, {"bins": 2, "log": True}).records()
    assert [(row["low"], row["high"], row["patches"]) for row in found] == [
        (pytest.approx(0.025, rel=1e-6), pytest.approx(0.025 * 10**0.5, rel=1e-6), 6),
        (pytest.approx(0.025 * 10**0.5, rel=1e-6), pytest.approx(0.25, rel=1e-6), 4),
    ]


@pytest.fixture(scope="module")
def attended(tmp_path_factory: pytest.TempPathFactory) -> Attended:
    """Random cases."""
    return random_store(tmp_path_factory.mktemp("random") / "store", 3)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=st.integers(1, 9), bins=st.integers(1, 60), log=st.booleans())
def test_as_numpy_counts(attended: Attended, case: int, bins: int, log: bool) -> None:
    """Every patch is in one bin, and counts agree with numpy's histogram but for weights on an edge."""
    found = ask(attended.store, "attention-distribution", Choice(cases=(str(case),)), {"bins": bins, "log": log}).df()
    weights = attended.attention.loc[attended.attention["case_id"] == str(case), "effective_attention"].to_numpy(float)
    assert found["patches"].sum() == len(weights)
    assert found["attention"].sum() == pytest.approx(1, abs=1e-4)
    assert (found["uniform"] == 1 / len(weights)).all()
    if not log or weights.min() < weights.max():
        scaled = np.log10(weights) if log else weights
        expected = np.histogram(scaled, bins, (scaled.min() if log else 0.0, scaled.max()))[0]
        assert np.abs(np.cumsum(found["patches"]) - np.cumsum(expected)).max() <= 1


def test_its_chart(three: Store, attended: Attended) -> None:
    """The curve goes through every number of patches, and the answer says how many an even share would need."""
    spec = drawn(three, "attention-distribution", TEN)
    curve = {
        row["k"]: row["share"] for rows in spec["datasets"].values() for row in rows if row.get("words") == "this case"
    }
    fortieths = {1: 10, 2: 18, 3: 25, 4: 31, 5: 33, 6: 35, 7: 37, 8: 38, 9: 39, 10: 40}
    assert {k: share * 40 for k, share in curve.items()} == pytest.approx(fortieths, abs=1e-4)
    assert subtitle_of(spec).startswith(
        "Case 10 (benign, called wrong): 5 of 10 patches hold 83% of the attention; an even share would need 8."
    )
    assert "Half of the attention lies in 3 patches. Even share: 1 / 10 = 0.1." in subtitle_of(spec)
    drawn(attended.store, "attention-distribution", Choice(cases=("3",)), {"bins": 5})


def test_ten_of_many(tmp_path: Path) -> None:
    """Ten patches of 2,498 that hold 77 %: the sentence says that an even share would need 1,923."""
    weights: dict[Patch, float] = {("64", "h&e", 0, i): 77 / 10 if i < 10 else 23 / 2488 for i in range(2498)}
    store = make_store(tmp_path / "store", {"64": 1}, list(weights))
    make_run(store, "exp-s1-0", {"64": "test"}, {"64": 1}, {"64": (0.1, 0.9)}, levels(weights))
    spec = drawn(store, "attention-distribution", Choice(cases=("64",)))
    # 0.77 * 2498 = 1923.46.
    assert subtitle_of(spec).startswith(
        "Case 64 (high-grade, called right): 10 of 2,498 patches hold 77% of the attention; an even share would need 1,923."
    )


def test_even_attention_is_its_own_even_share(tmp_path: Path) -> None:
    """Where all patches weigh the same, ten of a hundred hold 10 %, and an even share needs ten."""
    weights: dict[Patch, float] = {("64", "h&e", 0, i): 1.0 for i in range(100)}
    store = make_store(tmp_path / "store", {"64": 1}, list(weights))
    make_run(store, "exp-s1-0", {"64": "test"}, {"64": 1}, {"64": (0.1, 0.9)}, levels(weights))
    told = subtitle_of(drawn(store, "attention-distribution", Choice(cases=("64",))))
    assert "10 of 100 patches hold 10% of the attention; an even share would need 10." in told


def test_several_runs_are_not_mixed(three: Store) -> None:
    """A chart of one case shows one run; which one must be said."""
    with pytest.raises(UsageError, match="3 runs answer for this case: choose one"):
        drawn(three, "attention-distribution", Choice(cases=("10",), subset="all"))
