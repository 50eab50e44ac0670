"""Where attention does not decide, no answer tells a finding: ties are counted and named."""

from pathlib import Path
from typing import Any

import pytest

from milstore.analysis.top_patches import report
from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.errors import DataError
from milstore.queries import parse
from milstore.store import Store
from tests.drawing import drawn, subtitle_of
from tests.making import Patch, levels, make_run, make_store

STAINS = ("h&e", "melan", "sox10")
FOUR = Choice(cases=("4",))


def made(folder: Path, weights: dict[Patch, float], chances: dict[str, tuple[float, float]] | None = None) -> Store:
    """A run of benign cases with this attention."""
    cases = dict.fromkeys(case for case, *_ in weights)
    labels = dict.fromkeys(cases, 0)
    store = make_store(folder / "store", labels, list(weights))
    make_run(
        store,
        "exp-s1-0",
        dict.fromkeys(cases, "test"),
        labels,
        chances or dict.fromkeys(cases, (0.8, 0.2)),
        levels(weights),
    )
    return store


@pytest.fixture
def even(tmp_path: Path) -> Store:
    """Case 4: three stains of one slice of four patches, all alike; case 5: one patch of three stands out."""
    weights: dict[Patch, float] = {("4", stain, 0, i): 1.0 for stain in STAINS for i in range(4)}
    weights |= {("5", stain, 0, 0): 1.0 + (stain == "melan") for stain in STAINS}
    return made(tmp_path, weights)


def of_case(rows: list[dict[str, Any]], case: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["case_id"] == case]


def test_even_attention_prefers_no_stain(even: Store) -> None:
    """Counts stay whole: names put three patches of h&e on top. But the lift is 1 everywhere, and the tie is counted."""
    answer = ask(even, "top-patches", FOUR, {"pct": 30})
    rows = answer.records()
    assert [(row["stain"], row["top_patches"], row["tied_patches"]) for row in rows] == [
        ("h&e", 3, 3), ("melan", 0, 0), ("sox10", 0, 0),
    ]  # fmt: skip
    assert [(row["lift"], row["stain_lift"]) for row in rows] == [(1.0, 1.0)] * 3
    assert {(row["case_tied_patches"], row["case_top_patches"]) for row in rows} == {(3, 3)}
    assert answer.notes == [
        "case 4: 3 of 3 top patches tie with one left out. Names decide which of these are counted; lift shares their "
        "places among all that are equal."
    ]
    assert "  # top patches that tie with one left out: 3" in report(rows)


def test_a_tie_at_the_cut_shares_its_places(tmp_path: Path) -> None:
    """Of six patches one leads and the top three take two of three equal ones: 2/3 of a place each, and lift says so."""
    weights: dict[Patch, float] = {
        ("4", "h&e", 0, 0): 9.0, ("4", "h&e", 0, 1): 3.0, ("4", "melan", 0, 0): 3.0, ("4", "melan", 0, 1): 3.0,
        ("4", "sox10", 0, 0): 1.0, ("4", "sox10", 0, 1): 1.0,
    }  # fmt: skip
    rows = ask(made(tmp_path, weights), "top-patches", FOUR, {"top": 3}).records()
    assert [(row["stain"], row["top_patches"], row["tied_patches"], row["case_tied_patches"]) for row in rows] == [
        ("h&e", 2, 1, 2), ("melan", 1, 1, 2), ("sox10", 0, 0, 2),
    ]  # fmt: skip
    # h&e: 1 + 2/3 of three places with 2 of 6 patches; melan: 4/3.
    assert [row["lift"] for row in rows] == pytest.approx([5 / 3, 4 / 3, 0.0])
    assert [row["top_attention"] for row in rows] == pytest.approx([12 / 20, 3 / 20, 0.0])


def test_weights_that_differ_by_rounding_tie(tmp_path: Path) -> None:
    """Attention that is equal to six digits is equal: a product of floats is not exact."""
    weights: dict[Patch, float] = {("4", stain, 0, i): 1.0 + 1e-8 * i for stain in STAINS for i in range(3)}
    rows = ask(made(tmp_path, weights), "top-patches", FOUR, {"top": 2}).records()
    assert {row["case_tied_patches"] for row in rows} == {2}
    assert [row["lift"] for row in rows] == [1.0, 1.0, 1.0]


def test_where_attention_decides_nothing_is_said(even: Store) -> None:
    """Case 5's top patch stands out: no tie, no note, and its lift is 3."""
    answer = ask(even, "top-patches", Choice(cases=("5",)))
    assert [(row["stain"], row["lift"], row["case_tied_patches"]) for row in answer.records()] == [
        ("h&e", 0.0, 0), ("melan", 3.0, 0), ("sox10", 0.0, 0),
    ]  # fmt: skip
    assert answer.notes == []


def test_all_patches_on_top_leave_none_out(even: Store) -> None:
    """At 100 % nothing is left out, so that nothing ties."""
    answer = ask(even, "top-patches", FOUR, {"pct": 100})
    assert ({row["case_tied_patches"] for row in answer.records()}, answer.notes) == ({0}, [])


