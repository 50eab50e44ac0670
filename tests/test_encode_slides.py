"""Encoding patches that lie on slides: pixels are read at the grid's edge, and resolutions must agree."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from milstore.encoders.encode import encode_patches
from milstore.encoders.encode_folder import encode_by_folder
from milstore.encoders.encoder_folder import read_encoder_folder
from milstore.encoders.encoding_plan import FolderOptions, plan_encoding
from milstore.encoders.hed import HedEncoder
from milstore.errors import DataError
from milstore.pixels.slide import open_slide
from milstore.store import Store, create_store
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import edit_cohort
from milstore.store.content_hash import with_case_order
from milstore.store.features import open_features
from tests.networks import by_hand, mean_colour
from tests.optional import needs
from tests.test_pixels_slide import noise, pyramid

pytestmark = needs("onnx", "onnxruntime")


CORNERS = [(0, 0), (32, 0), (0, 32), (32, 32)]
GRID = {"grid": "16px-0.5mpp", "tool": "milstore", "edge": 16, "mpp": 0.5, "overlap": 0}


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    """A slide of noise, a quarter of a micrometre a pixel."""
    return pyramid(tmp_path / "S1.tif", noise(), mpp=0.25)


@pytest.fixture
def store(tmp_path: Path, slide: Path) -> Store:
    """A store with four patches on it, 32 pixels of level 0 each, 16 at the encoder's input."""
    made = create_store(tmp_path / "store")
    _put(made, slide, CORNERS)
    return made


def _put(store: Store, slide: Path, corners: list[tuple[int, int]]) -> None:
    place = {"case_id": "A", "stain": "h&e", "slice_idx": 0}
    patches = [
        {**place, "patch_idx": i, "x": x, "y": y, "width": 32, "height": 32, "unit": "level0", "grid": GRID["grid"]}
        for i, (x, y) in enumerate(corners)
    ]
    slides = [{"slide_id": "S1", "case_id": "A", "stain": "h&e", "path": str(slide), "mpp": 0.25}]
    with edit_cohort(store) as edit:
        cases = [{"case_id": "A", "label": 0, "class_name": "benign", "source_label": "0"}]
        edit.replace("classes", pa.Table.from_pylist([{"label": 0, "class_name": "benign"}]))
        edit.replace("cases", with_case_order(pa.Table.from_pylist(cases)))
        edit.replace("grids", pa.Table.from_pylist([GRID]))
        edit.replace("slides", pa.Table.from_pylist(slides))
        slices = [{**place, "slice_name": "S1", "n_patches": len(patches), "slide_id": "S1"}]
        edit.replace("slices", pa.Table.from_pylist(slices))
        edit.replace("patches", pa.Table.from_pylist(patches))


def _read(slide: Path, corners: list[tuple[int, int]]) -> list[np.ndarray]:
    opened = open_slide(slide)
    try:
        return [opened.read(x, y, 32, 32, (16, 16)) for x, y in corners]
    finally:
        opened.close()


def test_patches_on_a_slide_are_encoded(tmp_path: Path, store: Store, slide: Path) -> None:
    """Each gets the vector of the slide's pixels at its place, at the grid's edge; the store says which grid."""
    folder = read_encoder_folder(mean_colour(tmp_path / "tiny", mpp="0.5"))
    report = encode_by_folder(store, folder, FolderOptions(batch=3))
    assert (report.changed, report.patches, report.without_image) == (True, 4, 0)
    stored = open_features(store, read_cohort(store), "tiny").read("A")
    for vector, image in zip(stored, _read(slide, CORNERS), strict=True):
        assert vector == pytest.approx(by_hand(image), abs=1e-4)
    (row,) = read_cohort(store).table("encoders").to_pylist()
    assert (row["grid"], row["mpp"], row["patch_px"], row["tool"]) == ("16px-0.5mpp", 0.5, 16, "milstore")


def test_hed_reads_slides_too(store: Store, slide: Path) -> None:
    """The baseline goes over slides as over images, in processes."""
    assert encode_patches(store, "hed", jobs=1).patches == 4
    stored = open_features(store, read_cohort(store), "hed").read("A")
    assert np.allclose(stored, HedEncoder().encode(_read(slide, CORNERS)), atol=1e-6)


def test_another_resolution_or_size_is_refused_before_a_pixel_is_read(
    tmp_path: Path, store: Store, slide: Path
) -> None:
    """What the grid says is compared with what the encoder takes; the slide need not even be there."""
    slide.unlink()
    with pytest.raises(DataError, match=r"have 0\.5 micrometres a pixel and tiny takes 0\.25: cut them so"):
        plan_encoding(store, read_encoder_folder(mean_colour(tmp_path / "a", mpp="0.25")), FolderOptions())
    with pytest.raises(DataError, match="patches have 16 x 16 pixels and tiny takes 24 x 24"):
        plan_encoding(store, read_encoder_folder(mean_colour(tmp_path / "b", size="24")), FolderOptions())


def test_a_slide_that_is_gone_is_named(tmp_path: Path, store: Store, slide: Path) -> None:
    """One line with the slide's name, and nothing is stored."""
    slide.unlink()
    with pytest.raises(DataError, match=r"S1\.tif is missing"):
        encode_by_folder(store, read_encoder_folder(mean_colour(tmp_path / "tiny")))
    assert read_cohort(store).table("encoders").num_rows == 0


def test_patches_cut_later_are_added(tmp_path: Path, store: Store, slide: Path) -> None:
    """More patches on the slide: only these are computed."""
    folder = read_encoder_folder(mean_colour(tmp_path / "tiny"))
    encode_by_folder(store, folder)
    _put(store, slide, [*CORNERS, (16, 16)])
    report = encode_by_folder(store, folder)
    assert (report.patches, report.spent.patches) == (5, 1)  # type: ignore[union-attr]
    assert read_cohort(store).table("packs")["n_patches"].to_pylist() == [4, 1]


def test_a_large_slice_is_computed_part_by_part(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a kill may cost is bounded, whole batches each, and the vectors are the same bits."""
    folder = read_encoder_folder(mean_colour(tmp_path / "tiny"))
    encode_by_folder(store, folder, FolderOptions(batch=2))
    whole = open_features(store, read_cohort(store), "tiny").read("A").copy()
    monkeypatch.setattr("milstore.encoders.shards._MOST", 3)
    other = read_encoder_folder(tmp_path / "tiny", name="parts")
    plan = plan_encoding(store, other, FolderOptions(batch=2))
    assert [(shard.first, len(shard.places)) for shard in plan.shards] == [(0, 2), (2, 2)]
    encode_by_folder(store, other, FolderOptions(batch=2))
    assert np.array_equal(open_features(store, read_cohort(store), "parts").read("A"), whole)
