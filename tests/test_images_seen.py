"""Images are read as every viewer shows them, by encoders and by charts alike."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from milstore.encoders.encode import encode_patches
from milstore.ingest.patches import ingest_patches
from milstore.pixels.image_file import SEEN, ImageFile
from milstore.pixels.pictures import PatchFolder
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import edit_cohort
from milstore.store.features import open_features
from tests.ingesting import new_store

W, B, R = (255, 255, 255), (0, 0, 0), (200, 30, 60)


def half(right: tuple[int, ...], mode: str = "RGBA") -> Image.Image:
    """16 x 16 pixels of tissue's red, the right half of another colour."""
    fill = (*R, 255) if mode == "RGBA" else R
    image = Image.new(mode, (16, 16), fill)
    image.paste(right, (8, 0, 16, 16))
    return image


def clear_palette() -> Image.Image:
    image = Image.new("P", (16, 16), 0)
    image.putpalette([*R, *B])
    image.paste(1, (8, 0, 16, 16))
    image.info["transparency"] = 1
    return image


TRANSPARENT = {
    "black and clear": (half((*B, 0)), W),
    "half clear": (half((0, 0, 0, 128)), (127, 127, 127)),
    "grey": (Image.merge("LA", [Image.new("L", (16, 16), 90), half((*B, 0)).getchannel("A")]), W),
    "palette": (clear_palette(), W),
}


@pytest.mark.parametrize(("image", "right"), TRANSPARENT.values(), ids=TRANSPARENT)
def test_transparent_pixels_are_white(tmp_path: Path, image: Image.Image, right: tuple[int, int, int]) -> None:
    """What was never scanned is background, as a viewer shows it, not black tissue."""
    image.save(tmp_path / "a.png")
    pixels = ImageFile().pixels(tmp_path / "a.png")
    left = (90, 90, 90) if image.mode == "LA" else R
    assert pixels.shape == (16, 16, 3)
    assert {tuple(p) for p in pixels[:, :8].reshape(-1, 3).tolist()} == {left}
    assert {tuple(p) for p in pixels[:, 8:].reshape(-1, 3).tolist()} == {right}


@pytest.mark.parametrize("ending", ["jpg", "png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_rotation_of_exif_is_applied(tmp_path: Path, ending: str, orientation: int) -> None:
    """An image that a camera turned has the size and the pixels that it is shown with."""
    image = Image.new("RGB", (24, 16), W)
    image.paste(B, (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{ending}"
    image.save(path, exif=exif, **({"quality": 100, "subsampling": 0} if ending == "jpg" else {}))
    turned = {
        1: [],
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_270],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_90],
    }[orientation]
    for way in turned:
        image = image.transpose(way)
    assert ImageFile().size(path) == image.size
    assert np.abs(ImageFile().pixels(path).astype(int) - np.asarray(image, int)).max() <= 4


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Patch 0 is half transparent, patch 1 half white, patch 2 half black."""
    (tmp_path / "p").mkdir()
    for i, image in enumerate((half((*B, 0)), half(W, "RGB"), half(B, "RGB"))):
        image.save(tmp_path / "p" / f"case_1_match_1_he_patch{i}.png")
    made = new_store(tmp_path)
    ingest_patches(made, tmp_path / "p")
    return made


def test_encoders_and_galleries_see_the_same(store: Store) -> None:
    """The features of the transparent patch are those of the white one, and so is its picture."""
    encode_patches(store, jobs=1)
    features = open_features(store, read_cohort(store), "hed").read("1")
    assert np.array_equal(features[0], features[1]) and not np.array_equal(features[0], features[2])
    folder = PatchFolder.of(store)
    patches = [{**row, "slice_name": "match_1"} for row in read_cohort(store).table("patches").to_pylist()]
    pictures = [np.asarray(folder.read(patch, 16).image) for patch in patches]
    assert np.array_equal(pictures[0], pictures[1]) and not np.array_equal(pictures[0], pictures[2])


def test_features_say_how_pixels_were_read(store: Store, tmp_path: Path) -> None:
    """It stands in the provenance; features of before that do not say so go on, and the difference is told."""
    encode_patches(store, jobs=1)
    (row,) = read_cohort(store).table("encoders").to_pylist()
    assert row["source"].endswith(f"({SEEN})")
    with edit_cohort(store) as edit:
        for name in ("encoders", "packs"):
            table = edit.table(name)
            plain = [{**each, "source": each["source"].removesuffix(f" ({SEEN})")} for each in table.to_pylist()]
            edit.replace(name, table.from_pylist(plain, table.schema))
    assert not encode_patches(store, jobs=1).changed
    half(W, "RGB").save(tmp_path / "p" / "case_2_match_1_he_patch0.png")
    ingest_patches(store, tmp_path / "p")
    assert encode_patches(store, jobs=1).notes[0] == (
        f"earlier features of hed were computed otherwise ({SEEN}, now): --replace computes all of them again"
    )
    sources = [pack["source"].endswith(f"({SEEN})") for pack in read_cohort(store).table("packs").to_pylist()]
    assert sources == [False, True]
