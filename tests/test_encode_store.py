"""`milstore encode`: features of every patch image, or one clear line and an unchanged store."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from milstore.cli.main import main
from milstore.encoders.encode import encode_patches
from milstore.encoders.hed import HedEncoder
from milstore.encoders.interface import Encoder
from milstore.encoders.registry import BUILT_IN
from milstore.errors import ConflictError, DataError, UsageError
from milstore.ingest.patches import ingest_patches
from milstore.pixels.patch_source import read_image
from milstore.store import Store, create_store
from milstore.store.cohort import read_cohort
from milstore.store.features import open_features

_RNG = np.random.default_rng(0)
_PIXELS = {
    f"case_{case}_match_1_{stain}_patch{patch}.png": _RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    for case in ("2", "10")
    for stain in ("h&e", "sox10")
    for patch in (0, 7)
}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Eight patches of two cases."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name, pixels in _PIXELS.items():
        Image.fromarray(pixels).save(folder / name)
    return folder


@pytest.fixture
def store(tmp_path: Path, images: Path) -> Store:
    """A store that knows these patches."""
    made = create_store(tmp_path / "store")
    ingest_patches(made, images)
    return made


def _files(store: Store) -> dict[str, bytes]:
    """Every file of a store but the DuckDB file and locks."""
    return {
        str(path.relative_to(store.root)): path.read_bytes()
        for path in store.root.rglob("*")
        if path.is_file() and path.suffix in (".parquet", ".npy", ".json")
    }


def test_each_patch_gets_the_vector_of_its_image(store: Store) -> None:
    """The stored row of a patch is what the encoder says of the file with its name."""
    report = encode_patches(store, "hed", jobs=1)
    assert (report.changed, report.patches, report.n_features, report.without_image) == (True, 8, 82, 0)
    packed = open_features(store, read_cohort(store), "hed")
    assert packed.dtype == "float32"
    for case_id in ("2", "10"):
        first, end = packed.case_rows[case_id]
        rows = packed.patches.slice(first, end - first).to_pylist()
        files = ["case_{case_id}_match_1_{stain}_patch{patch_idx}.png".format(**row) for row in rows]
        expected = HedEncoder().encode([_PIXELS[file] for file in files])
        assert np.array_equal(packed.read(case_id), expected)


def test_a_second_time_changes_nothing_and_says_so(store: Store) -> None:
    """Features that are there are not computed again; `replace` computes them, to the same bytes."""
    encode_patches(store, "hed", jobs=1)
    before = _files(store)
    again = encode_patches(store, "hed", jobs=1)
    assert (again.changed, again.seconds, again.lines()[-1]) == (False, 0.0, "nothing changed")
    assert encode_patches(store, "hed", jobs=1, replace=True).changed is False
    assert _files(store) == before


def test_new_patches_are_encoded_with_the_old(store: Store, images: Path) -> None:
    """After more patches were ingested, encoding covers them all."""
    encode_patches(store, "hed", jobs=1)
    Image.fromarray(_PIXELS["case_2_match_1_h&e_patch0.png"]).save(images / "case_2_match_1_h&e_patch99.png")
    ingest_patches(store, images)
    report = encode_patches(store, "hed", jobs=1)
    assert (report.changed, report.patches) == (True, 9)


def test_parallel_is_serial(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many processes compute, the features are the same to the last bit."""
    monkeypatch.setattr("milstore.encoders.encode._CHUNK", 3)
    encode_patches(store, "hed", jobs=1)
    (serial,) = read_cohort(store).table("encoders").to_pylist()
    encode_patches(store, "hed", jobs=2, replace=True)
    (parallel,) = read_cohort(store).table("encoders").to_pylist()
    assert parallel == serial


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no image at all", "is not a PNG, JPEG or TIFF image"),
        (b"", "is not a PNG, JPEG or TIFF image"),
        (None, "is missing"),
        ("cut", "is damaged"),
    ],
)
def test_an_unreadable_image_is_named_and_nothing_is_stored(
    store: Store, images: Path, content: bytes | str | None, message: str
) -> None:
    """One bad file: its name in one line, and the store as it was."""
    before = _files(store)
    path = images / "case_10_match_1_sox10_patch7.png"
    whole = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(whole[: len(whole) // 2] if isinstance(content, str) else content)
    with pytest.raises(DataError, match=f"case_10_match_1_sox10_patch7.png {message}") as caught:
        encode_patches(store, "hed", jobs=1)
    assert "\n" not in str(caught.value)
    assert _files(store) == before
    assert list((store.root / "features").iterdir()) == []


def test_an_image_outside_the_patch_folder_is_refused(tmp_path: Path, images: Path) -> None:
    """Neither `..` nor a link leads out; a link may where that is asked for."""
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "secret.png")
    (images / "link.png").symlink_to(tmp_path / "secret.png")
    for file in ("../secret.png", str(tmp_path / "secret.png"), "link.png"):
        with pytest.raises(DataError, match="lies outside the patch folder"):
            read_image(images, file)
    assert read_image(images, "link.png", follow_links=True).shape == (16, 16, 3)
    with pytest.raises(DataError, match="lies outside"):
        read_image(images, "../secret.png", follow_links=True)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1"])
def test_images_of_other_kinds_become_rgb(tmp_path: Path, mode: str) -> None:
    """Grey, palette and transparent images have three channels when they are read."""
    Image.new("RGB", (9, 12), (255, 255, 255)).convert(mode).save(tmp_path / "a.png")
    pixels = read_image(tmp_path, "a.png")
    assert (pixels.shape, pixels.dtype, pixels.min()) == ((12, 9, 3), np.uint8, 255)


def test_images_that_are_no_patch_are_refused(tmp_path: Path) -> None:
    """Too small, or of 16 bits: one line that says so."""
    Image.new("RGB", (7, 64)).save(tmp_path / "small.png")
    Image.fromarray(np.zeros((16, 16), np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match="has 7 x 64 pixels, which is no patch"):
        read_image(tmp_path, "small.png")
    with pytest.raises(DataError, match="not of 8 bits: convert it to RGB"):
        read_image(tmp_path, "deep.png")


def test_what_cannot_be_encoded_is_said(store: Store, tmp_path: Path) -> None:
    """An unknown encoder, a store without images."""
    with pytest.raises(UsageError, match="there is no encoder 'hedd': did you mean hed"):
        encode_patches(store, "hedd")
    with pytest.raises(ConflictError, match="no patch images: run milstore ingest patches first"):
        encode_patches(create_store(tmp_path / "empty"), "hed")


class _Mean:
    """An encoder of the tests' own: the mean colour."""

    name = "mean"
    n_features = 3

    def encode(self, images: list[np.ndarray]) -> np.ndarray:
        return np.array([image.mean(axis=(0, 1)) for image in images], np.float32)


def test_another_encoder_stands_in_its_place(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line in the table is all that a deep encoder needs."""
    fits: Encoder = _Mean()
    monkeypatch.setitem(BUILT_IN, fits.name, f"{__name__}:_Mean")
    report = encode_patches(store, "mean", jobs=1)
    assert report.lines()[0].startswith("mean: 3 features of 8 patches in ")
    assert not any("baseline" in line for line in report.lines())
    packed = open_features(store, read_cohort(store), "mean")
    assert packed.read("2")[0].tolist() == pytest.approx(
        _PIXELS["case_2_match_1_h&e_patch0.png"].mean(axis=(0, 1)).tolist(), abs=1e-3
    )


def test_the_command_says_that_it_is_a_baseline(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """`milstore encode` encodes and says what hed is, and so does its help."""
    assert main(["encode", "--store", str(store.root), "--jobs", "1"]) == 0
    said = capsys.readouterr().err
    assert "hed: 82 features of 8 patches" in said
    assert "hed is a baseline" in said
    assert main(["encode", "--help"]) == 0
    assert "baseline" in capsys.readouterr().out