def test_the_chart_names_the_tie(even: Store) -> None:
    """The chart's answer is no stain, but that names decide."""
    told = subtitle_of(drawn(even, "top-patches", FOUR, {"pct": 30}))
    assert told.startswith(
        "Case 4 (benign, called right): no patch stands out: all of the top 3 tie with one left out, and names decide"
    )
    assert "in 1 of 2 cases top patches tie with one left out (case 4: 1 of 1)" in subtitle_of(
        drawn(even, "top-patches")
    )


def test_no_stain_leads_within_a_tie(even: Store) -> None:
    """Stains of one weight are tied and none leads; the class counts its cases, its leaders and its ties."""
    answer = ask(even, "stain-attention")
    rows = answer.records()
    assert [(row["case_id"], row["stain"], row["leads"], row["tied"]) for row in rows] == [
        ("4", "h&e", False, True), ("4", "melan", False, True), ("4", "sox10", False, True),
        ("5", "h&e", False, False), ("5", "melan", True, False), ("5", "sox10", False, False),
    ]  # fmt: skip
    assert [(row["leads_in_class"], row["cases_in_class"], row["tied_in_class"]) for row in of_case(rows, "5")] == [
        (0, 2, 1), (1, 2, 1), (0, 2, 1),
    ]  # fmt: skip
    assert answer.notes == ["in 1 of 2 cases the highest stains weigh the same: none leads (4)"]
    told = subtitle_of(drawn(even, "stain-attention"))
    assert told.startswith("benign: melan leads in 1 of 2 cases; 1 without a leader (tie).")


def test_no_slice_is_the_top_one_within_a_tie(tmp_path: Path) -> None:
    """Two slices of one weight: both are the highest, and the chart names none."""
    answer = ask(made(tmp_path, {("4", "h&e", i, 0): 1.0 for i in range(2)}), "slice-attention", FOUR)
    assert [(row["slice_rank"], row["top_slices"]) for row in answer.records()] == [(1, 2), (2, 2)]
    assert answer.notes[0].startswith("in this case the highest slices of a stain weigh the same")
    weights: dict[Patch, float] = {("4", "h&e", i, 0): 1.0 for i in range(2)}
    store = made(tmp_path / "again", weights)
    assert "h&e: no top slice, 2 of 2 weigh the same" in subtitle_of(drawn(store, "slice-attention", FOUR))


@pytest.mark.parametrize(
    ("question", "values", "tied"),
    [
        ("top-patch-list", {"n": 2}, [True, True]),
        ("top-patch-list", {"n": 12}, [False] * 12),
        ("patch-gallery", {"n": 2}, [True] * 4),
        ("patch-gallery", {"n": 6}, [True] * 6 + [False] * 6),
    ],
)
def test_a_list_that_ends_within_a_tie(even: Store, question: str, values: dict[str, int], tied: list[bool]) -> None:
    """A patch of a list is tied if one that is not in that end of it weighs the same."""
    answer = ask(even, question, FOUR, values)
    assert [row["tied"] for row in answer.records()] == tied
    said = f"case 4: {sum(tied)} of {len(tied)} patches listed tie with one left out."
    assert [note for note in answer.notes if said in note] == (answer.notes if any(tied) else [])


def test_slices_that_tie_with_one_not_listed(tmp_path: Path) -> None:
    """Of three slices of one weight two are listed: both tie."""
    weights: dict[Patch, float] = {("4", "h&e", i, 0): 1.0 for i in range(3)}
    answer = ask(made(tmp_path, weights), "selected-slices", None, {"n": 2})
    assert [row["tied"] for row in answer.records()] == [True, True]
    assert answer.notes == ["2 of 2 slices tie with one that is not listed: the order of cases and names decides"]


def test_outlines_and_spread_within_a_tie(even: Store) -> None:
    """The half of even attention is six patches of twelve, all tied; and so are the top patches that the spread counts."""
    answer = ask(even, "slice-map", FOUR)
    rows = answer.records()
    assert (sum(row["outlined"] for row in rows), sum(row["tied"] for row in rows)) == (6, 6)
    assert answer.notes[0].startswith("case 4: 6 of 6 outlined patches tie with one left out.")
    spread = ask(even, "slice-spread", None, {"pct": 30})
    assert {row["case_id"]: (row["top_patches"], row["tied_patches"]) for row in spread.records()} == {
        "4": (3, 3), "5": (1, 0),
    }  # fmt: skip
    assert spread.notes[0].startswith("in 1 of 2 cases top patches tie with one left out (case 4: 3 of 3).")


def test_what_must_be_told_is_a_function_of_milstores_own() -> None:
    """A store's own question cannot name one, as it cannot name any other function."""
    text = "-- What?\n-- grain: one row\n-- columns: a\n-- told: ties.cut_note\n\nselect 1 as a\n"
    assert parse("own", text).told == "ties.cut_note"
    with pytest.raises(DataError, match=r"queries/own\.sql names a function: a store's own questions are SQL alone"):
        parse("own", text, built_in=False)
