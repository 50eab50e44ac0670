"""Charts show patches of slides by the slides' pixels; where these cannot be had, the charts are drawn and say so."""

import base64
import io
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from milstore.asking.ask import ask
from milstore.asking.selection import ALL, Choice
from milstore.charts.patch_gallery import prepare as gallery
from milstore.charts.render import drawing
from milstore.charts.slice_map import prepare as slice_map
from milstore.charts.theme import About
from milstore.ingest.labels import ingest_labels
from milstore.ingest.slide_table import ingest_slides
from milstore.ingest.tiles import tile_slides
from milstore.pixels.pictures import PatchFolder
from milstore.pixels.slide_cache import THUMBNAIL, folder_of
from milstore.pixels.tiling import TileSettings
from milstore.report.gallery import tiles
from milstore.store import Store, create_store
from milstore.store.cohort_edit import edit_cohort
from tests.drawing import subtitle_of
from tests.drawn_slides import DAB, HE, drawn, write_slide
from tests.making import MadeOnce, levels, make_run

CHOICE = Choice(run="one", subset=ALL, cases=("1",))
PLACES = [(256, 512), (512, 512), (768, 512), (256, 768), (512, 768), (768, 768)]
"""Case 1: three columns and two rows of patches, the left column of DAB, the others of H&E."""


def with_column(table: pa.Table, name: str, values: list[str]) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(values))


@MadeOnce
def slide_store(folder: Path) -> Store:
    """A slide of one case, 1280 x 1536 pixels at 1 µm, tiled at 1 µm a pixel, and a run with attention 1 to 6 on its patches."""
    store = create_store(folder)
    pixels = drawn(1280, 1536, [(256, 512, 256, 512, DAB), (512, 512, 512, 512, HE)])
    write_slide(folder / "S1.tif", pixels)
    (folder / "slides.csv").write_text("slide_id,case_id,stain,path\nS1,1,h&e,S1.tif\n")
    (folder / "labels.csv").write_text("case_id,label\n1,benign\n2,high\n")
    ingest_labels(store, folder / "labels.csv")
    ingest_slides(store, folder / "slides.csv")
    tile_slides(store, [str(folder / "S1.tif")], TileSettings(mpp=1.0, patch=256), jobs=1)
    with edit_cohort(store) as edit:
        # Told from the store's folder, so that a copy has its own.
        edit.replace("slides", with_column(edit.table("slides"), "path", ["S1.tif"]))
    weights = {("1", "h&e", 0, i): float(i + 1) for i in range(6)}
    make_run(store, "one", {"1": "test"}, {"1": 0}, {"1": (0.9, 0.1)}, levels(weights))
    return store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The store, with its slide in it."""
    return slide_store(tmp_path / "store")


def slide_file(store: Store) -> Path:
    return store.root / "S1.tif"


def subtitle(store: Store, name: str) -> str:
    return subtitle_of(drawing(store, name, CHOICE).spec)


def about(store: Store) -> About:
    return About(title="t", subtitle="s", store=store)


def image_of(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")).astype(int)


def near(pixels: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool(np.abs(pixels.reshape(-1, 3).mean(0) - colour).max() < 6)


def test_the_gallery_reads_patches_from_the_slide(store: Store) -> None:
    """Each patch shows what lies at its place on the slide: the most attended H&E, the left column DAB."""
    frame = gallery(ask(store, "patch-gallery", CHOICE, {"n": 3}).df(), about(store))
    assert frame["file"].isna().all()
    assert (frame["problem"] == "").all()
    for _, row in frame.iterrows():
        x, _ = PLACES[row["patch_idx"]]
        picture = image_of(row["picture"])
        assert picture.shape == (128, 128, 3)
        assert near(picture, DAB if x == 256 else HE)


def test_the_report_reads_patches_from_the_slide(store: Store) -> None:
    """The page's tiles have pictures as the gallery has."""
    found = tiles(store, ask(store, "top-patch-list", CHOICE, {"n": 2}), 64)
    assert [tile.problem for tile in found] == ["", ""]
    assert all(near(image_of(tile.uri), HE) for tile in found)


