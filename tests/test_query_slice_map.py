"""`slice-map`: attention painted at the patches' places."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.charts.render import drawing
from milstore.errors import UsageError
from milstore.store import Store
from milstore.store.cohort_edit import edit_cohort
from tests.attending import random_store
from tests.drawing import drawn, subtitle_of
from tests.making import Patch, levels, make_run, make_store
from tests.test_chart_specs import nodes

TEN = Choice(cases=("10",))


def test_a_slice_by_times_the_even_share(three: Store) -> None:
    """Case 10's sox10 slice: powers of ten above the even share of a tenth, at places 64 pixels apart.

    Ten fortieths of h&e 0 and eight of sox10 make 18: with the seven of the third patch, three patches hold half. The
    scale is the case's: from a quarter of the even share (one fortieth of ten patches) to two and a half times.
    """
    found = ask(three, "slice-map", TEN, {"stain": "sox10"})
    assert found.columns == [
        "run_id", "case_id", "subset", "true_class", "pred_class", "outcome", "stain", "slice_idx", "slice_name",
        "slice_patches", "slice_effective_attention", "patch_idx", "effective_attention", "times_even", "rank", "outlined",
        "tied", "shade", "lowest_shade", "highest_shade", "half_patches", "case_slices", "case_patches", "x", "y", "width",
        "height", "file",
    ]  # fmt: skip
    near = pytest.approx
    start = ("exp-s2-0", "10", "test", "benign", "high-grade", "wrong", "sox10", 0, "match_1", 4, near(0.55))
    file = "case_10_match_1_sox10_patch{}.png"
    rest = (near(np.log10(0.25)), near(np.log10(2.5)), 3, 3, 10)
    assert found.rows() == [
        (*start, 0, near(0.2), near(2.0), 2, True, False, near(np.log10(2)), *rest, 0, 0, 64, 64, file.format(0)),
        (
            *start,
            1,
            near(0.175),
            near(1.75),
            3,
            True,
            False,
            near(np.log10(1.75)),
            *rest,
            64,
            0,
            64,
            64,
            file.format(1),
        ),
        (*start, 2, near(0.15), near(1.5), 4, False, False, near(np.log10(1.5)), *rest, 128, 0, 64, 64, file.format(2)),
        (
            *start,
            3,
            near(0.025),
            near(0.25),
            10,
            False,
            False,
            near(np.log10(0.25)),
            *rest,
            192,
            0,
            64,
            64,
            file.format(3),
        ),
    ]


def test_all_slices_of_a_case(three: Store) -> None:
    """Without stain or slice every slice of the case answers, by stain and slice; outlined is the same whoever is asked."""
    rows = ask(three, "slice-map", TEN).records()
    assert [(row["stain"], row["slice_name"], row["patch_idx"]) for row in rows] == [
        *(("h&e", f"match_{k}", i) for k in (1, 2) for i in range(3)), *(("sox10", "match_1", i) for i in range(4)),
    ]  # fmt: skip
    outlined = [(row["stain"], row["slice_idx"], row["patch_idx"]) for row in rows if row["outlined"]]
    assert outlined == [("h&e", 0, 0), ("sox10", 0, 0), ("sox10", 0, 1)]
    alone = ask(three, "slice-map", TEN, {"stain": "h&e", "slice": "match_1"}).records()
    assert alone == [row for row in rows if (row["stain"], row["slice_idx"]) == ("h&e", 0)]


@pytest.mark.parametrize(("share", "patches"), [(0, 0), (25, 1), (26, 2), (45, 2), (50, 3), (100, 10)])
def test_the_fewest_patches_that_hold_a_share(three: Store, share: float, patches: int) -> None:
    """Case 10's patches hold 10, 8, 7, 6, 2, 2, 2, 1, 1 and 1 fortieths: 25 % is the first, 45 % the first two."""
    rows = ask(three, "slice-map", TEN, {"share": share}).records()
    assert ({row["half_patches"] for row in rows}, sum(row["outlined"] for row in rows)) == ({patches}, patches)


def test_a_map_by_rank(three: Store) -> None:
    """Ranks are of the case: 1 for its most attended patch, 0 for its three least, 2/3 and more for the next ones."""
    rows = ask(three, "slice-map", TEN, {"scale": "rank", "stain": "sox10"}).records()
    assert [row["shade"] for row in rows] == pytest.approx([8 / 9, 7 / 9, 6 / 9, 0])
    assert {(row["lowest_shade"], row["highest_shade"]) for row in rows} == {(0, 1)}


def test_a_scale_that_there_is_not(three: Store) -> None:
    """A wrong --scale is named, with those there are."""
    with pytest.raises(UsageError, match="scale is 'square': use log or rank"):
        ask(three, "slice-map", TEN, {"scale": "square"}).rows()


COLOURS = [(220, 30, 30), (30, 160, 30), (30, 30, 220)]


def _three_patches(folder: Path, file: str = "case_1_match_1_h&e_patch{}.png", sides: int | None = 64) -> Store:
    """One slice of three patches: two side by side and one below the first, each a picture of its own colour."""
    patches: list[Patch] = [("1", "h&e", 0, i) for i in range(3)]
    store = make_store(folder / "store", {"1": 1}, patches)
    (folder / "patches").mkdir()
    for i, colour in enumerate(COLOURS):
        Image.new("RGB", (32, 32), colour).save(folder / "patches" / f"case_1_match_1_h&e_patch{i}.png")
    rows = [
        {"case_id": "1", "stain": "h&e", "slice_idx": 0, "patch_idx": i, "file": file.format(i), "x": x, "y": y,
         "width": sides, "height": sides}
        for i, (x, y) in enumerate([(1000, 500), (1064, 500), (1000, 564)])
    ]  # fmt: skip
    with edit_cohort(store) as edit:
        edit.replace("patches", pa.Table.from_pylist(rows, schema=edit.table("patches").schema))
        edit.replace("patch_roots", pa.table({"root": [str(folder / "patches")]}))
    weights = dict(zip(patches, (5.0, 3.0, 2.0), strict=True))
    make_run(store, "exp-s1-0", {"1": "test"}, {"1": 1}, {"1": (0.1, 0.9)}, levels(weights))
    return store


