"""Opens patch images that Pillow reads, in one safe way: declared sizes are checked first."""

import logging
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from milstore.errors import DataError
from milstore.pixels.interface import Pixels
from milstore.store.names import clip

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "TIFF")
_LARGEST_FILE = 1 << 28
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

# Pillow logs what is wrong with a TIFF beside raising it; without a handler that would be a second line on the terminal.
logging.getLogger("PIL").addHandler(logging.NullHandler())

Problem = Literal["missing", "unreadable", "not a file", "too large", "no image", "huge", "damaged"]


class NoImageError(Exception):
    """Why an image file cannot be read."""

    def __init__(self, problem: Problem, detail: str = "") -> None:
        super().__init__(problem, detail)
        self.problem = problem
        self.detail = detail
        """What the system or Pillow says of it."""


@contextmanager
def opened_image(path: str | Path, *, follow: bool = True) -> Iterator["Image"]:
    """A patch image whose header was read; its pixels are decoded within the block. Unless `follow`, it may be no link.

    Raises:
        NoImageError: it is missing, no plain file, too large, no PNG, JPEG or TIFF, or damaged; also where that shows
            within the block.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        # Without waiting: a pipe in the place of an image would keep us for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW))
        with os.fdopen(handle, "rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged tags, and of sizes, which are looked at by whoever asks
            facts = os.fstat(handle)
            if not stat.S_ISREG(facts.st_mode):
                raise NoImageError("not a file")
            if facts.st_size > _LARGEST_FILE:
                raise NoImageError("too large")
            with Image.open(stream, formats=FORMATS) as image:
                yield image
    except (NoImageError, DataError):
        raise
    except FileNotFoundError as error:
        raise NoImageError("missing") from error
    except UnidentifiedImageError as error:
        raise NoImageError("no image") from error
    except Image.DecompressionBombError as error:
        raise NoImageError("huge") from error
    except OSError as error:
        raise NoImageError("unreadable" if error.strerror else "damaged", error.strerror or str(error)) from error
    except Exception as error:
        # Pillow raises whatever it meets in a damaged file: SyntaxError, ValueError, struct.error, …
        raise NoImageError("damaged", str(error)) from error


SEEN = "transparent pixels on white, EXIF rotation applied"
"""How the pixels of an image are read, in words that stand with the features that are computed of them."""
_ORIENTATION = 0x0112
_ON_ITS_SIDE = (5, 6, 7, 8)


def as_seen(image: "Image") -> "Image":
    """An image of 8 bits a channel as every viewer shows it, in RGB: transparent pixels on white, turned as its EXIF says."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image.convert("RGB")
    clear = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")


def size_as_seen(image: "Image") -> tuple[int, int]:
    """Width and height in pixels of an image as it is shown, its pixels not decoded."""
    width, height = image.size
    # Of a TIFF, Pillow has turned them.
    turned = image.format != "TIFF" and image.getexif().get(_ORIENTATION) in _ON_ITS_SIDE
    return (height, width) if turned else (width, height)


class ImageFile:
    """A patch a file: PNG, JPEG or TIFF of 8 bits."""

    endings = ("png", "jpg", "jpeg", "tif", "tiff")

    def recognises(self, path: Path) -> bool:
        """By the first bytes."""
        with path.open("rb") as stream:
            return stream.read(8).startswith(_MAGIC)

    def size(self, path: Path) -> tuple[int, int]:
        """Width and height in pixels, from the header alone."""
        try:
            with opened_image(path) as image:
                return size_as_seen(image)
        except NoImageError as error:
            raise _told(path, error, "has a damaged header: remove it or create it again") from error

    def pixels(self, path: Path) -> Pixels:
        """The image (height, width, 3), as it is seen: transparent pixels on white, turned as its EXIF says, grey as RGB."""
        try:
            with opened_image(path) as image:
                if image.mode not in _MODES:
                    raise DataError(
                        f"{clip(str(path), 300)} has pixels of kind {image.mode}, not of 8 bits: convert it to RGB"
                    )
                check_patch_size(path, *image.size)
                return np.asarray(as_seen(image))
        except NoImageError as error:
            raise _told(path, error, f"is damaged ({clip(error.detail)}): create it again") from error


SMALLEST_SIDE = 8
LARGEST_PATCH = 1 << 24
"""Pixels; what claims more is no patch."""


def check_patch_size(path: Path, width: int, height: int) -> None:
    """Raises DataError if an image is of a size that no patch has, before its pixels are decoded."""
    if min(width, height) < SMALLEST_SIDE or width * height > LARGEST_PATCH:
        raise DataError(f"{clip(str(path), 300)} has {width} x {height} pixels, which is no patch: create it again")


def _told(path: Path, error: NoImageError, damaged: str) -> DataError:
    said = {
        "missing": "is missing: put it back, or ingest the patches again with --replace",
        "unreadable": f"cannot be read: {error.detail}",
        "not a file": "cannot be read: it is no plain file",
        "too large": "is too large for the image of a patch: remove it or create it again",
        "no image": "is not a PNG, JPEG or TIFF image: remove it or create it again",
        "huge": "claims a size that no patch has: remove it or create it again",
        "damaged": damaged,
    }
    return DataError(f"{clip(str(path), 300)} {said[error.problem]}")
