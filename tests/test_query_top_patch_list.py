"""`top-patch-list`: the most and the least attended patches, one by one."""

import pytest

from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.errors import UsageError
from milstore.store import Store
from tests.attending import random_store
from tests.drawing import drawn

COLUMNS = [
    "run_id", "case_id", "subset", "true_class", "outcome", "rank", "stain", "slice_idx", "slice_name", "patch_idx",
    "stain_attention", "slice_attention", "patch_attention", "effective_attention", "times_even", "case_patches", "file",
]  # fmt: skip


def test_the_top_of_a_case(three: Store) -> None:
    """Identity, weights at each level and the file of case 10's two most attended patches."""
    found = ask(three, "top-patch-list", Choice(cases=("10",)), {"n": 2})
    assert found.columns == COLUMNS
    start = ("exp-s2-0", "10", "test", "benign", "wrong")
    near = pytest.approx
    assert found.rows() == [
        (*start, 1, "h&e", 0, "match_1", 0, near(18 / 40), near(12 / 18), near(10 / 12), near(0.25), near(2.5), 10,
         "case_10_match_1_h&e_patch0.png"),
        (*start, 2, "sox10", 0, "match_1", 0, near(22 / 40), 1.0, near(8 / 22), near(0.2), near(2.0), 10,
         "case_10_match_1_sox10_patch0.png"),
    ]  # fmt: skip


def test_the_bottom_of_each_case(three: Store) -> None:
    """From the lowest up, in each case; the last of equal patches is the lowest."""
    found = ask(three, "top-patch-list", values={"n": 2, "end": "bottom"}).records()
    assert [(r["case_id"], r["rank"], r["stain"], r["slice_idx"], r["patch_idx"]) for r in found] == [
        ("2", 6, "h&e", 0, 3), ("2", 5, "h&e", 0, 2),
        ("10", 10, "sox10", 0, 3), ("10", 9, "h&e", 0, 2),
        ("46", 3, "h&e", 0, 9), ("46", 2, "h&e", 0, 1),
    ]  # fmt: skip


def test_an_end_that_there_is_not(three: Store) -> None:
    """A wrong --end is named, with those there are."""
    with pytest.raises(UsageError, match="end is 'left': use top or bottom"):
        ask(three, "top-patch-list", values={"end": "left"}).rows()


@pytest.mark.thorough
def test_its_charts(three: Store, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A row a patch for one case, a row a case for many; never more marks than can be drawn."""
    one = drawn(three, "top-patch-list", Choice(cases=("46",)))
    assert [row["patch"] for rows in one["datasets"].values() for row in rows] == [
        "#1  h&e · slice 0 · patch 5", "#2  h&e · slice 0 · patch 1", "#3  h&e · slice 0 · patch 9",
    ]  # fmt: skip
    attended = random_store(tmp_path_factory.mktemp("random") / "store", 2)
    drawn(attended.store, "top-patch-list", values={"n": 1000, "end": "bottom"})
