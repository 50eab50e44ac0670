"""`top-patch-list`: the most and the least attended patches, one by one."""

from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.errors import UsageError
from milstore.store import Store
from milstore.store.cohort_edit import edit_cohort
from tests.attending import random_store
from tests.drawing import drawn, subtitle_of
from tests.making import Patch, levels, make_run, make_store

COLUMNS = [
    "run_id", "case_id", "subset", "true_class", "outcome", "rank", "stain", "slice_idx", "slice_name", "patch_idx",
    "stain_attention", "slice_attention", "patch_attention", "effective_attention", "times_even", "case_patches", "file", "tied",
]  # fmt: skip


def test_the_top_of_a_case(three: Store) -> None:
    """Identity, weights at each level and the file of case 10's two most attended patches."""
    found = ask(three, "top-patch-list", Choice(cases=("10",)), {"n": 2})
    assert found.columns == COLUMNS
    start = ("exp-s2-0", "10", "test", "benign", "wrong")
    near = pytest.approx
    assert found.rows() == [
        (*start, 1, "h&e", 0, "match_1", 0, near(18 / 40), near(12 / 18), near(10 / 12), near(0.25), near(2.5), 10,
         "case_10_match_1_h&e_patch0.png", False),
        (*start, 2, "sox10", 0, "match_1", 0, near(22 / 40), 1.0, near(8 / 22), near(0.2), near(2.0), 10,
         "case_10_match_1_sox10_patch0.png", False),
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


def test_its_charts(three: Store, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A row a patch for one case, a row a case for many; never more marks than can be drawn."""
    one = drawn(three, "top-patch-list", Choice(cases=("46",)))
    assert [row["patch"] for rows in one["datasets"].values() for row in rows] == [
        "#1  h&e · match_1 · patch 5", "#2  h&e · match_1 · patch 1", "#3  h&e · match_1 · patch 9",
    ]  # fmt: skip
    assert "the 3 most attended of 3 patches hold 100% of the attention (h&e 3)" in subtitle_of(one)
    attended = random_store(tmp_path_factory.mktemp("random") / "store", 2)
    drawn(attended.store, "top-patch-list", values={"n": 1000, "end": "bottom"})


def test_rows_that_matter_and_the_rest_folded(tmp_path: Path) -> None:
    """Of 30 cases the 20 whose listed patches hold most have a row of their own, the other ten share one."""
    weights: dict[Patch, float] = {}
    for case in range(1, 31):
        weights |= {(str(case), "h&e", 0, i): float(case) if i == 0 else 1.0 for i in range(12)}
    labels = {str(case): 0 for case in range(1, 31)}
    store = make_store(tmp_path / "store", labels, list(weights))
    make_run(
        store, "exp-s1-0", dict.fromkeys(labels, "test"), labels, dict.fromkeys(labels, (0.9, 0.1)), levels(weights)
    )
    spec = drawn(store, "top-patch-list", values={"n": 2})
    marks = [row for rows in spec["datasets"].values() for row in rows if "rank" in row]
    names = {row["name"]: {mark["case_id"] for mark in marks if mark["name"] == row["name"]} for row in marks}
    apart = {f"{case} (benign)": {str(case)} for case in range(11, 31)}
    assert names == apart | {"10 other cases": {str(case) for case in range(1, 11)}}
    # Of case k the first patch holds k of k + 11 parts and the second one: (k + 1) / (k + 11), of 15.5 the middle is 0.62.
    assert "benign: the 2 most attended patches hold 62% of a case's attention (median of 30;" in subtitle_of(spec)


def test_the_patches_of_a_case_are_shown(three: Store, tmp_path: Path) -> None:
    """Beside each row stands the patch's picture; where there is none, why."""
    (tmp_path / "patches").mkdir()
    Image.new("RGB", (32, 32), (240, 0, 0)).save(tmp_path / "patches" / "case_46_match_1_h&e_patch5.png")
    with edit_cohort(three) as edit:
        edit.replace("patch_roots", pa.table({"root": [str(tmp_path / "patches")]}))
    spec = drawn(three, "top-patch-list", Choice(cases=("46",)))
    rows = [row for rows in spec["datasets"].values() for row in rows if "picture" in row]
    assert [(row["patch_idx"], row["picture"] is not None, row["problem"]) for row in rows] == [
        (5, True, ""), (1, False, "file missing"), (9, False, "file missing"),
    ]  # fmt: skip
