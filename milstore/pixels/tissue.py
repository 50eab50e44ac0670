"""Detects tissue on a slide by the colour of a thumbnail: stained tissue is coloured, and glass is not.

Saturation is that of HSV, 1 - min / max of the three channels: it needs no model of the stains, and keeps H&E as well as
DAB with its pale counterstain. Ink of pens is told by colours that no stain has.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from milstore.errors import UsageError
from milstore.pixels.interface import Pixels, WholeSlide

Channel = npt.NDArray[np.uint8]
"""(height, width): hue (255 is the full circle), saturation or brightness."""
Mask = npt.NDArray[np.bool_]
"""(height, width) of a thumbnail."""
Places = npt.NDArray[np.int64]
"""(N, 4): x, y, width and height in pixels of level 0."""

_UM_A_PIXEL = 8.0
"""Micrometres a pixel of the thumbnail: finer than a patch, and small for the largest slide."""
_LEAST_EDGE, _MOST_EDGE = 512, 8192
_MEDIAN_UM = 40.0
"""Width of the median filter: it takes single pixels away, on the glass and in the tissue."""
_LARGEST_MEDIAN = 9
"""Pixels; of a small slide the thumbnail is fine, and wider ones would take long."""
_CLOSE_UM = 24.0
"""Gaps up to twice this wide are closed, such as those between cells of loose tissue."""
_APART_UM = 250.0
"""Pieces of tissue nearer than twice this are one piece: fragments of one section."""
_COARSE = 8
"""Pixels that such a distance has where pieces are told apart: a finer picture would tell no more."""
_GREEN = (85.0, 200.0)
"""Hues in degrees: green and teal ink. No stain in use has them."""
_BLUE = (200.0, 250.0)
_PURE_GREEN, _PURE_BLUE = 0.25, 0.62
"""Saturation from which a hue is ink's: haematoxylin is blue too, and paler."""
_BLACK = 0.28
"""Brightness below which what has no colour is black ink, or a shadow at the edge."""
_COLOURLESS = 0.1
"""Difference between the channels, of 1."""
_INK_SPREADS_UM = 40.0


@dataclass(frozen=True, kw_only=True, slots=True)
class TissueSettings:
    """What counts as tissue."""

    saturation: float = 0.06
    """Saturation from which a pixel is tissue, 0 to 1: lower keeps paler tissue, higher leaves out a tinted background."""
    smallest: float = 0.02
    """Pieces of tissue smaller than this are left out as specks, in square millimetres."""
    holes: float = 0.25
    """Holes in the tissue up to this size are closed, in square millimetres."""
    keep_ink: bool = False
    """Keep what looks like ink of a pen."""

    def __post_init__(self) -> None:
        """Raises UsageError if a setting is out of range."""
        if not 0 < self.saturation < 1:
            raise UsageError(f"a saturation of {self.saturation:g} cannot be a threshold: give one between 0 and 1")
        if min(self.smallest, self.holes) < 0:
            raise UsageError("an area cannot be less than 0 square millimetres")


