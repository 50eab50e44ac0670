"""`patch-gallery`: pictures of the most and the least attended patches."""

import base64
import io
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.errors import UsageError
from milstore.store import Store
from milstore.store.cohort_edit import edit_cohort
from tests.drawing import drawn, subtitle_of

TEN = Choice(cases=("10",))


def test_both_ends(three: Store) -> None:
    """Two of each end of case 10: the top from the highest down, the bottom from the lowest up; its last three tie."""
    found = ask(three, "patch-gallery", TEN, {"n": 2})
    assert found.columns == [
        "run_id", "case_id", "subset", "true_class", "pred_class", "outcome", "end", "position", "rank", "stain",
        "slice_idx", "slice_name", "patch_idx", "effective_attention", "times_even", "case_patches", "file", "tied",
    ]  # fmt: skip
    near, start = pytest.approx, ("exp-s2-0", "10", "test", "benign", "high-grade", "wrong")
    assert found.rows() == [
        (*start, "top", 1, 1, "h&e", 0, "match_1", 0, near(0.25), near(2.5), 10, "case_10_match_1_h&e_patch0.png", False),
        (*start, "top", 2, 2, "sox10", 0, "match_1", 0, near(0.2), near(2), 10, "case_10_match_1_sox10_patch0.png", False),
        (*start, "bottom", 1, 10, "sox10", 0, "match_1", 3, near(0.025), near(0.25), 10, "case_10_match_1_sox10_patch3.png", True),
        (*start, "bottom", 2, 9, "h&e", 0, "match_1", 2, near(0.025), near(0.25), 10, "case_10_match_1_h&e_patch2.png", True),
    ]  # fmt: skip


def test_a_case_of_few_patches(three: Store) -> None:
    """No patch is shown twice: of three patches two are on top, and one is left for the bottom."""
    found = ask(three, "patch-gallery", Choice(cases=("46",)), {"n": 2}).records()
    assert [(row["end"], row["patch_idx"]) for row in found] == [("top", 5), ("top", 1), ("bottom", 9)]


def _pictures(store: Store, folder: Path) -> None:
    """A patch folder with a picture of its own colour for three of case 46's patches but one, and one swapped file."""
    folder.mkdir()
    for patch, red in ((1, 60), (5, 240)):
        Image.new("RGB", (32, 32), (red, 0, 0)).save(folder / f"case_46_match_1_h&e_patch{patch}.png")
    with edit_cohort(store) as edit:
        edit.replace("patch_roots", pa.table({"root": [str(folder)]}))


def _shown(spec: dict[str, object]) -> dict[int, tuple[str | None, str]]:
    datasets = spec["datasets"]
    assert isinstance(datasets, dict)
    rows = [row for rows in datasets.values() for row in rows]
    return {row["patch_idx"]: (row["picture"], row["problem"]) for row in rows}


def test_pictures_in_the_chart(three: Store, tmp_path: Path) -> None:
    """Each patch has its own picture, as data; where the file is missing there is a placeholder, and it is said."""
    _pictures(three, tmp_path / "patches")
    spec = drawn(three, "patch-gallery", Choice(cases=("46",)))
    shown = _shown(spec)
    for patch, red in ((1, 60), (5, 240)):
        picture, problem = shown[patch]
        assert picture is not None and problem == ""
        image = Image.open(io.BytesIO(base64.b64decode(picture.split(",", 1)[1])))
        assert abs(image.getpixel((16, 16))[0] - red) < 6
    assert shown[9] == (None, "file missing")
    assert "1 of 3 pictures cannot be shown" in subtitle_of(spec)


def test_no_file_from_outside(three: Store, tmp_path: Path) -> None:
    """A store whose patch table names files elsewhere gets placeholders, whatever lies there."""
    _pictures(three, tmp_path / "patches")
    Image.new("RGB", (32, 32), "green").save(tmp_path / "secret.png")
    with edit_cohort(three) as edit:
        patches = edit.table("patches")
        files = pa.array(["../secret.png"] * patches.num_rows)
        edit.replace("patches", patches.set_column(patches.column_names.index("file"), "file", files))
    shown = _shown(drawn(three, "patch-gallery", Choice(cases=("46",))))
    assert set(shown.values()) == {(None, "outside folder")}


def test_no_patch_folder(three: Store) -> None:
    """A store without images still has its gallery: places and weights, and why there is no picture."""
    assert set(_shown(drawn(three, "patch-gallery", TEN)).values()) == {(None, "no patch folder")}


@pytest.mark.parametrize(
    ("asked", "patches"),
    [
        ({"stain": "sox10"}, [("sox10", 0, 0, 2), ("sox10", 0, 3, 10)]),
        ({"stain": "H&E", "slice": "match_2"}, [("h&e", 1, 0, 5), ("h&e", 1, 2, 7)]),
        ({"slice": "1"}, [("h&e", 1, 0, 5), ("h&e", 1, 2, 7)]),
        ({"slice": "match_1"}, [("h&e", 0, 0, 1), ("sox10", 0, 3, 10)]),
    ],
    ids=["a stain", "a stain and a slice", "a slice by its number", "slices of one name in two stains"],
)
def test_of_a_stain_or_slice(three: Store, asked: dict[str, str], patches: list[tuple[str, int, int, int]]) -> None:
    """Both ends are those of the stain or slice that is given; ranks stay those of the case."""
    found = ask(three, "patch-gallery", TEN, {"n": 1, **asked}).records()
    assert [(row["stain"], row["slice_idx"], row["patch_idx"], row["rank"]) for row in found] == patches
    assert [row["position"] for row in found] == [1, 1]
    drawn(three, "patch-gallery", TEN, {"n": 1, **asked})


def test_of_a_slice_that_there_is_not(three: Store) -> None:
    """It is said which slices there are."""
    with pytest.raises(
        UsageError, match=r"has no such slice: it has h&e match_1 \(0\), h&e match_2 \(1\), sox10 match_1"
    ):
        ask(three, "patch-gallery", TEN, {"slice": "match_9"}).rows()
