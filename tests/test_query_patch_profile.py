"""`patch-profile`: attention along the patches of a slice."""

import pytest

from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.errors import UsageError
from milstore.store import Store
from tests.attending import random_store
from tests.drawing import drawn, rows_of, subtitle_of

TEN = Choice(cases=("10",))


def test_a_slice(three: Store) -> None:
    """The three patches of case 10's first h&e slice, in the order of their numbers, with place and file."""
    found = ask(three, "patch-profile", TEN, {"stain": "H&E", "slice": 0})
    assert found.columns == [
        "run_id", "case_id", "subset", "true_class", "pred_class", "outcome", "stain", "slice_idx", "slice_name",
        "slice_patches", "slice_effective_attention", "patch_idx", "patch_attention", "uniform", "effective_attention",
        "rank", "case_patches", "x", "y", "file",
    ]  # fmt: skip
    near = pytest.approx
    start = ("exp-s2-0", "10", "test", "benign", "high-grade", "wrong", "h&e", 0, "match_1", 3, near(0.3))
    assert found.rows() == [
        (*start, 0, near(10 / 12), 1 / 3, near(0.25), 1, 10, 0, 0, "case_10_match_1_h&e_patch0.png"),
        (*start, 1, near(1 / 12), 1 / 3, near(0.025), 8, 10, 64, 0, "case_10_match_1_h&e_patch1.png"),
        (*start, 2, near(1 / 12), 1 / 3, near(0.025), 9, 10, 128, 0, "case_10_match_1_h&e_patch2.png"),
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [({}, ("sox10", 0)), ({"stain": "h&e"}, ("h&e", 0)), ({"slice": 1}, ("h&e", 1))],
    ids=["neither", "a stain", "a number"],
)
def test_the_slice_that_is_meant(three: Store, values: dict[str, object], expected: tuple[str, int]) -> None:
    """What is not given is decided by weight: the case's heaviest slice, of that stain or of that number."""
    found = ask(three, "patch-profile", TEN, values).records()
    assert {(row["stain"], row["slice_idx"]) for row in found} == {expected}


def test_a_slice_that_there_is_not(three: Store) -> None:
    """It is said which slices the case has."""
    with pytest.raises(UsageError, match=r"it has h&e match_1 \(0\), h&e match_2 \(1\), sox10 match_1 \(0\)"):
        ask(three, "patch-profile", TEN, {"slice": 7}).rows()


def test_every_run_has_the_same_slice(three: Store) -> None:
    """Where several runs answer, each gives the patches of the one slice that was chosen."""
    found = ask(three, "patch-profile", Choice(cases=("10",), subset="all")).records()
    assert [(row["run_id"], row["patch_idx"]) for row in found] == [
        (f"exp-s{i}-0", patch) for i in (1, 2, 3) for patch in range(4)
    ]
    assert {(row["stain"], row["slice_idx"]) for row in found} == {("sox10", 0)}


def test_it_is_the_slices_attention(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Patch attention, in the order of the numbers, as pandas reads it from the run."""
    attended = random_store(tmp_path_factory.mktemp("random") / "store", 7)
    for case_id, rows in attended.attention.groupby("case_id"):
        slices = rows.groupby(["stain", "slice_idx"])["effective_attention"].sum()
        stain, slice_idx = slices.idxmax()
        expected = rows[(rows["stain"] == stain) & (rows["slice_idx"] == slice_idx)].sort_values("patch_idx")
        found = ask(attended.store, "patch-profile", Choice(cases=(str(case_id),))).df()
        assert found["patch_idx"].tolist() == expected["patch_idx"].tolist()
        assert found["patch_attention"].tolist() == expected["patch_attention"].tolist()


def test_its_chart(three: Store) -> None:
    """A bar a patch, the even share as a line, and the concentration in words."""
    spec = drawn(three, "patch-profile", TEN)
    assert [row["patch_idx"] for row in rows_of(spec)] == [0, 1, 2, 3]
    assert subtitle_of(spec).startswith(
        "Case 10 (benign, called wrong as high-grade), sox10 · match_1: its highest patch holds 36% of the slice; as "
        "concentrated as on 3.2 of 4 patches alike. The slice has 55.0% of the case's attention."
    )
