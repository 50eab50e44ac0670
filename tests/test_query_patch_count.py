"""`patch-count`: how many patches a case has against the error."""

from pathlib import Path

import pytest
from scipy.stats import spearmanr

from milstore.analysis.concentration import report_of_counts
from milstore.asking.ask import ask
from milstore.store import Store
from tests.attended import frame, random_store, rounded
from tests.drawing import drawn, subtitle_of


def test_counts_and_their_correlation(three: Store) -> None:
    """6, 10 and 3 patches, one of each in the top 5%: of the two benign cases rho is 1 for all, and undefined for the top."""
    answer = ask(three, "patch-count")
    assert answer.columns == [
        "counted", "case_id", "true_class", "outcome", "error", "patches", "subset", "run_id",
        "rho", "rho_low", "rho_high", "p_value", "n", "n_cases", "pooled_rho", "pooled_low", "pooled_high",
    ]  # fmt: skip
    cases = [
        ("2", "high-grade", "right", 0.1, 1, 6, "exp-s1-0"),
        ("10", "benign", "wrong", 0.7, 1, 10, "exp-s2-0"),
        ("46", "benign", "right", 0.2, 1, 3, "exp-s3-0"),
    ]
    assert rounded(answer.rows()) == [
        *(
            ("top 5%", *c[:4], c[4], "test", c[6], *[None] * 4, n, n, *[None] * 3)
            for c, n in zip(cases, (1, 2, 2), strict=True)
        ),
        ("all", *cases[0][:4], 6, "test", cases[0][6], *[None] * 4, 1, 1, *[None] * 3),
        *(("all", *c[:4], c[5], "test", c[6], 1.0, *[None] * 3, 2, 2, *[None] * 3) for c in cases[1:]),
    ]


def test_its_report(three: Store) -> None:
    """What is undefined is called so."""
    text = report_of_counts(ask(three, "patch-count").records())
    assert text.splitlines() == [
        "top 5%, benign: ρ undefined, 2 cases",
        "top 5%, high-grade: ρ undefined, 1 case",
        "top 5%, not pooled: not all classes go the same way",
        "all, benign: ρ = 1.00, 2 cases",
        "all, high-grade: ρ undefined, 1 case",
        "all, not pooled: not all classes go the same way",
    ]


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_pandas_and_scipy(tmp_path: Path, seed: int) -> None:
    """On random stores the counts are those of the patches, and rho is scipy's."""
    store = random_store(tmp_path / "random", seed)
    counts = frame(store, "select case_id, count(*) as n from patches group by all").set_index("case_id").n
    found = ask(store, "patch-count", values={"pct": 30}).df()
    for counted, expected in {"all": counts, "top 30%": (counts * 3 // 10).clip(lower=1)}.items():
        mine = found[found.counted == counted].set_index("case_id")
        assert mine.patches.to_dict() == expected.to_dict()
        for _, of_class in mine.groupby("true_class"):
            rho = spearmanr(of_class.patches, of_class.error)
            assert (of_class.rho.iloc[0], of_class.p_value.iloc[0]) == pytest.approx(
                (rho.statistic, rho.pvalue), nan_ok=True
            )


def test_its_chart(three: Store) -> None:
    """Two panels, each with what is known of its correlation."""
    spec = drawn(three, "patch-count")
    assert [panel["title"]["text"] for panel in spec["vconcat"][1]["concat"]] == ["top 5%", "all patches"]
    assert subtitle_of(spec).startswith("All patches: benign ρ = 1.00, high-grade ρ undefined; not pooled")
