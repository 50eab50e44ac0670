"""Thumbnails of slides, kept in the store: charts lay attention over them, also where the slide's file is gone.

They lie below `tiles/`, a folder a slide, and can be made again: nothing breaks where they are removed.
"""

import contextlib
import hashlib
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

from milstore.pixels.image_file import NoImageError, opened_image
from milstore.pixels.interface import Pixels
from milstore.pixels.slide import open_slide
from milstore.store.io import write_whole
from milstore.store.paths import Store

if TYPE_CHECKING:
    from PIL.Image import Image

THUMBNAIL = "thumbnail.jpg"
_EDGE = 1600
"""Pixels of its longer side."""
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.+=@-]{0,120}")


def folder_of(store: Store, slide_id: str) -> Path:
    """The cache folder of a slide; it need not exist."""
    name = slide_id
    if not _SAFE.fullmatch(slide_id):
        plain = re.sub(r"[^A-Za-z0-9_.-]", "_", slide_id)[:60].lstrip(".") or "slide"
        name = f"{plain}-{hashlib.sha256(slide_id.encode()).hexdigest()[:10]}"
    return store.root / "tiles" / name


def thumbnail_jpeg(pixels: Pixels) -> bytes:
    """A picture of a whole slide as it is kept."""
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((_EDGE, _EDGE), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    return stream.getvalue()


def thumbnail(store: Store, slide_id: str, path: Path | None) -> "Image":
    """The thumbnail of a slide: the one that is kept, else made of its file, and kept where the store can be written.

    Raises:
        DataError: there is none, and the slide cannot be read.
        UsageError: there is none, and the slide needs openslide, which is not installed.
        NoImageError: there is none, and no file is known.
    """
    from PIL import Image

    kept = folder_of(store, slide_id) / THUMBNAIL
    with contextlib.suppress(NoImageError), opened_image(kept, follow=False) as image:
        return image.convert("RGB")
    if path is None:
        raise NoImageError("missing")
    slide = open_slide(path)
    try:
        content = thumbnail_jpeg(slide.thumbnail(_EDGE))
    finally:
        slide.close()

    def write(temporary: Path) -> None:
        temporary.write_bytes(content)

    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_whole(kept, write)
    with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
        return image.convert("RGB")
