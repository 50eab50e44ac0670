"""Slides in plain TIFF and OME-TIFF files, read by tifffile, and by Pillow where tifffile has no decoder."""

import importlib.util
import logging
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from milstore.errors import DataError, MilstoreError, in_a_line
from milstore.pixels.interface import Pixels
from milstore.pixels.levels import LevelSlide, plausible_mpp, positive
from milstore.store.names import clip

if TYPE_CHECKING:
    from PIL.Image import Image

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_UM = {"pm": 1e-6, "nm": 1e-3, "µm": 1.0, "μm": 1.0, "um": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}
"""Micrometres a unit, by the names of OME-XML; both signs for micro."""
_UM_OF_RESOLUTION = {2: 25_400.0, 3: 10_000.0, 4: 1_000.0, 5: 1.0}
"""Micrometres of the units of TIFF: inch, centimetre, and tifffile's millimetre and micrometre."""
_PLAIN = {1, 8, 32946}
"""Compressions that tifffile decodes alone: none and deflate."""
_WHOLE_PAGE = 1 << 28
"""Pixels of a page that Pillow, which reads pages whole, is given."""

# tifffile logs what is wrong beside raising it; without a handler that would be a second line on the terminal.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def is_tiff(path: Path) -> bool:
    """Whether a file begins as TIFF does."""
    with path.open("rb") as stream:
        return stream.read(4) in _MAGIC


