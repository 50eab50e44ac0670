"""Reads TRIDENT's job folder on a slide's patches: attributes of coordinates, states of slides, configurations.

    job/
      wsi_states/<slide>__<hash>.json             micrometres a pixel, magnification, size of each slide
      contours_geojson/<slide>.geojson            outlines of tissue, in pixels of level 0
      20x_256px_0px_overlap/                      any name
        patches/<slide>_patches.h5                coords, in pixels of level 0, with attributes
        features_<encoder>/<slide>.h5 or .pt      features, the .pt without coordinates
        slide_features_<encoder>/<slide>.h5       a vector a slide

Nothing but the file itself has to be there; what is missing is unknown.
"""

import re
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from milstore.errors import DataError
from milstore.formats.tool_h5 import number_attribute, text_attribute
from milstore.store.names import clip
from milstore.store.plain import check_kind, parse_json

_STATE = re.compile(r"(.+)__[0-9a-f]+\.json")
_LARGEST = 1 << 26
_CLASS_WIDTH = 0.2
"""How far micrometres a pixel may lie from 10 / magnification, as a share, and still be called that magnification."""
MARK = "patch_size_level0"
"""The attribute of coordinates by which a file of TRIDENT is known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Geometry:
    """The attributes of coordinates."""

    patch_size: float | None
    """Edge of a patch in pixels of the target magnification, which is what the encoder sees."""
    patch_size_level0: float | None
    """Edge of a patch in pixels of level 0."""
    level0_magnification: float | None
    target_magnification: float | None
    overlap: float | None
    """Pixels of the target magnification."""
    level0_width: float | None
    level0_height: float | None

    @property
    def slide_size(self) -> tuple[int, int] | None:
        """Width and height of level 0."""
        if self.level0_width is None or self.level0_height is None:
            return None
        return round(self.level0_width), round(self.level0_height)


@dataclass(frozen=True, kw_only=True, slots=True)
class SlideState:
    """What the tool recorded of a slide."""

    mpp: float | None = None
    """Micrometres a pixel of level 0."""
    version: str | None = None
    """Of the tool; None where it did not know."""


def geometry_of(coords: Any, path: Path) -> Geometry:
    """The attributes of a data set of coordinates. DataError if a patch has no size, or one below 1."""
    found = Geometry(**{field.name: number_attribute(coords, field.name) for field in fields(Geometry)})
    for name in ("patch_size", "patch_size_level0", "target_magnification"):
        value = getattr(found, name)
        if value is not None and value <= 0:
            raise DataError(f"{path} has coords with {name} {value:g}: create it again")
    return found


def input_mpp(geometry: Geometry, state: SlideState) -> tuple[float | None, str | None]:
    """Micrometres a pixel at which the encoder saw the patches, and what is to be told of it.

    The tool cuts by magnification and takes slides of a magnification for alike, though scanners differ by some percent: those are
    10 / magnification. A slide whose own resolution says something else altogether is what it says.
    """
    target = geometry.target_magnification
    named = None if target is None else 10 / target
    measured = None
    if state.mpp is not None and geometry.patch_size and geometry.patch_size_level0:
        measured = state.mpp * geometry.patch_size_level0 / geometry.patch_size
    if named is None or (measured is not None and abs(measured - named) > _CLASS_WIDTH * named):
        return measured, None
    if measured is None:
        return named, f"micrometres a pixel are reckoned from the magnification ({target:g}x is {named:g})"
    return named, None


def encoder_of(features: Any, path: Path) -> str | None:
    """The encoder, as the attribute of a data set of features has it, or the folder's name; None where neither does."""
    said = None if features is None else text_attribute(features, "encoder")
    return said or path.parent.name.partition("features_")[2] or None


def coords_file(path: Path) -> Path | None:
    """The file with the coordinates of a features file without any; None if there is none beside it."""
    name = f"{path.stem}_patches.h5"
    places = (path.parent.parent / "patches" / name, path.parent / "patches" / name, path.parent / name)
    return next((each for each in places if each.is_file()), None)


def slide_state(path: Path, slide: str) -> SlideState:
    """What the job folder that a file lies in, two or three folders up, says of a slide; nothing where it says none.

    DataError if it cannot be understood.
    """
    for job in list(path.absolute().parents)[1:3]:
        folder = job / "wsi_states"
        if folder.is_dir():
            file = _states(folder, folder.stat().st_mtime_ns).get(slide)
            return SlideState() if file is None else _read_state(folder / file)
    return SlideState()


@lru_cache(maxsize=8)
def _states(folder: Path, stamp: int) -> dict[str, str]:  # noqa: ARG001 - a changed folder is another
    """The file of each slide."""
    files = sorted(each.name for each in folder.iterdir())
    return {match[1]: name for name in files if (match := _STATE.fullmatch(name))}


def _read_state(path: Path) -> SlideState:
    content = read_job_json(path)
    meta = content.get("meta")
    mpp = meta.get("mpp") if isinstance(meta, dict) else None
    version = content.get("trident_version")
    if not isinstance(mpp, int | float) or isinstance(mpp, bool) or not 0 < mpp < 1000:
        mpp = None
    return SlideState(
        mpp=mpp,
        version=clip(version, 20) if isinstance(version, str) and version not in ("", "unknown") else None,
    )


def read_job_json(path: Path) -> dict[str, Any]:
    """The object of a JSON file that the tool wrote. DataError if there is none in it."""
    try:
        check_kind(path)
        if path.stat().st_size > _LARGEST:
            raise DataError(
                f"{path} has {path.stat().st_size} bytes: that is too large for what a tool says of a slide"
            )
        content = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as JSON ({clip(' '.join(str(error).split()))}): create it again"
        ) from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no object of JSON: create it again")
    return content


@dataclass(frozen=True, kw_only=True, slots=True)
class JobConfiguration:
    """What a job folder's configurations say."""

    target_magnification: float | None = None
    patch_size: int | None = None
    """Pixels at the target magnification."""
    overlap: int | None = None
    encoders: tuple[str, ...] = ()
    """Encoders that features were computed with."""

    @property
    def mpp(self) -> float | None:
        """Micrometres a pixel at the target magnification."""
        return None if not self.target_magnification else 10 / self.target_magnification


def job_configuration(folder: Path) -> JobConfiguration:
    """What a folder of patches and features (such as 20x_256px_0px_overlap) says of how they were made.

    Raises:
        DataError: it has no `_config_coords.json`, or that cannot be understood.
    """
    path = folder / "_config_coords.json"
    if not path.is_file():
        raise DataError(
            f"{folder} has no _config_coords.json: name the folder that TRIDENT wrote patches and features into"
        )
    content = read_job_json(path)

    def number(name: str) -> float | None:
        value = content.get(name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    size, overlap = number("patch_size"), number("overlap")
    named = sorted(each.name for each in folder.glob("_config_feats_*.json"))
    return JobConfiguration(
        target_magnification=number("target_magnification"),
        patch_size=None if size is None else round(size),
        overlap=None if overlap is None else round(overlap),
        encoders=tuple(name.removeprefix("_config_feats_").removesuffix(".json") for name in named),
    )
