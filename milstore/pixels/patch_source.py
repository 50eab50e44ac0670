"""Reads the pixels of patches in order, from image files or whole slides, ahead of use by threads."""

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, local

import numpy as np
import pyarrow as pa

from milstore.errors import DataError, MilstoreError, in_a_line
from milstore.pixels.image_file import check_patch_size
from milstore.pixels.interface import PixelFormat, Pixels, WholeSlide
from milstore.pixels.registry import PIXELS
from milstore.pixels.slide import open_slide
from milstore.plugins import format_name
from milstore.processors import processors
from milstore.store.names import clip
from milstore.store.paths import real_path
from milstore.store.slides import HasTables, Slide, Slides

LEVEL0 = "level0"
"""The unit of coordinates that count pixels of a slide's level 0."""
_CHUNK = 16
"""Patches that a thread reads at once: neighbours share tiles of the slide."""
_AHEAD = 3
"""Chunks that each thread may be ahead of who takes the patches."""
_OPEN = 4
"""Slides that a thread holds open."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchPlace:
    """Where the pixels of a patch are: in a file of its own, or on a slide."""

    file: str | None = None
    """Path of the image below the patch folder; it goes before the slide."""
    slide: Path | None = None
    """The slide's file, where the patch has no image."""
    x: int = 0
    """Upper left corner in pixels of level 0."""
    y: int = 0
    width: int = 0
    """In pixels of level 0."""
    height: int = 0
    edge: int | None = None
    """Pixels of its edge at the encoder's input, as its grid says; None if unknown."""


def slide_path(root: Path, slide: Slide) -> Path | None:
    """Where the file of a slide lies: as the table says, from the store's folder `root` if it says no whole path."""
    return None if not slide.path else root / slide.path


def patch_places(tables: HasTables, root: Path, patches: pa.Table) -> list[PatchPlace | None]:
    """Where the pixels of patches are, in the order of the rows; None for those that have neither a file nor a slide.

    Args:
        tables: the cohort, or an edit of it.
        root: the store's folder, from which paths of slides are told.
        patches: rows of the table `patches`, with all of its columns.
    """
    slides = Slides(tables)
    path_of = {name: slide_path(root, slide) for name, slide in slides.items()}
    rows = tables.table("slices").to_pylist()
    slide_of = {(row["case_id"], row["stain"], row["slice_idx"]): row["slide_id"] for row in rows}
    edge_of = {row["grid"]: row["edge"] for row in tables.table("grids").to_pylist()}
    found: list[PatchPlace | None] = []
    for row in patches.to_pylist():
        path = path_of.get(slide_of.get((row["case_id"], row["stain"], row["slice_idx"])) or "")
        edge = edge_of.get(row["grid"])
        if row["file"] is not None:
            found.append(PatchPlace(file=row["file"], edge=edge))
        elif path is None or row["unit"] != LEVEL0 or None in (row["x"], row["y"], row["width"], row["height"]):
            found.append(None)
        else:
            found.append(
                PatchPlace(slide=path, x=row["x"], y=row["y"], width=row["width"], height=row["height"], edge=edge)
            )
    return found


def patch_pixels(
    places: Sequence[PatchPlace],
    *,
    edge: int | None = None,
    root: Path | None = None,
    format_of: Mapping[str, str] | None = None,
    follow_links: bool = False,
    threads: int | None = None,
) -> Iterator[Pixels]:
    """The pixels (height, width, 3) of patches, one after the other in their order.

    They are read ahead by threads, each with handles of its own, while the caller works on those that came before; slides
    are opened when their first patch is wanted. Patches of one slide should follow each other, by (y, x).

    Args:
        places: where they are (see `patch_places`).
        edge: the edge of the images that are given, in pixels, such as the encoder's input; without it a file's image is as
            it is, and a patch of a slide as its grid says, or as many pixels as it has on level 0.
        root: the patch folder; needed where patches have files.
        format_of: name of the format of the files of each ending; found by their content if left out.
        follow_links: read images that links in the patch folder lead to.
        threads: how many read (default: one a processor); 0 reads in this one, nothing ahead.

    Raises:
        DataError: an image or a slide is missing or damaged; it is named.
        UsageError: a slide needs openslide, which is not installed.
    """
    files = [place.file for place in places if place.file is not None]
    if files and root is None:
        raise DataError("the patches have images, and the store knows no patch folder: run milstore ingest patches")
    if files and format_of is None and root is not None:
        format_of = PIXELS.by_ending(root, files)
    reader = _Reader(edge=edge, root=root, format_of=format_of or {}, follow_links=follow_links)
    chunks = [places[first : first + _CHUNK] for first in range(0, len(places), _CHUNK)]
    try:
        if threads == 0 or len(places) == 1:
            for place in places:
                yield reader.read(place)
            return
        many = min(threads or processors(), len(chunks) or 1)
        with ThreadPoolExecutor(many, thread_name_prefix="patches") as pool:
            waiting: deque[Future[list[Pixels]]] = deque()
            try:
                for chunk in chunks:
                    waiting.append(pool.submit(reader.read_all, chunk))
                    if len(waiting) > many * _AHEAD:
                        yield from waiting.popleft().result()
                while waiting:
                    yield from waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()
    finally:
        reader.close()


