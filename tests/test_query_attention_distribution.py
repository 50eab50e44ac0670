"""`attention-distribution`: how a case's effective attention spreads over its patches."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.errors import UsageError
from milstore.store import Store
from tests.attending import Attended, random_store
from tests.drawing import drawn, rows_of, subtitle_of

TEN = Choice(cases=("10",))


def test_a_case_in_four_bins(three: Store) -> None:
    """Case 10's weights, in fortieths: 10, 8, 7, 6, three of 2 and three of 1; a bin is two and a half fortieths."""
    found = ask(three, "attention-distribution", TEN, {"bins": 4})
    assert found.columns == [
        "run_id", "case_id", "subset", "true_class", "outcome", "bin", "low", "high", "patches", "attention", "uniform",
        "case_patches",
    ]  # fmt: skip
    start, near = ("exp-s2-0", "10", "test", "benign", "wrong"), pytest.approx
    assert found.rows() == [
        (*start, 0, 0.0, 0.0625, 6, near(9 / 40), 0.1, 10),
        (*start, 1, 0.0625, 0.125, 0, 0.0, 0.1, 10),
        (*start, 2, 0.125, 0.1875, 2, near(13 / 40), 0.1, 10),
        (*start, 3, 0.1875, 0.25, 2, near(18 / 40), 0.1, 10),
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


@pytest.mark.thorough
def test_its_chart(three: Store, attended: Attended) -> None:
    """Counts, the even share in words, and a logarithmic axis where it is asked for."""
    spec = drawn(three, "attention-distribution", TEN, {"bins": 4})
    assert [row["patches"] for row in rows_of(spec)] == [6, 0, 2, 2]
    assert "even share 1 / 10 = 0.1 (dashed)" in subtitle_of(spec)
    drawn(attended.store, "attention-distribution", Choice(cases=("3",)), {"log": True})


def test_several_runs_are_not_mixed(three: Store) -> None:
    """A chart of one case shows one run; which one must be said."""
    with pytest.raises(UsageError, match="3 runs answer for this case: choose one"):
        drawn(three, "attention-distribution", Choice(cases=("10",), subset="all"))
