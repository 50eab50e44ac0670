"""Tissue on slides: stained is tissue, glass and ink are not, and the grid lies where the tissue is."""

from pathlib import Path

import numpy as np
import pytest

from milstore.errors import DataError, UsageError
from milstore.pixels.tiling import TileSettings, grid_places, tile_slide
from milstore.pixels.tissue import TissueSettings, tissue_of
from milstore.store.grids import Grid
from tests.drawn_slides import BLACK_INK, BLUE_INK, DAB, GLASS, GREEN_INK, HE, PALE, drawn, write_slide

SETTINGS = TissueSettings()
UM = 4.0


def mask_of(pixels: np.ndarray, settings: TissueSettings = SETTINGS) -> np.ndarray:
    return tissue_of(pixels, UM, settings)[0]


@pytest.mark.parametrize("colour", [HE, DAB, PALE])
def test_stained_tissue_is_kept(colour: tuple[int, int, int]) -> None:
    """H&E, DAB, and the pale cells that DAB leaves out are tissue, to a pixel of the edge; the glass is none."""
    mask = mask_of(drawn(300, 200, [(60, 50, 100, 80, colour)]))
    assert mask[52:128, 62:158].all()
    mask[48:132, 58:162] = False
    assert not mask.any()


def test_a_slide_without_tissue_has_none() -> None:
    """All glass, with a camera's noise, gives nothing."""
    assert not mask_of(drawn(300, 200, [])).any()


def test_the_threshold_can_be_moved() -> None:
    """A higher saturation leaves pale tissue out, and keeps what is coloured."""
    pixels = drawn(300, 200, [(20, 50, 80, 80, PALE), (180, 50, 80, 80, HE)])
    mask = mask_of(pixels, TissueSettings(saturation=0.2))
    assert not mask[:, :150].any()
    assert mask[60:120, 190:250].all()


def test_specks_go_and_holes_close() -> None:
    """A speck of 40 µm is dust; a hole of 160 µm in the tissue is tissue, and one of 800 µm is a hole."""
    speck, tissue = (10, 10, 10, 10, HE), (50, 20, 300, 300, HE)
    pixels = drawn(400, 400, [speck, tissue, (70, 40, 40, 40, GLASS), (130, 100, 200, 200, GLASS)])
    mask = mask_of(pixels)
    assert not mask[5:25, 5:25].any()
    assert mask[45:75, 75:105].all()
    assert not mask[110:290, 140:320].any()
    assert mask_of(pixels, TissueSettings(smallest=0.0005))[12:18, 12:18].all()


@pytest.mark.parametrize("ink", [GREEN_INK, BLUE_INK, BLACK_INK])
def test_ink_of_pens_is_no_tissue(ink: tuple[int, int, int]) -> None:
    """Green, blue and black ink are left out, beside the tissue and over it; with keep_ink the coloured ones stay."""
    pixels = drawn(400, 300, [(40, 40, 140, 200, HE), (240, 40, 100, 100, ink), (60, 100, 90, 60, ink)])
    mask, found = tissue_of(pixels, UM, SETTINGS)
    assert not mask[:, 220:].any()
    assert not mask[102:158, 62:148].any()
    assert mask[180:230, 50:170].all()
    assert found[45:135, 245:335].all()
    if ink != BLACK_INK:
        assert mask_of(pixels, TissueSettings(keep_ink=True))[45:135, 245:335].all()


def test_settings_that_cannot_be() -> None:
    """They are refused in words."""
    with pytest.raises(UsageError, match="give one between 0 and 1"):
        TissueSettings(saturation=1.5)
    with pytest.raises(UsageError, match="--overlap 256 does not fit patches of 256 pixels"):
        TileSettings(overlap=256)


def test_the_grid_is_rounded_and_never_adds_up() -> None:
    """At 0.499 µm a pixel a patch of 256 at 0.5 has 257 pixels of level 0, and the tenth begins at 2565, not 2570."""
    places = grid_places(2700, 300, 0.499, Grid(edge=256, mpp=0.5))
    assert places[:2].tolist() == [[0, 0, 257, 257], [257, 0, 257, 257]]
    assert places[10].tolist() == [2565, 0, 257, 257]
    assert sorted(set(places[:, 1].tolist())) == [0, 257]


def test_the_overlap_counts_pixels_of_the_patch() -> None:
    """64 of 256 pixels at 0.5 are 128 of level 0 at 0.25: patches of 512 begin every 384."""
    places = grid_places(1000, 500, 0.25, Grid(edge=256, mpp=0.5, overlap=64))
    assert places.tolist() == [[x, y, 512, 512] for y in (0, 384) for x in (0, 384, 768)]


def test_patches_lie_on_the_tissue(tmp_path: Path) -> None:
    """The patches are those that tissue covers by a share, in pixels of level 0; those that reach beyond the slide too."""
    path = write_slide(tmp_path / "a.tif", drawn(1200, 1100, [(512, 256, 688, 512, HE)]))
    tiled = tile_slide(path, TileSettings(mpp=2.0, patch=128))
    assert (tiled.mpp, tiled.width, tiled.height) == (1.0, 1200, 1100)
    assert tiled.places.tolist() == [[x, y, 256, 256] for y in (256, 512) for x in (512, 768, 1024)]
    assert np.allclose(tiled.shares, [1, 1, 176 / 256] * 2, atol=0.02)
    assert tile_slide(path, TileSettings(mpp=2.0, patch=128, share=0.9)).places[:, 0].max() == 768


def test_pieces_are_counted_by_their_corners(tmp_path: Path) -> None:
    """Pieces are numbered by (y, x) of their upper left corners; fragments that lie near each other are one."""
    left, right, near = (0, 1024, 512, 512, HE), (1536, 0, 512, 512, HE), (1664, 640, 384, 256, HE)
    path = write_slide(tmp_path / "a.tif", drawn(2048, 1600, [left, right, near]))
    tiled = tile_slide(path, TileSettings(mpp=1.0, patch=256))
    found = {(x, y): piece for (x, y, *_), piece in zip(tiled.places.tolist(), tiled.pieces.tolist(), strict=True)}
    assert found[1536, 0] == found[1792, 512] == 0
    assert found[0, 1024] == found[256, 1280] == 1
    assert set(tiled.pieces.tolist()) == {0, 1}


def test_a_resolution_is_never_assumed(tmp_path: Path) -> None:
    """A slide that says none is refused; what is known of it goes before its file, and what is said of all after."""
    silent = write_slide(tmp_path / "a.tif", drawn(600, 600, [(0, 0, 600, 600, HE)]), mpp=None)
    with pytest.raises(DataError, match=r"a\.tif does not say its resolution: .* by --slide-mpp"):
        tile_slide(silent, TileSettings())
    assert tile_slide(silent, TileSettings(), otherwise=0.5).places[0].tolist() == [0, 0, 256, 256]
    telling = write_slide(tmp_path / "b.tif", drawn(600, 600, [(0, 0, 600, 600, HE)]), mpp=0.25)
    assert tile_slide(telling, TileSettings(), otherwise=0.5).places[0].tolist() == [0, 0, 512, 512]
    assert tile_slide(telling, TileSettings(), mpp=1.0).places[0].tolist() == [0, 0, 128, 128]
