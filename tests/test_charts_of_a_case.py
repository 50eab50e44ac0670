"""A chart of one case, where that alone would be a lonely mark, shows it among all cases; and each says its answer first."""

from typing import Any

import pytest

from milstore import queries
from milstore.asking.selection import Choice
from milstore.charts.render import draws_cohort
from tests.drawing import of_three, subtitle_of

WITHIN = (
    "concentration", "deviation", "entropy", "level-correlation", "patch-count", "regions", "slice-pattern", "slice-spread",
    "stain-attention",
)  # fmt: skip
ANSWERS = {
    "attention-distribution": "Case 10 (benign, called wrong): 5 of 10 patches hold 83% of the attention",
    "concentration": "Top 5%: benign ρ = −1.00, high-grade ρ undefined; not pooled",
    "deviation": "Called wrong: 1 of 3 cases (benign 1 of 2, high-grade 0 of 1).",
    # Of 10 patches 1600 / 264 = 6.1 alike, of 3 patches 8 / 3.
    "entropy": "benign: as concentrated as on 4 of 6 patches alike (medians)",
    "level-correlation": "benign: patch attention goes most with effective attention (median ρ ",
    "patch-count": "All patches: benign ρ = 1.00, high-grade ρ undefined; not pooled",
    "patch-gallery": "Case 10 (benign, called wrong as high-grade), of its 10 patches the 8 most attended hold 95%",
    "patch-profile": "Case 10 (benign, called wrong as high-grade), sox10 · match_1: its highest patch holds 36%",
    "regions": "benign, times the even share (median): tumour ×1.7 (1 of 2 cases), ulcer ×1.3 (2 of 2 cases). high-grade",
    "selected-slices": "The 6 slices that weigh most hold 15% to 100% of their case (h&e 4, ",
    "slice-attention": "benign: the top slice of a stain has 1.3 times the even weight (median of 1 stains",
    "slice-map": "Case 10 (benign, called wrong as high-grade): 3 of 10 patches hold 62% of the attention",
    "slice-pattern": "benign: of 4 slices 4 too few. high-grade: of 2 slices 2 too few.",
    # A case's one top patch is in one slice, which is what drawing by lot would give.
    "slice-spread": "Relative spread: benign ρ undefined, high-grade ρ undefined; not pooled",
    "stain-attention": "benign: h&e and sox10 each lead in 1 of 2 cases. high-grade: 1 without a leader (tie).",
    "top-patch-list": "Case 2 (high-grade, called right): the 6 most attended of 6 patches hold 100%",
    "top-patches": "Case 2 (high-grade, called right): no patch stands out: all of the top 1 tie with one left out",
}
"""How what stands first under the title begins, for the store of three cases."""


def rows(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """All that a chart draws."""
    return [row for dataset in spec["datasets"].values() for row in dataset]


@pytest.mark.parametrize("name", WITHIN)
def test_a_case_stands_out_among_all(name: str) -> None:
    """All three cases are drawn, the one that was asked for is marked and named, and the numbers are those of all."""
    drawn = of_three(name, Choice(cases=("46",)))
    marked = {row["case_id"]: row["asked"] for row in rows(drawn.spec) if "asked" in row and row.get("case_id")}
    # 46 has nothing to correlate but on one level, and is marked there.
    assert marked == {"2": False, "10": False, "46": True}
    told = subtitle_of(drawn.spec)
    assert "case 46" in told.lower()
    assert "the others are paler" in told
    whole = subtitle_of(of_three(name).spec)
    assert told.startswith(whole.split(" experiment ")[0].split("Case")[0].rstrip())


@pytest.mark.parametrize("name", WITHIN)
def test_a_case_that_was_trained_on_is_drawn_too(name: str) -> None:
    """Of a run, case 46 is no test case: it stands beside the one that is."""
    spec = of_three(name, Choice(run="exp-s1-0", cases=("46",))).spec
    marked = {row["case_id"]: row["asked"] for row in rows(spec) if "asked" in row and row.get("case_id")}
    assert marked == {"2": False, "46": True}


@pytest.mark.parametrize(("name", "answer"), ANSWERS.items(), ids=ANSWERS)
def test_the_answer_comes_first(name: str, answer: str) -> None:
    """Under the title stands the answer, with the numbers of this store; then the experiment."""
    choice = Choice(cases=("10",)) if queries.load(name).wants_case else Choice()
    told = subtitle_of(of_three(name, choice).spec)
    assert told.startswith(answer), told
    assert told.index("experiment exp, seed 0, test subsets") > 0


def test_what_is_of_one_case_alone_asks_no_cohort() -> None:
    """The patches and slices of a case are shown without those of others."""
    assert [name for name in ANSWERS if draws_cohort(name)] == sorted(WITHIN)
