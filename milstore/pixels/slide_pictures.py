"""Pictures of slides to check by eye: the thumbnail with the tissue's outline and the grid, and a sheet of a whole cohort."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from milstore.pixels.interface import Pixels
from milstore.pixels.tiling import Tiled

if TYPE_CHECKING:
    from PIL.Image import Image

_EDGE = 1200
"""Pixels of the longer side of a slide's picture."""
_SHEET_EDGE = 340
_OUTLINE, _GRID, _INK = (17, 94, 89), (0, 90, 255), (230, 30, 30)


def overview(tiled: Tiled) -> "Image":
    """A slide's thumbnail with its tissue outlined in green, ink in red, and the patches as blue squares."""
    from PIL import Image, ImageDraw
    from scipy import ndimage

    tissue = tiled.tissue
    factor = _EDGE / max(tissue.thumbnail.shape[:2])
    size = tuple(max(1, round(side * factor)) for side in tissue.thumbnail.shape[1::-1])
    image = Image.fromarray(tissue.thumbnail).resize(size, Image.Resampling.BICUBIC)
    drawn = np.array(image)
    for mask, colour, width in ((tissue.mask, _OUTLINE, 2), (tissue.ink, _INK, 2)):
        large = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
        drawn[large & ~ndimage.binary_erosion(large, iterations=width, border_value=1)] = colour
    image = Image.fromarray(drawn)
    draw = ImageDraw.Draw(image)
    scale = np.array([size[0] / tiled.width, size[1] / tiled.height] * 2)
    corners = tiled.places.copy()
    corners[:, 2:] += corners[:, :2]
    # Edges are rounded, not sizes: neighbours share a line.
    for x0, y0, x1, y1 in np.rint(corners * scale).astype(int).tolist():
        draw.rectangle((x0, y0, x1, y1), outline=_GRID)
    return image


def jpeg(image: "Image | Pixels", quality: int = 85) -> bytes:
    """A picture as a JPEG file."""
    from PIL import Image

    stream = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.convert("RGB").save(stream, "JPEG", quality=quality)
    return stream.getvalue()


@dataclass(frozen=True, kw_only=True, slots=True)
class OnSheet:
    """A slide on the contact sheet."""

    slide_id: str
    picture: bytes | None
    """Its overview, a JPEG; None where there is none."""
    words: Sequence[str]
    """Lines below it."""


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 13px/1.4 system-ui, sans-serif; margin: 16px; color: #111827; }}
main {{ display: flex; flex-wrap: wrap; gap: 14px; }}
figure {{ margin: 0; width: {edge}px; break-inside: avoid; }}
figure div {{ height: {edge}px; display: flex; align-items: center; justify-content: center; background: #F4F4F6; }}
img {{ max-width: {edge}px; max-height: {edge}px; }}
figcaption b {{ display: block; overflow-wrap: anywhere; }}
figcaption {{ color: #4B5563; }}
.none {{ color: #B91C1C; }}
</style></head><body><h1>{title}</h1><p>{lead}</p><main>
{figures}
</main></body></html>
"""


def contact_sheet(slides: Sequence[OnSheet], title: str, lead: str) -> str:
    """A page with a small picture of each slide; it needs no other file."""
    return _PAGE.format(
        title=escape(title), lead=escape(lead), edge=_SHEET_EDGE, figures="\n".join(_figure(slide) for slide in slides)
    )


def _figure(slide: OnSheet) -> str:
    shown = '<span class="none">no picture</span>'
    if slide.picture is not None:
        code = base64.b64encode(_small(slide.picture)).decode("ascii")
        shown = f'<img alt="{escape(slide.slide_id)}" src="data:image/jpeg;base64,{code}">'
    words = "<br>".join(escape(line) for line in slide.words)
    return f"<figure><div>{shown}</div><figcaption><b>{escape(slide.slide_id)}</b>{words}</figcaption></figure>"


def _small(picture: bytes) -> bytes:
    from PIL import Image

    with Image.open(io.BytesIO(picture), formats=["JPEG"]) as image:
        image.thumbnail((_SHEET_EDGE * 2, _SHEET_EDGE * 2), Image.Resampling.LANCZOS)
        return jpeg(image, 80)
