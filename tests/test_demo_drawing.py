"""The demo's tissue: the same each time, coloured like its stain, and atypical where it is planted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import rgb2hed

from milstore.demo.drawing import MIN_COVER, PATCH_SIZE, STAINS, DrawnSlice, SlicePlan, draw_slice
from milstore.encoders.hed import measure


def _plan(stain: str, **changes: object) -> SlicePlan:
    return SlicePlan(**{"stain": stain, "n_patches": 40, "seed": (7,), **changes})  # type: ignore[arg-type]


def _patches(drawn: DrawnSlice) -> np.ndarray:
    return np.stack(list(drawn.patches()))


@pytest.mark.parametrize("stain", STAINS)
def test_the_same_plan_gives_the_same_bytes(stain: str) -> None:
    """Drawing depends on the plan alone, and another seed draws another slice."""
    plan = _plan(stain, atypia=0.8, regions=(3,))
    first, again, other = draw_slice(plan), draw_slice(plan), draw_slice(_plan(stain, seed=(8,)))
    assert first.pixels.tobytes() == again.pixels.tobytes()
    assert first.numbers.tolist() == again.numbers.tolist()
    assert first.planted.tolist() == again.planted.tolist()
    assert first.pixels.tobytes() != other.pixels.tobytes()


def test_a_stain_that_is_not_known_is_refused() -> None:
    """Only the study's stains can be drawn."""
    with pytest.raises(ValueError, match="stain 'pas' cannot be drawn"):
        draw_slice(_plan("pas"))


@settings(max_examples=12, deadline=None)
@given(n_patches=st.integers(1, 70), seed=st.integers(0, 1000), regions=st.lists(st.integers(1, 6), max_size=3))
def test_a_slice_has_as_many_patches_as_planned(n_patches: int, seed: int, regions: list[int]) -> None:
    """Every patch lies on the slice, has a number of its own in reading order, and empty glass leaves gaps."""
    drawn = draw_slice(_plan("h&e", n_patches=n_patches, seed=(seed,), regions=tuple(regions), atypia=0.5))
    rows, columns = (side // PATCH_SIZE for side in drawn.pixels.shape[:2])
    assert drawn.places.shape == (n_patches, 2)
    assert (drawn.places >= 0).all()
    assert (drawn.places < (rows, columns)).all()
    assert drawn.numbers.tolist() == sorted(set((drawn.places @ (columns, 1)).tolist()))
    assert _patches(drawn).shape == (n_patches, PATCH_SIZE, PATCH_SIZE, 3)
    assert drawn.planted.any() <= bool(regions)


def test_patches_are_cut_from_the_slice_at_their_places() -> None:
    """A patch's pixels are those of the slice at its row and column: neighbours join without a seam."""
    drawn = draw_slice(_plan("melan"))
    (row, column), pixels = drawn.places[7].tolist(), list(drawn.patches())[7]
    expected = drawn.pixels[row * 64 : row * 64 + 64, column * 64 : column * 64 + 64]
    assert np.array_equal(pixels, expected)


def test_haematoxylin_and_eosin_is_pink_and_violet() -> None:
    """An H&E slice is pink where it is light and blue-violet where it is dark; there is white glass."""
    pixels = draw_slice(_plan("h&e")).pixels.reshape(-1, 3).astype(int)
    light = pixels.sum(axis=1)
    tissue, nuclei = pixels[(light > 450) & (light < 660)], pixels[light < 400]
    red, green, blue = tissue.mean(axis=0)
    assert red > blue + 10 > green + 20
    red, green, blue = nuclei.mean(axis=0)
    assert blue > red + 10 > green + 20
    assert (light > 3 * 235).mean() > 0.1


@pytest.mark.parametrize("stain", ["melan", "sox10"])
def test_antibodies_are_brown_on_blue(stain: str) -> None:
    """Melan-A and SOX10 slices hold brown (DAB) cells, and blue nuclei that are not brown."""
    pixels = draw_slice(_plan(stain, atypia=0.8, regions=(6,))).pixels
    haematoxylin, _, dab = np.moveaxis(rgb2hed(pixels), -1, 0)
    brown, blue = pixels[dab > 0.05].astype(int), pixels[(haematoxylin > 0.03) & (dab < 0.005)].astype(int)
    assert 0.01 < len(brown) / dab.size < 0.3
    assert 0.01 < len(blue) / dab.size < 0.4
    red, green, blue_part = brown.mean(axis=0)
    assert red > green + 25
    assert green > blue_part
    assert blue.mean(axis=0)[2] > blue.mean(axis=0)[0] + 15


def test_h_and_e_holds_no_brown() -> None:
    """What is brown in the other stains is not in H&E."""
    dab = rgb2hed(draw_slice(_plan("h&e")).pixels)[..., 2]
    assert (dab > 0.12).mean() < 0.005


@pytest.mark.parametrize("stain", STAINS)
def test_planted_nuclei_are_larger(stain: str) -> None:
    """Dark blobs are thicker in planted patches than elsewhere, and more so with more atypia."""
    thickness = {}
    for atypia in (0.3, 0.9):
        drawn = draw_slice(_plan(stain, n_patches=80, atypia=atypia, regions=(8, 8)))
        assert drawn.planted.sum() >= 8
        # Nuclei are brown in SOX10; in Melan-A what is brown is the cell around them.
        blobs = measure(_patches(drawn))["brown_thick_max" if stain == "sox10" else "nuclei_thick_max"]
        thickness[atypia] = blobs[drawn.planted].mean()
        assert blobs[drawn.planted].mean() > blobs[~drawn.planted].mean() + 0.5
    assert thickness[0.9] > thickness[0.3] + 0.5


def test_planted_patches_of_a_region_are_neighbours() -> None:
    """A planted nest is one region: each of its patches touches another."""
    drawn = draw_slice(_plan("h&e", n_patches=80, atypia=0.9, regions=(6,)))
    planted = {tuple(place) for place in drawn.places[drawn.planted].tolist()}
    assert 4 <= len(planted) <= 14
    for row, column in planted:
        assert {(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)} & planted


def test_a_slice_without_regions_plants_nothing() -> None:
    """No region, no planted patch, whatever the atypia."""
    assert not draw_slice(_plan("sox10", atypia=1.0)).planted.any()
    assert 0 < MIN_COVER < 1
