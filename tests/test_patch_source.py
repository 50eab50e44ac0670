"""Pixels of patches: in their order, of their place, whoever reads them, from files or slides."""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from PIL import Image

from milstore.errors import DataError
from milstore.pixels import patch_source
from milstore.pixels.patch_source import PatchPlace, patch_pixels, patch_places
from milstore.store.cohort import read_cohort
from tests.drawn_slides import write_slide
from tests.test_tile import slides, tile

PIXELS = np.random.default_rng(3).integers(0, 255, (512, 768, 3), dtype=np.uint8)
CORNERS = [(x, y) for y in range(0, 512, 64) for x in range(0, 768, 64)]


@pytest.fixture
def places(tmp_path: Path) -> list[PatchPlace]:
    """96 patches of 64 pixels, over the whole slide."""
    path = write_slide(tmp_path / "a.tif", PIXELS)
    return [PatchPlace(slide=path, x=x, y=y, width=64, height=64) for x, y in CORNERS]


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_patches_come_in_their_order(places: list[PatchPlace], threads: int) -> None:
    """Each is what lies at its place, however many threads read ahead."""
    found = list(patch_pixels(places, threads=threads))
    assert all(
        np.array_equal(patch, PIXELS[y : y + 64, x : x + 64]) for patch, (x, y) in zip(found, CORNERS, strict=True)
    )


def test_the_size_is_the_encoders_the_grids_or_the_slides(places: list[PatchPlace]) -> None:
    """The edge that is asked for goes before the grid's, and that before the pixels of level 0."""
    one = places[5]
    of_grid = PatchPlace(slide=one.slide, x=0, y=0, width=64, height=64, edge=32)
    assert [each.shape for each in patch_pixels([one, of_grid], threads=0)] == [(64, 64, 3), (32, 32, 3)]
    assert [each.shape for each in patch_pixels([one, of_grid], edge=16)] == [(16, 16, 3)] * 2


def test_files_go_before_slides(tmp_path: Path, places: list[PatchPlace]) -> None:
    """A patch with an image is read from it, at the edge that is asked for; others beside it from the slide."""
    Image.new("RGB", (40, 40), (10, 200, 30)).save(tmp_path / "p.png")
    both = [PatchPlace(file="p.png"), places[0]]
    found = list(patch_pixels(both, root=tmp_path, edge=20))
    assert (found[0] == (10, 200, 30)).all()
    assert found[0].shape == found[1].shape == (20, 20, 3)


def test_a_slide_that_breaks_is_named_and_handles_are_closed(
    tmp_path: Path, places: list[PatchPlace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes before it is given; then its name; and no slide stays open, nor when the caller stops early."""
    opened = []
    real = patch_source.open_slide

    def noted(path: Path) -> object:
        opened.append(real(path))
        return opened[-1]

    closed: list[Path] = []
    monkeypatch.setattr(patch_source, "open_slide", noted)
    monkeypatch.setattr("milstore.pixels.slide.OpenslideSlide.close", lambda self: closed.append(self.path))
    bad = PatchPlace(slide=tmp_path / "gone.tif", x=0, y=0, width=64, height=64)
    found = patch_pixels([*places, bad], threads=2)
    with pytest.raises(DataError, match=r"gone\.tif is missing"):
        list(found)
    assert len(closed) == len(opened) > 0
    early = patch_pixels(places, threads=2)
    next(early)
    early.close()
    assert len(closed) == len(opened)


def test_places_are_those_of_the_store(tmp_path: Path) -> None:
    """A patch of a tiled slide lies on the slide's file, its edge the grid's; one that has neither is None."""
    store = slides(tmp_path)
    tile(store, "S2")
    cohort = read_cohort(store)
    table = cohort.table("patches")
    found = patch_places(cohort, store.root, table)
    assert found == [PatchPlace(slide=tmp_path / "S2.tif", x=x, y=0, width=512, height=512, edge=256) for x in (0, 512)]
    nowhere = table.set_column(table.column_names.index("x"), "x", pc.if_else(True, None, table["x"]))
    assert patch_places(cohort, store.root, nowhere) == [None, None]