@dataclass(frozen=True, kw_only=True, eq=False)
class Tissue:
    """Where a slide has tissue."""

    thumbnail: Pixels
    """What it was told by."""
    mask: Mask
    ink: Mask
    """What looks like ink of a pen."""
    scale: tuple[float, float]
    """Pixels of level 0 in a pixel of the thumbnail, across and down."""
    um: float
    """Micrometres a pixel of the thumbnail."""

    @property
    def area(self) -> float:
        """Square millimetres of tissue."""
        return float(self.mask.sum()) * (self.um / 1000) ** 2

    @property
    def ink_area(self) -> float:
        """Square millimetres of ink."""
        return float(self.ink.sum()) * (self.um / 1000) ** 2

    def shares(self, places: Places) -> npt.NDArray[np.float64]:
        """The share of each patch (N,) that is tissue; what lies beyond the slide is none."""
        height, width = self.mask.shape
        x0, y0, x1, y1 = self._corners(places)
        inside = self._summed[np.clip(y1, 0, height), np.clip(x1, 0, width)]
        inside = inside - self._summed[np.clip(y0, 0, height), np.clip(x1, 0, width)]
        inside = inside - self._summed[np.clip(y1, 0, height), np.clip(x0, 0, width)]
        inside = inside + self._summed[np.clip(y0, 0, height), np.clip(x0, 0, width)]
        return np.asarray(inside / np.maximum((x1 - x0) * (y1 - y0), 1), np.float64)

    def pieces(self, places: Places) -> npt.NDArray[np.int64]:
        """The piece of tissue that each patch (N,) lies on, from 0, in the order of their upper left corners, by (y, x)."""
        from scipy import ndimage

        label, step = self._labels
        if not label.max():
            return np.full(len(places), -1, np.int64)
        corners = [(part[0].start, part[1].start, i) for i, part in enumerate(ndimage.find_objects(label))]
        number = np.empty(len(corners), np.int64)
        number[[i for *_, i in sorted(corners)]] = np.arange(len(corners))
        # The middle of a patch may lie on glass: the nearest tissue is its own.
        rows, columns = ndimage.distance_transform_edt(label == 0, return_distances=False, return_indices=True)
        x0, y0, x1, y1 = self._corners(places)
        x = np.clip((x0 + x1) // 2 // step, 0, label.shape[1] - 1)
        y = np.clip((y0 + y1) // 2 // step, 0, label.shape[0] - 1)
        return np.asarray(number[label[rows[y, x], columns[y, x]] - 1])

    def _corners(self, places: Places) -> tuple[Places, ...]:
        x, y, width, height = places.astype(float).T
        return tuple(
            np.rint(at).astype(np.int64)
            for at in (
                x / self.scale[0],
                y / self.scale[1],
                (x + width) / self.scale[0],
                (y + height) / self.scale[1],
            )
        )

    @cached_property
    def _summed(self) -> npt.NDArray[np.int64]:
        """Tissue above and left of each corner of a pixel."""
        return np.pad(self.mask.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))

    @cached_property
    def _labels(self) -> tuple[npt.NDArray[np.int32], int]:
        """The number of the piece of tissue in each square of so many pixels of the thumbnail, from 1; 0 where is none."""
        from skimage.measure import block_reduce, label

        step = max(1, int(_APART_UM / self.um / _COARSE))
        there = block_reduce(self.mask, (step, step), np.max)
        joined = label(_closed(there, _APART_UM / self.um / step), connectivity=2)
        return np.where(there, joined, 0).astype(np.int32), step


def find_tissue(slide: WholeSlide, mpp: float, settings: TissueSettings) -> Tissue:
    """Where a slide has tissue.

    Args:
        slide: the slide.
        mpp: micrometres a pixel of its level 0.
        settings: what counts as tissue.

    Raises:
        DataError: the slide cannot be read.
    """
    longer = max(slide.width, slide.height)
    edge = min(max(longer * mpp / _UM_A_PIXEL, _LEAST_EDGE), _MOST_EDGE, longer)
    thumbnail = slide.thumbnail(math.ceil(edge))
    scale = slide.width / thumbnail.shape[1], slide.height / thumbnail.shape[0]
    mask, ink = tissue_of(thumbnail, max(scale) * mpp, settings)
    return Tissue(thumbnail=thumbnail, mask=mask, ink=ink, scale=scale, um=max(scale) * mpp)


def tissue_of(pixels: Pixels, um: float, settings: TissueSettings) -> tuple[Mask, Mask]:
    """What of a picture is tissue, and what is ink.

    Args:
        pixels: (height, width, 3), RGB.
        um: micrometres a pixel.
        settings: what counts as tissue.
    """
    from PIL import Image
    from skimage.filters import rank

    hue, saturation, brightness = (np.array(each) for each in Image.fromarray(pixels).convert("HSV").split())
    width = _odd(_MEDIAN_UM / um)
    around = np.ones((width, width), np.uint8)
    ink = _ink(hue, saturation, brightness)
    if ink.any():
        # The median of yes and no.
        ink = np.asarray(rank.median(ink.astype(np.uint8), around) > 0)
    if ink.any():
        ink = _grown(_without_small(ink, settings.smallest / 4, um), _INK_SPREADS_UM / um)
    found = rank.median(saturation, around) >= settings.saturation * 255
    if not settings.keep_ink:
        found &= ~ink
    found = _closed(found, _CLOSE_UM / um)
    found = ~_without_small(~found, settings.holes, um, edges=True)
    if not settings.keep_ink:
        found &= ~ink
    return _without_small(found, settings.smallest, um), ink


def _odd(pixels: float) -> int:
    """The width of the median filter: an odd number of pixels."""
    return min(max(3, 2 * (int(pixels) // 2) + 1), _LARGEST_MEDIAN)


def _ink(hue: Channel, saturation: Channel, brightness: Channel) -> Mask:
    """Where the colour is a pen's: green and teal, a blue purer than haematoxylin's, and black without colour."""
    degrees, purity, light = hue * np.float32(360 / 255), saturation / np.float32(255), brightness / np.float32(255)
    green = (degrees >= _GREEN[0]) & (degrees <= _GREEN[1]) & (purity >= _PURE_GREEN)
    blue = (degrees >= _BLUE[0]) & (degrees <= _BLUE[1]) & (purity >= _PURE_BLUE)
    black = (light < _BLACK) & (purity * light < _COLOURLESS)
    return np.asarray(green | blue | black)


def _closed(mask: Mask, radius: float) -> Mask:
    """The mask after morphological closing by a disc of this radius in pixels; the edges of the picture stay."""
    from skimage.morphology import isotropic_dilation, isotropic_erosion

    width = math.ceil(radius) + 1
    padded = np.pad(mask, width)
    closed = isotropic_erosion(isotropic_dilation(padded, radius), radius)
    return np.asarray(closed[width:-width, width:-width] | mask)


def _grown(mask: Mask, radius: float) -> Mask:
    from skimage.morphology import isotropic_dilation

    return np.asarray(isotropic_dilation(mask, radius))


def _without_small(mask: Mask, smallest: float, um: float, *, edges: bool = False) -> Mask:
    """Without the pieces smaller than so many square millimetres; with `edges` those that touch the edge stay."""
    from skimage.measure import label

    labels = label(mask, connectivity=1 if edges else 2)
    keep = np.bincount(labels.ravel()) * (um / 1000) ** 2 >= smallest
    if edges:
        keep[np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))] = True
    keep[0] = False
    return np.asarray(keep[labels])
