"""`patch-count`: how many patches a case has against the error."""

from pathlib import Path

import pytest
from scipy.stats import spearmanr

from milstore.analysis.concentration import report_of_counts
from milstore.asking.ask import ask
from milstore.store import Store
from tests.attended import frame, random_store, rounded
from tests.drawing import drawn


def test_counts_and_their_correlation(three: Store) -> None:
    """6, 10 and 3 patches, one of each in the top 5%: rho of the first is 0.5, of the second undefined."""
    answer = ask(three, "patch-count")
    assert answer.columns == [
        "counted", "case_id", "true_class", "outcome", "error", "patches", "subset", "run_id",
        "rho", "p_value", "n", "n_cases",
    ]  # fmt: skip
    cases = [
        ("2", "high-grade", "right", 0.1, 1, 6, "exp-s1-0"),
        ("10", "benign", "wrong", 0.7, 1, 10, "exp-s2-0"),
        ("46", "benign", "right", 0.2, 1, 3, "exp-s3-0"),
    ]
    assert rounded(answer.rows()) == [
        *(("top 5%", *c[:4], c[4], "test", c[6], None, None, 3, 3) for c in cases),
        *(("all", *c[:4], c[5], "test", c[6], 0.5, 0.666667, 3, 3) for c in cases),
    ]


def test_its_report(three: Store) -> None:
    """What is undefined is called so."""
    text = report_of_counts(ask(three, "patch-count").records())
    assert text == "top 5%: ρ undefined, 3 cases\nall: ρ = 0.50, p = 0.667, 3 cases\n"


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_pandas_and_scipy(tmp_path: Path, seed: int) -> None:
    """On random stores the counts are those of the patches, and rho is scipy's."""
    store = random_store(tmp_path / "random", seed)
    counts = frame(store, "select case_id, count(*) as n from patches group by all").set_index("case_id").n
    found = ask(store, "patch-count", values={"pct": 30}).df()
    for counted, expected in {"all": counts, "top 30%": (counts * 3 // 10).clip(lower=1)}.items():
        mine = found[found.counted == counted].set_index("case_id")
        assert mine.patches.to_dict() == expected.to_dict()
        rho = spearmanr(mine.patches, mine.error)
        assert (mine.rho.iloc[0], mine.p_value.iloc[0]) == pytest.approx((rho.statistic, rho.pvalue))


@pytest.mark.thorough
def test_its_chart(three: Store) -> None:
    """Two panels, each with what is known of its correlation."""
    spec = drawn(three, "patch-count")
    heads = [(panel["title"]["text"], panel["title"]["subtitle"]) for panel in spec["concat"]]
    assert heads == [("top 5%", "ρ undefined, 3 cases"), ("all", "ρ = 0.50, p = 0.667, 3 cases")]