def _picture(spec: dict[str, Any]) -> Image.Image | None:
    found = [row["picture"] for rows in spec["datasets"].values() for row in rows if row.get("picture")]
    return Image.open(io.BytesIO(base64.b64decode(found[0].split(",", 1)[1]))).convert("RGB") if found else None


@pytest.mark.parametrize("sides", [64, None], ids=["known sizes", "sizes from the places"])
def test_the_plain_slice(tmp_path: Path, sides: int | None) -> None:
    """The slice is put together from the patches' pictures, each at its place; where there is no patch, it is glass."""
    picture = _picture(drawn(_three_patches(tmp_path, sides=sides), "slice-map", Choice(cases=("1",))))
    assert picture is not None
    assert picture.width == picture.height
    quarter = picture.width // 4
    places = [(quarter, quarter), (3 * quarter, quarter), (quarter, 3 * quarter)]
    for place, colour in zip(places, COLOURS, strict=True):
        assert np.abs(np.subtract(picture.getpixel(place), colour)).max() < 8
    assert min(picture.getpixel((3 * quarter, 3 * quarter))) > 235


def test_pictures_that_are_missing(tmp_path: Path) -> None:
    """A missing picture leaves a grey place and a word; where all are missing there is no picture at all."""
    store = _three_patches(tmp_path)
    (tmp_path / "patches" / "case_1_match_1_h&e_patch1.png").unlink()
    spec = drawn(store, "slice-map", Choice(cases=("1",)))
    assert "1 pictures are missing" in subtitle_of(spec)
    picture = _picture(spec)
    assert picture is not None
    grey = picture.getpixel((3 * picture.width // 4, picture.width // 4))
    assert max(grey) - min(grey) < 15
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert _picture(drawn(_three_patches(elsewhere, "../{}.png"), "slice-map", Choice(cases=("1",)))) is None


def test_places_that_are_unknown(tmp_path: Path) -> None:
    """Without x and y nothing is painted: it is said what to do."""
    store = _three_patches(tmp_path)
    with edit_cohort(store) as edit:
        patches = edit.table("patches")
        nowhere = pa.nulls(patches.num_rows, pa.int32())
        edit.replace("patches", patches.set_column(patches.column_names.index("x"), "x", nowhere))
    with pytest.raises(UsageError, match="has patches without x and y: give them by milstore ingest patches"):
        drawn(store, "slice-map", Choice(cases=("1",)))


def test_its_chart(three: Store, tmp_path: Path) -> None:
    """Every slice has a panel in one scale of colour, and the answer counts the patches that hold half."""
    spec = drawn(three, "slice-map", TEN)
    assert [panel["title"]["text"] for panel in spec["concat"]] == ["h&e · match_1", "h&e · match_2", "sox10 · match_1"]
    assert [panel["title"]["subtitle"] for panel in spec["concat"]] == [
        "30% of attention, 3 patches", "15% of attention, 3 patches", "55% of attention, 4 patches",
    ]  # fmt: skip
    # A tenth of the even share to ten times: no patch of this case is as dark as that.
    scales = [
        node["scale"] for node in nodes(spec) if node.get("field") == "shade" and "scheme" in node.get("scale", {})
    ]
    assert [(scale["domain"], scale["scheme"]) for scale in scales] == [([-1, 1], "yelloworangered")] * 3
    assert subtitle_of(spec).startswith(
        "Case 10 (benign, called wrong as high-grade): 3 of 10 patches hold 62% of the attention, in 2 of 3 slices "
        "(sox10 · match_1: 2, h&e · match_1: 1); in an even spread 6 would."
    )
    attended = random_store(tmp_path / "random", 11)
    drawn(attended.store, "slice-map", Choice(cases=("4",)), {"scale": "rank"})


def test_slices_in_one_scale_of_size(tmp_path: Path) -> None:
    """A slice of twice the extent is drawn twice as wide."""
    patches: list[Patch] = [("1", "h&e", 0, i) for i in range(2)] + [("1", "melan", 0, i) for i in range(4)]
    store = make_store(tmp_path / "store", {"1": 1}, patches)
    make_run(store, "exp-s1-0", {"1": "test"}, {"1": 1}, {"1": (0.1, 0.9)}, levels(dict.fromkeys(patches, 1.0)))
    spec = drawing(store, "slice-map", Choice(cases=("1",))).spec
    small, large = (panel["width"] for panel in spec["concat"])
    assert large == pytest.approx(2 * small)


def test_a_slice_of_very_many_patches(tmp_path: Path) -> None:
    """More patches than can be drawn are joined to blocks, each shown by its highest."""
    patches: list[Patch] = [("1", "h&e", 0, i) for i in range(4600)]
    store = make_store(tmp_path / "store", {"1": 1}, patches)
    weights = {patch: 1.0 + (patch[3] == 4321) * 50 for patch in patches}
    make_run(store, "exp-s1-0", {"1": "test"}, {"1": 1}, {"1": (0.1, 0.9)}, levels(weights))
    spec = drawing(store, "slice-map", Choice(cases=("1",))).spec
    shown = [row for rows in spec["datasets"].values() for row in rows if "shade" in row]
    assert 4321 in {row["patch_idx"] for row in shown}
    assert "of every" in subtitle_of(spec)
