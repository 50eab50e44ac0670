"""Pictures of patches for charts: read only below the patch folder, scaled down, and embedded in the chart.

A picture is shown only where it is surely the patch's: a file that lies elsewhere, is missing or damaged, or whose name
speaks of another patch gives a `Picture` without pixels that says why.
"""

import base64
import io
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from milstore.pixels.image_file import NoImageError, as_seen, opened_image
from milstore.pixels.registry import PIXELS
from milstore.pixels.slide_patches import SlidePatches
from milstore.store.cohort import read_cohort
from milstore.store.names import normal_case_id
from milstore.store.patch_root import patch_root
from milstore.store.paths import Store
from milstore.store.pattern import PatchName, parse_name
from milstore.store.settings import Settings

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image

_MOST_PIXELS = 1 << 26
_READERS = 4
_IDENTITY = ("case_id", "stain", "slice_name", "patch_idx", "file")


@dataclass(frozen=True, slots=True)
class Picture:
    """A patch's picture, or why there is none."""

    image: "Image | None"
    """RGB; None where there is no picture to show."""
    problem: str = ""
    """Why, in a few words; empty where there is one."""


class _NoPictureError(Exception):
    """Why a picture cannot be shown; the message stands in its place."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchFolder:
    """Where the patch images of a store lie."""

    root: Path | None
    """The folder that files are named below; None if no images were ingested."""
    settings: Settings
    slides: SlidePatches | None = None
    """The patches that lie on slides; None where only files are looked at."""

    @classmethod
    def of(cls, store: Store) -> "PatchFolder":
        """The patch folder that the cohort names."""
        cohort = read_cohort(store)
        return cls(root=patch_root(cohort), settings=store.settings, slides=SlidePatches(cohort))

    def read(self, patch: Mapping[str, Any], largest: int) -> Picture:
        """The picture of a patch, at most `largest` pixels in width and height.

        Args:
            patch: case_id, stain, slice_name (or null), patch_idx and file (or null).
            largest: pixels of the longer side; smaller pictures stay as they are.
        """
        file = patch["file"]
        try:
            if not isinstance(file, str) or not file:
                raise _NoPictureError("no image known")
            if self._names_another(patch, file):
                raise _NoPictureError("of another patch")
            return Picture(_small(_open(self._path(file)), largest))
        except _NoPictureError as problem:
            return Picture(None, str(problem))

    def read_all(self, patches: "pd.DataFrame", largest: int) -> list[Picture]:
        """The picture of each row's patch, in the order of the rows; of the slide where it has no file."""
        columns = [name for name in (*_IDENTITY, "slice_idx") if name in patches]
        rows = [{str(k): v for k, v in row.items()} for row in patches[columns].to_dict("records")]
        with ThreadPoolExecutor(_READERS) as readers:
            found = list(readers.map(lambda row: self.read(row, largest), rows))
        on_slides = [i for i, row in enumerate(rows) if not isinstance(row["file"], str) or not row["file"]]
        if self.slides is not None and on_slides:
            pictures = self.slides.pictures([rows[i] for i in on_slides], largest)
            for i, (image, problem) in zip(on_slides, pictures, strict=True):
                found[i] = Picture(image, problem)
        return found

    def _path(self, file: str) -> Path:
        """Where the file really is, if that is below the root."""
        outside = _NoPictureError("outside folder")
        parts = PurePosixPath(file)
        if "\0" in file or parts.is_absolute() or Path(file).is_absolute() or ".." in parts.parts:
            raise outside
        if self.root is None:
            raise _NoPictureError("no patch folder")
        try:
            root = self.root.resolve(strict=True)
            path = (root / file).resolve(strict=True)
        except FileNotFoundError:
            raise _NoPictureError("file missing") from None
        except (OSError, RuntimeError, ValueError):
            raise _NoPictureError("cannot be read") from None
        if not path.is_relative_to(root):
            raise outside
        return path

    def _names_another(self, patch: Mapping[str, Any], file: str) -> bool:
        """Whether the file's name speaks of another patch. One that the pattern cannot read says nothing."""
        pattern = self.settings.name_pattern
        name = parse_name(pattern, self.settings.stain_of, pattern.subject(file, PurePosixPath(file).stem))
        if not isinstance(name, PatchName):
            return False
        case, slice_name = normal_case_id(patch["case_id"]), patch["slice_name"]
        if (name.stain, name.patch_idx) != (patch["stain"], patch["patch_idx"]):
            return True
        if name.case_id == case:
            return isinstance(slice_name, str) and name.slice_name != slice_name
        # Where the case's id has an underscore, the default pattern reads its end as the slice's beginning.
        read, meant = f"{name.case_id}_{name.slice_name}".lower(), f"{case}_{slice_name}".lower()
        return not (case.startswith(f"{name.case_id}_") and (read == meant or not isinstance(slice_name, str)))


_SAID = {
    "missing": "file missing",
    "not a file": "not a file",
    "too large": "file too large",
    "no image": "not an image",
    "huge": "image too large",
}
"""What is said of a file without an image; of any other, that the image is damaged."""


def _open(path: Path) -> "Image":
    """The whole picture."""
    try:
        name = PIXELS.recognised([path])
        if name not in (None, "image"):
            from PIL import Image

            return Image.fromarray(PIXELS.find(name).pixels(path))
        with opened_image(path, follow=False) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise NoImageError("huge")
            return _rgb(image)
    except NoImageError as error:
        raise _NoPictureError(_SAID.get(error.problem, "damaged image")) from None
    except Exception:  # readers of other formats raise whatever they meet
        raise _NoPictureError("damaged image") from None


def _rgb(image: "Image") -> "Image":
    """The picture in RGB, as it is seen; more than 8 bits a channel scaled to what there is."""
    if image.mode.startswith(("I", "F")):
        low, high = image.convert("F").getextrema()
        scale = 255 / (high - low) if high > low else 0.0  # type: ignore[operator]
        return image.convert("F").point(lambda value: (value - low) * scale).convert("L").convert("RGB")
    return as_seen(image)


def _small(image: "Image", largest: int) -> "Image":
    from PIL import Image

    image.thumbnail((largest, largest), Image.Resampling.LANCZOS)
    return image


def data_uri(image: "Image", *, quality: int = 88) -> str:
    """The picture as a text that a chart can hold."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def is_data_uri(text: Any) -> bool:
    """Whether a text is a picture that `data_uri` made: nothing else may become an address in a chart."""
    return isinstance(text, str) and text.startswith("data:image/jpeg;base64,")
