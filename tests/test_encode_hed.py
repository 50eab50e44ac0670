"""The built-in encoder measures what it says, of one image at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from milstore.demo.drawing import DYE_COLOURS, SlicePlan, draw_slice
from milstore.encoders.hed import HedEncoder, measure
from milstore.encoders.hed_scales import SCALES


def _discs(centres: list[tuple[int, int]], radius: float, dye: str, amount: float, side: int = 64) -> np.ndarray:
    """White glass with discs of a dye."""
    y, x = np.mgrid[:side, :side]
    inside = np.zeros((side, side), bool)
    for row, column in centres:
        inside |= (y - row) ** 2 + (x - column) ** 2 <= radius**2
    density = inside[..., None] * amount * np.array(DYE_COLOURS[dye])
    return np.rint(255 * np.exp(-density)).astype(np.uint8)


def _of(image: np.ndarray) -> dict[str, float]:
    return {name: float(values[0]) for name, values in measure(image[None]).items()}


def test_three_blue_nuclei_are_three_blobs() -> None:
    """Three discs of haematoxylin: their number, cover, size and darkness, and no brown."""
    found = _of(_discs([(12, 12), (30, 45), (50, 20)], 5, "haematoxylin", 1.2))
    assert found["nuclei_number"] == pytest.approx(1000 * 3 / 64**2)
    assert found["nuclei_cover"] == pytest.approx(3 * 81 / 64**2, rel=0.1)
    assert found["nuclei_area"] == pytest.approx(np.log(81), abs=0.1)
    assert found["nuclei_area_std"] == pytest.approx(0, abs=0.02)
    assert found["nuclei_thick_max"] == pytest.approx(5, abs=1)
    assert found["nuclei_darkness"] == pytest.approx(1.2, abs=0.15)
    assert found["brown_number"] == found["brown_cover"] == 0
    assert found["glass"] == pytest.approx(1 - 3 * 81 / 64**2, abs=0.01)


def test_a_brown_nucleus_is_brown() -> None:
    """A disc of DAB counts as brown and not as a blue nucleus."""
    found = _of(_discs([(30, 30)], 8, "dab", 1.2))
    assert found["brown_number"] == pytest.approx(1000 / 64**2)
    assert found["nuclei_number"] == 0
    assert found["brown_thick_max"] == pytest.approx(8, abs=1)


def test_blobs_of_neighbouring_images_do_not_touch() -> None:
    """A blob belongs to its image: the same image twice is measured as it is alone."""
    image = _discs([(20, 20), (40, 40)], 6, "haematoxylin", 1.0)
    alone, pair = measure(image[None]), measure(np.stack([image, image]))
    assert {name: values.tolist() * 2 for name, values in alone.items()} == {n: v.tolist() for n, v in pair.items()}


def test_the_constants_name_every_measurement() -> None:
    """A vector holds each measurement once, and every scale is positive."""
    assert list(measure(np.full((1, 16, 16, 3), 200, np.uint8))) == list(SCALES)
    assert HedEncoder().n_features == len(SCALES) == 82
    assert all(scale > 0 for _, scale in SCALES.values())


@settings(max_examples=40, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(8, 20), st.integers(8, 20), st.just(3))))
def test_any_image_has_a_finite_vector(image: np.ndarray) -> None:
    """Whatever the pixels, each feature is a finite number from -8 to 8."""
    vector = HedEncoder().encode([image])
    assert (vector.shape, vector.dtype) == ((1, 82), np.float32)
    assert (np.abs(vector) <= 8).all()


@pytest.mark.parametrize("value", [0, 255])
def test_even_images_have_a_finite_vector(value: int) -> None:
    """Black and white patches have no texture, and no undefined features either."""
    assert np.isfinite(HedEncoder().encode([np.full((64, 64, 3), value, np.uint8)])).all()


def test_a_vector_depends_on_its_image_alone() -> None:
    """Images of several sizes come back in their order, each as if it were alone."""
    drawn = draw_slice(SlicePlan(stain="h&e", n_patches=6, seed=(1,)))
    images = [image[: 64 - 8 * (i % 3)] for i, image in enumerate(drawn.patches())]
    together = HedEncoder().encode(images)
    assert np.array_equal(together, np.concatenate([HedEncoder().encode([image]) for image in images]))


def test_features_of_stained_skin_are_of_unit_scale() -> None:
    """Over drawn slices of all stains the features lie around 0 with a deviation around 1."""
    images = [
        image
        for stain in ("h&e", "melan", "sox10")
        for image in draw_slice(SlicePlan(stain=stain, n_patches=50, seed=(2,))).patches()
    ]
    vectors = HedEncoder().encode(images)
    assert np.abs(np.median(vectors, axis=0)).max() < 1.5
    assert 0.3 < np.median(vectors.std(axis=0)) < 1.5