class OpenSlides:
    """The slides that one thread holds open: the last few that it read from."""

    def __init__(self) -> None:
        self._slides: OrderedDict[Path, WholeSlide] = OrderedDict()

    def get(self, path: Path) -> WholeSlide:
        """The slide, open. DataError or UsageError as `open_slide`."""
        if path not in self._slides:
            while len(self._slides) >= _OPEN:
                self._slides.popitem(last=False)[1].close()
            self._slides[path] = open_slide(path)
        self._slides.move_to_end(path)
        return self._slides[path]

    def close(self) -> None:
        """Close them all."""
        while self._slides:
            self._slides.popitem()[1].close()


@dataclass(kw_only=True)
class _Reader:
    """Reads patches, in any thread."""

    edge: int | None
    root: Path | None
    format_of: Mapping[str, str]
    follow_links: bool
    _mine: local = field(default_factory=local)
    _all: list[OpenSlides] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def read_all(self, places: Sequence[PatchPlace]) -> list[Pixels]:
        return [self.read(place) for place in places]

    def read(self, place: PatchPlace) -> Pixels:
        if place.file is None:
            return self._of_slide(place)
        if self.root is None:
            raise DataError(f"{clip(place.file, 200)} is known, and the folder that it lies below is not")
        name = format_name(self.format_of, place.file)
        pixels = read_image(self.root, place.file, follow_links=self.follow_links, format=name)
        return pixels if self.edge is None else scaled(pixels, self.edge)

    def _of_slide(self, place: PatchPlace) -> Pixels:
        if place.slide is None:
            raise DataError("a patch has neither an image nor a slide that it lies on")
        edge = self.edge or place.edge
        size = (place.width, place.height) if edge is None else (edge, edge)
        return self._slides().get(place.slide).read(place.x, place.y, place.width, place.height, size)

    def _slides(self) -> OpenSlides:
        if not hasattr(self._mine, "slides"):
            self._mine.slides = OpenSlides()
            with self._lock:
                self._all.append(self._mine.slides)
        slides: OpenSlides = self._mine.slides
        return slides

    def close(self) -> None:
        for slides in self._all:
            slides.close()


def scaled(pixels: Pixels, edge: int) -> Pixels:
    """An image at an edge of so many pixels."""
    if pixels.shape[:2] == (edge, edge):
        return pixels
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).resize((edge, edge), Image.Resampling.BICUBIC))


def read_image(root: Path, file: str, *, follow_links: bool = False, format: str = "image") -> Pixels:
    """The pixels (height, width, 3) of a patch image, RGB, as it is seen.

    Raises:
        DataError: the file lies outside the folder, is missing, damaged, not of the format, or of a size that no patch
            has.
    """
    path = root / file
    shown = clip(str(path), 300)
    if not _is_inside(root, file, follow_links=follow_links):
        raise DataError(f"{shown} lies outside the patch folder {root}: remove it, or use --follow-links for links")
    fmt: PixelFormat = PIXELS.find(format)
    try:
        pixels = fmt.pixels(path)
    except MilstoreError:
        raise
    except Exception as error:
        # Readers of users raise what they meet.
        raise DataError(f"{shown} is damaged ({clip(in_a_line(error), 160)}): create it again") from error
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise DataError(f"{shown}: format {format} gives no image (height, width, 3) of uint8 for it")
    check_patch_size(path, pixels.shape[1], pixels.shape[0])
    return pixels


def _is_inside(root: Path, file: str, *, follow_links: bool) -> bool:
    path = Path(file)
    if path.is_absolute() or ".." in path.parts:
        return False
    return follow_links or real_path(root / path).is_relative_to(real_path(root))
