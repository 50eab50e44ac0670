"""Whole slides: what is read is what lies there, nothing is assumed, and what is no slide is told in one line."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from milstore.errors import DataError, UsageError
from milstore.pixels import slide as slide_module
from milstore.pixels.levels import LevelSlide
from milstore.pixels.slide import OpenslideSlide, open_slide
from milstore.pixels.tiff_slide import TiffSlide

HEIGHT, WIDTH = 512, 768


def noise(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Pixels that stand nowhere twice."""
    return np.random.default_rng(7).integers(0, 255, (height, width, 3), dtype=np.uint8)


def pyramid(path: Path, pixels: np.ndarray, *, mpp: float | None = 0.25, ome: dict[str, object] | None = None) -> Path:
    """A tiled TIFF of two levels, the second a quarter of the first's sides."""
    said = {"photometric": "rgb", "tile": (128, 128), "compression": "deflate"}
    if mpp is not None:
        said |= {"resolution": (10_000 / mpp, 10_000 / mpp), "resolutionunit": "CENTIMETER"}
    small = pixels.reshape(pixels.shape[0] // 4, 4, pixels.shape[1] // 4, 4, 3).mean((1, 3)).round().astype(np.uint8)
    with tifffile.TiffWriter(path, ome=ome is not None) as file:
        file.write(
            pixels, subifds=0 if ome is None else 1, metadata={"axes": "YXS", **(ome or {})} if ome else None, **said
        )
        file.write(small, subfiletype=1, metadata=None, photometric="rgb", tile=(128, 128), compression="deflate")
    return path


READERS = [OpenslideSlide, TiffSlide]


def opened(reader: type[LevelSlide], path: Path, monkeypatch: pytest.MonkeyPatch) -> LevelSlide:
    if reader is TiffSlide:
        monkeypatch.setattr(slide_module, "_by_openslide", lambda path: None)
    found = open_slide(path)
    assert type(found) is reader
    return found


@pytest.mark.parametrize("reader", READERS)
def test_level_0_is_read_to_the_pixel(
    tmp_path: Path, reader: type[LevelSlide], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part read at its own size is the pixels of level 0 that lie there, over the edges of tiles."""
    pixels = noise()
    slide = opened(reader, pyramid(tmp_path / "a.tif", pixels), monkeypatch)
    assert (slide.width, slide.height, slide.mpp) == (WIDTH, HEIGHT, 0.25)
    assert np.array_equal(slide.read(100, 37, 300, 200, (300, 200)), pixels[37:237, 100:400])


@pytest.mark.parametrize("reader", READERS)
def test_beyond_the_slide_is_white(tmp_path: Path, reader: type[LevelSlide], monkeypatch: pytest.MonkeyPatch) -> None:
    """A patch over the edge has the slide where there is one, and white elsewhere."""
    pixels = noise()
    slide = opened(reader, pyramid(tmp_path / "a.tif", pixels), monkeypatch)
    found = slide.read(WIDTH - 10, -20, 30, 50, (30, 50))
    assert np.array_equal(found[20:, :10], pixels[:30, -10:])
    assert found[:20].min() == 255
    assert found[:, 10:].min() == 255


@pytest.mark.parametrize("reader", READERS)
def test_a_scaled_part_is_of_the_best_level(
    tmp_path: Path, reader: type[LevelSlide], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a quarter it is the second level, to the pixel; at an eighth that level halved, not every eighth pixel."""
    pixels = noise()
    small = pixels.reshape(HEIGHT // 4, 4, WIDTH // 4, 4, 3).mean((1, 3)).round().astype(np.uint8)
    slide = opened(reader, pyramid(tmp_path / "a.tif", pixels), monkeypatch)
    assert np.array_equal(slide.read(40, 80, 400, 320, (100, 80)), small[20:100, 10:110])
    halved = small[20:100, 10:110].reshape(40, 2, 50, 2, 3).mean((1, 3))
    assert np.abs(slide.read(40, 80, 400, 320, (50, 40)) - halved).mean() < 8
    assert slide.thumbnail(96).shape == (64, 96, 3)


def test_a_large_part_is_read_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a part is more than memory should hold, its pieces make the same picture."""
    ramp = np.linspace(0, 255, WIDTH).astype(np.uint8)
    pixels = np.ascontiguousarray(np.broadcast_to(ramp[None, :, None], (HEIGHT, WIDTH, 3)))
    slide = open_slide(pyramid(tmp_path / "a.tif", pixels))
    whole = slide.read(0, 0, WIDTH, HEIGHT, (300, 200))
    monkeypatch.setattr("milstore.pixels.levels._AT_ONCE", 1 << 12)
    pieces = slide.read(0, 0, WIDTH, HEIGHT, (300, 200))
    assert np.abs(whole.astype(int) - pieces.astype(int)).max() <= 3


@pytest.mark.parametrize(
    ("size", "unit", "mpp"), [(0.25, "µm", 0.25), (250.0, "nm", 0.25), (0.0005, "mm", 0.5), (2.0, "parsec", None)]
)
def test_ome_tiff_says_its_resolution_in_any_unit(tmp_path: Path, size: float, unit: str, mpp: float | None) -> None:
    """PhysicalSizeX counts with its unit; of one that nobody knows nothing is made. Its levels are used."""
    said = {"PhysicalSizeX": size, "PhysicalSizeXUnit": unit}
    slide = open_slide(pyramid(tmp_path / "a.ome.tif", noise(), mpp=None, ome=said))
    assert isinstance(slide, TiffSlide)
    assert (slide.mpp, slide.vendor, len(slide._downsamples)) == (mpp, "ome-tiff", 2)


@pytest.mark.parametrize("dots", [(72, 72), (300, 300), (1, 1)])
def test_dots_of_a_printer_are_no_resolution(tmp_path: Path, dots: tuple[int, int]) -> None:
    """72 dots an inch would be 353 µm a pixel: no scanner's, so the slide has none."""
    path = tmp_path / "plain.tif"
    tifffile.imwrite(path, noise(64, 64), photometric="rgb", resolution=dots, resolutionunit="INCH", metadata=None)
    assert open_slide(path).mpp is None


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
def test_plain_tiff_in_strips_is_read(tmp_path: Path, compression: str | None) -> None:
    """What openslide does not open is read by tifffile, or by Pillow where tifffile has no decoder."""
    pixels = noise(300, 200)
    path = tmp_path / "plain.tif"
    Image.fromarray(pixels).save(path, compression=compression, dpi=(50_800, 50_800))
    slide = open_slide(path)
    assert (slide.width, slide.height, slide.mpp) == (200, 300, 0.5)
    assert np.array_equal(slide.read(50, 60, 100, 90, (100, 90)), pixels[60:150, 50:150])


def test_a_grey_tiff_is_rgb(tmp_path: Path) -> None:
    """Grey pixels come out as RGB."""
    path = tmp_path / "grey.tif"
    Image.fromarray(noise(64, 64)[..., 0]).save(path)
    assert np.array_equal(open_slide(path).read(0, 0, 64, 64, (64, 64)), np.repeat(noise(64, 64)[..., :1], 3, axis=2))


def _truncated(path: Path) -> None:
    pyramid(path, noise())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BAD = {
    "empty": (lambda path: path.write_bytes(b""), "is empty (0 bytes): copy it again"),
    "text": (lambda path: path.write_bytes(b"no slide " * 100), "is damaged, truncated or no slide: copy it again"),
    "missing": (lambda path: None, "is missing: correct the path"),
    "folder": (lambda path: path.mkdir(), "is no file: give the file of a slide"),
    "truncated": (_truncated, "copy it again from where it was scanned"),
    "float": (lambda path: tifffile.imwrite(path, np.zeros((64, 64), np.float32)), "not RGB of 8 bits: convert it"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_slide_is_told_in_one_line(tmp_path: Path, kind: str) -> None:
    """The file is named, and what to do; nothing else is raised."""
    make, said = BAD[kind]
    path = tmp_path / "bad.tif"
    make(path)
    with pytest.raises(DataError) as error:
        slide = open_slide(path)
        slide.read(0, 0, slide.width, slide.height, (slide.width, slide.height))
    assert said in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_without_openslide_a_tiff_is_read_and_a_scanners_file_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """openslide is wanted only where its own formats are."""
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openslide" else real(name))
    monkeypatch.setitem(__import__("sys").modules, "openslide", None)
    assert open_slide(pyramid(tmp_path / "a.tif", noise())).mpp == 0.25
    other = tmp_path / "a.mrxs"
    other.write_bytes(b"x" * 100)
    with pytest.raises(UsageError, match=r"a\.mrxs needs the package openslide: pip install 'milstore\[slides\]'"):
        open_slide(other)


@pytest.mark.shared
def test_a_real_slide(shared_data: Path) -> None:
    """What an Aperio scanner wrote is read with what it says of itself."""
    slide = open_slide(shared_data / "slides" / "CMU-1-Small-Region.svs")
    assert (slide.width, slide.height, slide.mpp, slide.magnification, slide.vendor) == (
        2220,
        2967,
        0.499,
        20,
        "aperio",
    )
    assert slide.thumbnail(300).shape == (300, 224, 3)
