"""Files kept of a tiled slide: its patches' coordinates, so that it is not cut again, and its pictures.

They lie below `tiles/` in the store, a folder a slide; all can be made again, so nothing breaks where they are removed.
"""

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from milstore.errors import StoreError
from milstore.pixels.slide_cache import THUMBNAIL, thumbnail_jpeg
from milstore.pixels.slide_pictures import jpeg, overview
from milstore.pixels.tiling import Tiled, TileSettings
from milstore.pixels.tissue import Places
from milstore.store.io import write_whole

_VERSION = 1
"""Of what is kept, and of how slides are cut: a higher one cuts them again."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cut:
    """What is kept of a slide that was cut."""

    places: Places
    """(N, 4): x, y, width and height in pixels of level 0, by (y, x)."""
    pieces: npt.NDArray[np.int64]
    """(N,)"""
    facts: dict[str, Any]
    """width, height, file_mpp, mpp, magnification, vendor, tissue and ink (square millimetres)."""


def overview_of(folder: Path, file: Path) -> Path:
    """The picture to check a cut by, which is kept in a file."""
    return folder / f"overview-{file.stem.removeprefix('cut-')}.jpg"


def last_overview(folder: Path) -> Path | None:
    """The newest picture of a slide; None if there is none."""
    found = sorted(folder.glob("overview-*.jpg"), key=lambda path: path.stat().st_mtime_ns)
    return found[-1] if found else None


def made_folder(folder: Path) -> Path:
    """The folder, there. StoreError if it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder} cannot be written ({error.strerror or error})") from error
    return folder


def cut_file(folder: Path, path: Path, settings: TileSettings) -> Path:
    """Where a cut of a slide is kept: by other settings, or of another file, it is another cut.

    Raises:
        OSError: the slide's file is not there.
    """
    facts = path.stat()
    said = [_VERSION, settings.identity, facts.st_size, facts.st_mtime_ns]
    return folder / f"cut-{hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]}.npz"


def read_cut(file: Path) -> Cut | None:
    """What is kept; None where there is nothing, or nothing that can be read."""
    try:
        with np.load(file, allow_pickle=False) as kept:
            places, pieces = kept["places"].astype(np.int64), kept["pieces"].astype(np.int64)
            facts = json.loads(bytes(kept["facts"]).decode("utf-8"))
    except Exception:
        # NumPy raises whatever it meets in a damaged file; the slide is cut again.
        return None
    good = places.ndim == 2 and places.shape[1] == 4 and len(pieces) == len(places) and isinstance(facts, dict)
    return Cut(places=places, pieces=pieces, facts=facts) if good else None


def keep(folder: Path, pictures: Path, file: Path, tiled: Tiled) -> Cut:
    """Keep a cut and its pictures."""
    facts: dict[str, Any] = {
        "width": tiled.width, "height": tiled.height, "file_mpp": tiled.file_mpp, "mpp": tiled.mpp,
        "magnification": tiled.magnification, "vendor": tiled.vendor, "tissue": round(tiled.tissue.area, 4),
        "ink": round(tiled.tissue.ink_area, 4),
    }  # fmt: skip
    _put(folder / THUMBNAIL, thumbnail_jpeg(tiled.tissue.thumbnail))
    _put(overview_of(pictures, file), jpeg(overview(tiled)))
    stream = io.BytesIO()
    text = np.frombuffer(json.dumps(facts).encode("utf-8"), np.uint8)
    np.savez_compressed(stream, places=tiled.places.astype(np.int32), pieces=tiled.pieces.astype(np.int32), facts=text)
    # Last: what says that the slide was cut.
    _put(file, stream.getvalue())
    return Cut(places=tiled.places, pieces=tiled.pieces, facts=facts)


def _put(path: Path, content: bytes) -> None:
    def write(temporary: Path) -> None:
        temporary.write_bytes(content)

    write_whole(path, write)
