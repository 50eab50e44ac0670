"""Preprocesses a patch's image for a network: resized, centre-cropped, scaled to 0 to 1, normalised.

Each step is what torchvision and the image processors of transformers do on an image of Pillow, to the last bit.
"""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from milstore.encoders.encoder_folder import EncoderSettings
from milstore.encoders.interface import Image
from milstore.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Resampling

Prepared = npt.NDArray[np.float32]
"""(N, 3, size, size)."""


def prepared(images: Sequence[Image], settings: EncoderSettings) -> Prepared:
    """The network's input for N images, each (height, width, 3) uint8.

    Raises:
        DataError: an image is not of the network's size, and the settings do not say that it is to be resized.
    """
    size = settings.size
    table = _table(settings.mean, settings.std)
    batch = np.empty((len(images), 3, size, size), np.float32)
    for into, image in zip(batch, images, strict=True):
        fitted = _fitted(image, settings)
        for channel in range(3):
            # Of 256 values each is reckoned once.
            np.take(table[channel], fitted[:, :, channel], out=into[channel], mode="clip")
    return batch


def size_refused(settings: EncoderSettings, width: int, height: int) -> str | None:
    """Why the network cannot take patches of this size, as text; None if it can."""
    if settings.resize is not None or (width, height) == (settings.size, settings.size):
        return None
    return (
        f"patches have {width} x {height} pixels and {settings.name} takes {settings.size} x {settings.size}: "
        f"cut them so, or let them be resized by resize = {settings.size} in encoder.toml if its authors do"
    )


@cache
def _table(mean: tuple[float, float, float], std: tuple[float, float, float]) -> npt.NDArray[np.float32]:
    """(3, 256): each channel's 256 values, normalised."""
    light = np.arange(256, dtype=np.float32) / np.float32(255)
    subtracted, divided = (np.array(values, np.float32)[:, None] for values in (mean, std))
    table: npt.NDArray[np.float32] = (light[None] - subtracted) / divided
    return table


def _fitted(image: Image, settings: EncoderSettings) -> Image:
    """The image (size, size, 3)."""
    height, width = image.shape[:2]
    if (why := size_refused(settings, width, height)) is not None:
        raise DataError(why)
    if settings.resize is not None and min(height, width) != settings.resize:
        image = _resized(image, settings.resize, settings.interpolation)
        height, width = image.shape[:2]
    # round(), to the even number at one half, is what torchvision does.
    top, left = round((height - settings.size) / 2), round((width - settings.size) / 2)
    return image[top : top + settings.size, left : left + settings.size]


def _resized(image: Image, shorter: int, interpolation: str) -> Image:
    from PIL import Image as Pillow

    ways: dict[str, Resampling] = {
        "bilinear": Pillow.Resampling.BILINEAR,
        "bicubic": Pillow.Resampling.BICUBIC,
    }
    height, width = image.shape[:2]
    scaled = (shorter, int(shorter * height / width)) if width <= height else (int(shorter * width / height), shorter)
    return np.asarray(Pillow.fromarray(image).resize(scaled, ways[interpolation]))
