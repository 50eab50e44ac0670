"""Whole slides: opened by openslide, and plain TIFF and OME-TIFF by tifffile where openslide does not open them."""

import contextlib
import importlib.util
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milstore.errors import DataError
from milstore.extras import needed
from milstore.pixels.interface import WholeSlide
from milstore.pixels.levels import LevelSlide, plausible_mpp, positive
from milstore.pixels.tiff_slide import TiffSlide, is_of_scanner, is_tiff
from milstore.store.names import clip

if TYPE_CHECKING:
    from PIL.Image import Image

_OME = "<OME"


def open_slide(path: str | Path) -> WholeSlide:
    """A whole slide, opened. What its file does not say (such as its resolution) is None, never assumed.

    Each thread and each process opens slides of its own.

    Raises:
        DataError: it is missing, empty, damaged, truncated or no slide.
        UsageError: it needs openslide, which is not installed.
    """
    path = Path(path)
    _refuse_unless_file(path)
    opened = _by_openslide(path)
    if opened is not None and _OME not in opened.comment:
        return opened
    if not is_tiff(path) or (opened is None and is_of_scanner(path)):
        if importlib.util.find_spec("openslide") is None:
            needed("openslide", extra="slides", why=f"reading {clip(str(path), 300)}")
        raise DataError(
            f"{clip(str(path), 300)} is damaged, truncated or no slide: copy it again from where it was scanned, or leave it out"
        )
    if opened is None:
        return TiffSlide(path)
    # openslide knows neither the resolution nor the levels of an OME-TIFF, and decodes what tifffile may not.
    with contextlib.suppress(DataError):
        tiff = TiffSlide(path)
        if tiff.is_decodable:
            opened.close()
            return tiff
        opened.mpp, opened.magnification = tiff.mpp, tiff.magnification
        tiff.close()
    return opened


def _refuse_unless_file(path: Path) -> None:
    shown = clip(str(path), 300)
    try:
        facts = path.stat()
    except FileNotFoundError:
        raise DataError(f"{shown} is missing: correct the path, or put the slide back") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{shown} cannot be read ({error}): correct the path, or its permissions") from error
    if not stat.S_ISREG(facts.st_mode):
        raise DataError(f"{shown} is no file: give the file of a slide")
    if not facts.st_size:
        raise DataError(f"{shown} is empty (0 bytes): copy it again from where it was scanned, or leave it out")
    if not os.access(path, os.R_OK):
        raise DataError(f"{shown} cannot be read: correct its permissions")


class OpenslideSlide(LevelSlide):
    """A slide that openslide reads."""

    def __init__(self, path: Path, handle: Any) -> None:
        """Read the properties from openslide."""
        said: Mapping[str, str] = handle.properties
        super().__init__(
            path,
            tuple((int(width), int(height)) for width, height in handle.level_dimensions),
            mpp=plausible_mpp(said.get("openslide.mpp-x")),
            magnification=positive(said.get("openslide.objective-power")),
            vendor=said.get("openslide.vendor"),
        )
        self.comment = said.get("openslide.comment") or ""
        """What the file says of itself."""
        self._handle = handle

    def close(self) -> None:
        """Close the file."""
        self._handle.close()

    def _region(self, level: int, x: int, y: int, width: int, height: int) -> "Image":
        from PIL import Image

        found: Image.Image = self._handle.read_region((x, y), level, (width, height))
        # Beyond the slide, and where nothing was scanned, it is transparent.
        if found.getchannel("A").getextrema() == (255, 255):
            return found.convert("RGB")
        return Image.alpha_composite(Image.new("RGBA", found.size, "white"), found).convert("RGB")


def _by_openslide(path: Path) -> OpenslideSlide | None:
    """The slide as openslide opens it; None where it does not, or is missing."""
    if importlib.util.find_spec("openslide") is None:
        return None
    openslide = needed("openslide", extra="slides", why=f"reading {clip(str(path), 300)}")
    try:
        return OpenslideSlide(path, openslide.OpenSlide(path))
    except openslide.OpenSlideUnsupportedFormatError:
        return None
    except openslide.OpenSlideError as error:
        raise DataError(
            f"{clip(str(path), 300)} is damaged or truncated ({clip(str(error), 160)}): copy it again from where it was scanned, "
            "or leave it out"
        ) from error