def test_the_map_lies_on_the_slide(store: Store) -> None:
    """The ground is the part of the slide that the patches cover, upright, in its shape: DAB on the left, H&E on the right."""
    frame = slice_map(ask(store, "slice-map", CHOICE).df(), about(store))
    picture = image_of(frame["slice_picture"].dropna().iloc[0])
    high, wide = picture.shape[:2]
    assert wide / high == pytest.approx(768 / 512, rel=0.02)
    assert near(picture[5:-5, 5 : wide // 3 - 5], DAB)
    assert near(picture[5:-5, wide // 3 + 5 : -5], HE)
    assert frame["missing_pictures"].tolist() == [0] * 6


def test_patches_keep_their_size_and_y_points_down(store: Store) -> None:
    """On the map a patch is a square of its pixels of level 0, and the first row of the slide lies above the second."""
    spec = drawing(store, "slice-map", CHOICE).spec
    text = str(spec)
    rows = [row for data in spec["datasets"].values() for row in data if "x2" in row]
    assert {(row["x2"] - row["x"], row["y2"] - row["y"]) for row in rows} == {(256, 256)}
    assert {(row["x"], row["y"]) for row in rows} == set(PLACES)
    assert "'domain': [1024.0, 512.0]" in text


def test_the_map_uses_the_kept_thumbnail_where_the_slide_is_gone(store: Store) -> None:
    """A slide that was moved away still lies below the attention, by its thumbnail; its patches say that it is missing."""
    slide_file(store).unlink()
    frame = slice_map(ask(store, "slice-map", CHOICE).df(), about(store))
    picture = image_of(frame["slice_picture"].dropna().iloc[0])
    assert near(picture[5:-5, 5 : picture.shape[1] // 3 - 5], DAB)
    frame = gallery(ask(store, "patch-gallery", CHOICE, {"n": 3}).df(), about(store))
    assert (frame["picture"].isna().all(), set(frame["problem"])) == (True, {"slide missing"})
    said = subtitle(store, "patch-gallery")
    assert "6 of 6 pictures cannot be shown" in said
    assert "The slide's file is gone." in said


def test_without_a_thumbnail_and_a_slide_the_map_is_drawn_without(store: Store) -> None:
    """It says why no picture is shown."""
    slide_file(store).unlink()
    (folder_of(store, "S1") / THUMBNAIL).unlink()
    said = subtitle(store, "slice-map")
    assert "No pictures are shown: the slide's file is gone." in said


def test_a_thumbnail_is_kept_when_one_was_made(store: Store) -> None:
    """Where none is kept, the first map makes one of the slide."""
    kept = folder_of(store, "S1") / THUMBNAIL
    kept.unlink()
    slice_map(ask(store, "slice-map", CHOICE).df(), about(store))
    assert Image.open(kept).size == (1280, 1536)


def test_a_damaged_slide_and_a_missing_openslide_are_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chart is drawn, and says which of them it is."""
    slide_file(store).write_bytes(b"no slide")
    assert "The slide's file is damaged." in subtitle(store, "top-patch-list")
    monkeypatch.setitem(sys.modules, "openslide", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said = subtitle(store, "top-patch-list")
    assert "Reading the slide needs openslide: pip install 'milstore[slides]'." in said


def test_openslide_is_imported_only_for_a_patch_of_a_slide(three: Store) -> None:
    """A cohort of patch files never meets it."""
    before = sys.modules.pop("openslide", None)
    try:
        rows = ask(three, "patch-gallery", Choice(cases=("10",)), {"n": 3}).df()
        PatchFolder.of(three).read_all(rows, 32)
        assert "openslide" not in sys.modules
    finally:
        if before is not None:
            sys.modules["openslide"] = before


def test_slides_of_two_resolutions_are_drawn_in_one_scale(tmp_path: Path) -> None:
    """A slide scanned at half the micrometres has twice the pixels, and its tissue is drawn as large as the other's."""
    store = create_store(tmp_path / "store")
    for name, mpp, edge in (("fine", 0.5, 1024), ("coarse", 1.0, 512)):
        write_slide(tmp_path / f"{name}.tif", drawn(edge, edge, [(0, 0, edge, edge, HE)]), mpp=mpp)
    (tmp_path / "slides.csv").write_text(
        "slide_id,case_id,stain,label,path\nfine,1,h&e,benign,fine.tif\ncoarse,1,h&e,benign,coarse.tif\n"
    )
    ingest_slides(store, tmp_path / "slides.csv")
    tile_slides(store, (), TileSettings(mpp=1.0, patch=256), jobs=1)
    weights = {("1", "h&e", s, i): 1.0 for s in range(2) for i in range(4)}
    make_run(store, "one", {"1": "test"}, {"1": 0}, {"1": (1.0,)}, levels(weights))
    spec = drawing(store, "slice-map", CHOICE).spec
    sizes = {(panel["width"], panel["height"]) for panel in spec["concat"]}
    assert len(spec["concat"]) == 2
    assert len(sizes) == 1