def is_of_scanner(path: Path) -> bool:
    """Whether a TIFF is of a scanner's own kind, of which openslide knows more than tifffile. One that is damaged is not."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            return any(getattr(file, f"is_{kind}") for kind in ("svs", "ndpi", "scn", "bif", "philips"))
    except Exception:
        return False


class TiffSlide(LevelSlide):
    """A TIFF or OME-TIFF of 8 bits a channel: RGB, or grey."""

    def __init__(self, path: Path) -> None:
        """Open it. DataError if it is damaged, or has pixels of another kind."""
        import tifffile

        file: Any = None
        try:
            file = tifffile.TiffFile(path)
            ome = _ome_of(tifffile, file)
            self._pages = _levels(path, file)
            _refuse_truncated(self._pages, path.stat().st_size)
            mpp = _mpp_of_ome(ome) if ome else _mpp_of_page(self._pages[0])
            if ome and mpp is None:
                mpp = _mpp_of_page(self._pages[0])
        except MilstoreError:
            file.close()
            raise
        except Exception as error:
            if file is not None:
                file.close()
            raise DataError(
                f"{clip(str(path), 300)} is a damaged or truncated TIFF ({clip(in_a_line(error), 160)}): copy it again from "
                "where it was scanned, or leave it out"
            ) from error
        self._file = file
        sizes = tuple((int(page.imagewidth), int(page.imagelength)) for page in self._pages)
        vendor = "ome-tiff" if ome else "tiff"
        super().__init__(path, sizes, mpp=mpp, magnification=_magnification(ome), vendor=vendor)
        self._whole: dict[int, Pixels] = {}

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @cached_property
    def is_decodable(self) -> bool:
        """Whether tifffile decodes it tile by tile."""
        return all(_decodes(page) for page in self._pages)

    def _region(self, level: int, x: int, y: int, width: int, height: int) -> "Image":
        from PIL import Image

        left, top = (round(at / self._downsamples[level]) for at in (x, y))
        found = np.full((height, width, 3), 255, np.uint8)
        page = self._pages[level]
        if _decodes(page):
            self._paste(page, found, left, top)
        else:
            _put(found, self._page(level), -left, -top)
        return Image.fromarray(found)

    def _paste(self, page: Any, found: Pixels, left: int, top: int) -> None:
        """Put what a page has of a part of it into that part, whose corner lies at (left, top) of the page."""
        high, wide = page.chunks[:2]
        rows, columns = -(-page.imagelength // high), -(-page.imagewidth // wide)
        down = range(max(0, top // high), min(rows, -(-(top + len(found)) // high)))
        across = range(max(0, left // wide), min(columns, -(-(left + found.shape[1]) // wide)))
        indices = [row * columns + column for row in down for column in across]
        segments = self._file.filehandle.read_segments(
            [page.dataoffsets[i] for i in indices],
            [page.databytecounts[i] for i in indices],
            indices=indices,
            sort=True,
        )
        tables = {"jpegtables": page.jpegtables} if page.jpegtables else {}
        for data, index in segments:
            pixels, _, shape = page.decode(data, index, **tables)
            if pixels is not None:
                row, column = divmod(index, columns)
                part = pixels[0, : shape[1], : shape[2]]
                _put(found, _rgb(page, part), column * wide - left, row * high - top)

    def _page(self, level: int) -> Pixels:
        """A whole page, as Pillow reads it."""
        from PIL import Image

        if level not in self._whole:
            page = self._pages[level]
            if page.imagewidth * page.imagelength > _WHOLE_PAGE or not isinstance(page.index, int):
                raise DataError(
                    f"{clip(str(self.path), 300)} is compressed as {page.compression.name}, which tifffile decodes only with the "
                    "package imagecodecs: pip install imagecodecs"
                )
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, _WHOLE_PAGE
            try:
                with Image.open(self.path, formats=["TIFF"]) as image:
                    image.seek(page.index)
                    self._whole[level] = np.asarray(image.convert("RGB"))
            finally:
                Image.MAX_IMAGE_PIXELS = limit
        return self._whole[level]


def _put(found: Pixels, part: Pixels, left: int, top: int) -> None:
    """Put a part into an image, its corner at (left, top), which may lie outside."""
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(found.shape[1], left + part.shape[1]), min(found.shape[0], top + part.shape[0])
    if x1 > x0 and y1 > y0:
        found[y0:y1, x0:x1] = part[y0 - top : y1 - top, x0 - left : x1 - left]


def _decodes(page: Any) -> bool:
    return int(page.compression) in _PLAIN or importlib.util.find_spec("imagecodecs") is not None


def _rgb(page: Any, part: Any) -> Pixels:
    """Pixels (height, width, samples) of a page in RGB; transparent ones white."""
    if part.shape[2] == 1:
        grey = 255 - part if int(page.photometric) == 0 else part
        return np.asarray(np.repeat(grey, 3, axis=2), np.uint8)
    if part.shape[2] == 3:
        return np.asarray(part, np.uint8)
    opacity = part[..., 3:4].astype(np.float32) / 255
    return np.asarray(np.rint(part[..., :3] * opacity + 255 * (1 - opacity)), np.uint8)


def _levels(path: Path, file: Any) -> list[Any]:
    """The pages that show the whole slide, from the largest. DataError if they are no picture of 8 bits."""
    first = file.series[0].levels[0].keyframe
    pages = [level.keyframe for level in file.series[0].levels]
    # A pyramid of plain pages is no series of its own where its description is none that tifffile knows.
    pages += [page for page in file.pages if page.is_tiled and first.is_tiled and page not in pages]
    samples = first.samplesperpixel
    kind = int(first.photometric)
    fits = (samples == 1 and kind in (0, 1)) or (samples in (3, 4) and kind in (2, 6))
    if first.dtype != np.uint8 or not fits or (samples > 1 and int(first.planarconfig) != 1):
        raise DataError(
            f"{clip(str(path), 300)} has {samples} channels of {first.bitspersample} bits ({first.photometric.name}), not RGB of "
            "8 bits: convert it, or leave it out"
        )
    shape = first.imagewidth / first.imagelength
    found = {first.imagewidth: first}
    for page in pages:
        same_kind = page.dtype == first.dtype and page.samplesperpixel == samples
        smaller = page.imagewidth < first.imagewidth and page.imagelength < first.imagelength
        slack = 1 / min(page.imagewidth, page.imagelength)
        if same_kind and smaller and abs(page.imagewidth / page.imagelength / shape - 1) <= 2 * slack:
            found.setdefault(page.imagewidth, page)
    return [found[width] for width in sorted(found, reverse=True)]


def _refuse_truncated(pages: list[Any], size: int) -> None:
    """ValueError if pixels would lie beyond the end of the file."""
    end = max(
        offset + count for page in pages for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
    )
    if end > size:
        raise ValueError(f"pixels up to byte {end} of {size}")


def _ome_of(tifffile: Any, file: Any) -> dict[str, Any]:
    """The OME-XML of a file; empty if it has none."""
    if not file.is_ome or not file.ome_metadata:
        return {}
    found = tifffile.xml2dict(file.ome_metadata).get("OME", {})
    return found if isinstance(found, dict) else {}


def _first(found: Any) -> dict[str, Any]:
    """An element of OME-XML, the first if there are several."""
    element = found[0] if isinstance(found, list) and found else found
    return element if isinstance(element, dict) else {}


def _mpp_of_ome(ome: dict[str, Any]) -> float | None:
    pixels = _first(_first(ome.get("Image")).get("Pixels"))
    size = positive(pixels.get("PhysicalSizeX"))
    # Where OME-XML names no unit, it is the micrometre.
    unit = _UM.get(str(pixels.get("PhysicalSizeXUnit", "µm")))
    return None if size is None or unit is None else plausible_mpp(size * unit)


def _magnification(ome: dict[str, Any]) -> float | None:
    objective = _first(_first(ome.get("Instrument")).get("Objective"))
    return positive(objective.get("NominalMagnification"))


def _mpp_of_page(page: Any) -> float | None:
    tags = page.tags
    resolution = tags.valueof("XResolution")
    unit = _UM_OF_RESOLUTION.get(int(tags.valueof("ResolutionUnit", 2)))
    if not isinstance(resolution, tuple) or unit is None or not all(resolution):
        return None
    return plausible_mpp(unit * resolution[1] / resolution[0])
