"""Pictures of patches: read below the patch folder alone, and never a wrong one."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from milstore.pixels.pictures import PatchFolder, data_uri, is_data_uri
from milstore.store.settings import Settings

NAME = "case_2_match_1_h&e_patch3.png"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A patch folder with one red picture of 40 x 20, beside a secret."""
    (tmp_path / "patches").mkdir()
    Image.new("RGB", (40, 20), (200, 10, 10)).save(tmp_path / "patches" / NAME)
    Image.new("RGB", (40, 20), (10, 10, 200)).save(tmp_path / "secret.png")
    return tmp_path / "patches"


def _read(root: Path | None, file: str | None, largest: int = 64, **changes: Any) -> Any:
    patch = {"case_id": "2", "stain": "h&e", "slice_name": "match_1", "patch_idx": 3, "file": file, **changes}
    return PatchFolder(root=root, settings=Settings()).read(patch, largest)


def test_a_picture(root: Path) -> None:
    """It is read whole, and made small without losing its shape."""
    picture = _read(root, NAME, 10)
    assert (picture.image.size, picture.problem) == ((10, 5), "")
    assert picture.image.getpixel((5, 2)) == (200, 10, 10)
    assert _read(root, NAME).image.size == (40, 20)


@pytest.mark.parametrize(
    "file", ["../secret.png", "a/../../secret.png", "{root}/" + NAME, "{outside}/secret.png", "a\0b.png"]
)
def test_a_path_that_leaves_the_folder(root: Path, file: str) -> None:
    """No path upwards, absolute, or with a null byte is followed, wherever it leads."""
    picture = _read(root, file.format(root=root, outside=root.parent))
    assert (picture.image, picture.problem) == (None, "outside folder")


def test_a_link_that_leaves_the_folder(root: Path) -> None:
    """A link out is refused, of a file or of a folder above it; one within the folder is followed."""
    (root / "out.png").symlink_to(root.parent / "secret.png")
    (root / "up").symlink_to(root.parent)
    (root / "within.png").symlink_to(NAME)
    assert _read(root, "out.png").problem == "outside folder"
    assert _read(root, "up/secret.png").problem == "outside folder"
    assert _read(root, "within.png").image is not None


@pytest.mark.parametrize(
    "changes", [{"case_id": "3"}, {"stain": "melan"}, {"slice_name": "match_2"}, {"patch_idx": 4}], ids=str
)
def test_the_picture_of_another_patch(root: Path, changes: dict[str, Any]) -> None:
    """A file whose name speaks of another patch is not shown."""
    assert _read(root, NAME, **changes).problem == "of another patch"


def test_what_cannot_be_shown(root: Path) -> None:
    """Each has its words: no file named, no folder, missing, no image, a damaged one, a folder, a pipe, a loop."""
    (root / "text.png").write_text("no image")
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 50, 3), np.uint8)).save(whole, "PNG")
    (root / "half.png").write_bytes(whole.getvalue()[:3000])
    (root / "folder.png").mkdir()
    os.mkfifo(root / "pipe.png")
    (root / "loop.png").symlink_to("loop.png")
    problems = {
        file: _read(root, file).problem
        for file in (None, "", "missing.png", "text.png", "half.png", "folder.png", "pipe.png", "loop.png")
    }
    assert problems == {
        None: "no image known", "": "no image known", "missing.png": "file missing", "text.png": "not an image",
        "half.png": "damaged image", "folder.png": "damaged image", "pipe.png": "not a file",
        "loop.png": "cannot be read",
    }  # fmt: skip
    assert _read(None, NAME).problem == "no patch folder"
    assert _read(root / "gone", NAME).problem == "file missing"


def test_an_image_too_large(root: Path) -> None:
    """A picture of more pixels than a patch can have is not decoded."""
    Image.new("1", (1 << 14, 1 << 13)).save(root / "huge.png")
    assert _read(root, "huge.png").problem == "image too large"


@pytest.mark.parametrize(
    ("mode", "value"), [("RGBA", (0, 0, 0, 0)), ("L", 255), ("P", 0), ("I;16", 0), ("CMYK", (0, 0, 0, 0)), ("1", 1)]
)
def test_every_mode_becomes_rgb(root: Path, mode: str, value: Any) -> None:
    """Transparent is white; grey, palettes, 16 bits and CMYK are read too."""
    suffix = "jpg" if mode == "CMYK" else "png"
    Image.new(mode, (4, 4), value).save(root / f"a.{suffix}")
    image = _read(root, f"a.{suffix}").image
    assert image.mode == "RGB"
    if mode in ("RGBA", "L", "CMYK", "1"):
        assert min(image.getpixel((1, 1))) >= 250


def test_data_uris() -> None:
    """A picture as data is a JPEG; no other text is taken for one."""
    uri = data_uri(Image.new("RGB", (8, 8), "red"))
    assert is_data_uri(uri)
    assert not any(is_data_uri(text) for text in ("https://a.b/c.png", "data:text/html,<script>", None, float("nan")))
