"""Features of slides as CLAM writes them: HDF5 with features and coords without any attribute, or a tensor without places.

    FEATURES_DIRECTORY/h5_files/<slide>.h5    features (N, D); coords (N, 2), upper left corners in pixels of level 0
    FEATURES_DIRECTORY/pt_files/<slide>.pt    the same rows of features
    RESULTS_DIRECTORY/patches/<slide>.h5      the coords, and how large a patch is

How large a patch is stands in the last alone.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from milstore.errors import DataError, UsageError
from milstore.formats.hdf5 import opened_hdf5
from milstore.formats.interface import Layout, Vectors, reported
from milstore.formats.pt_shapes import is_matrix
from milstore.formats.pt_vector import PT_FILES, is_bag, pickled
from milstore.formats.tool_h5 import (
    Declared,
    SlideH5,
    declared_features,
    found_in,
    number_attribute,
    opened_whole,
    read_coords,
    text_attribute,
)
from milstore.formats.trident_job import MARK
from milstore.store.names import clip

H5_FILES = "h5_files"
_UP = 3
"""Folders above that of the features beside which patches/ is looked for."""
_NO_EDGE = "no patches/<slide>.h5 by CLAM lies beside the features: how large a patch is is not known (--companion DIR names the folder)"
_NO_PLACES = (
    "neither h5_files/ nor patches/ by CLAM beside pt_files/ has the places of as many patches: patches are numbered by row, "
    "and their places are not known"
)


class ClamSlice(SlideH5):
    """A slide a file, by CLAM: HDF5 with features (N, D) and coords (N, 2) in level-0 pixels, without attributes."""

    def recognises(self, path: Path) -> bool:
        """An HDF5 file with nothing but `features` and `coords`, and no attribute."""
        with opened_hdf5(path) as file:
            return set(file) == {"features", "coords"} and not any(
                len(each.attrs) for each in (file, file["features"], file["coords"])
            )

    def __init__(self, companion: Path | None = None) -> None:
        """A reader that takes the patch size from the file beside, or from one in a given folder."""
        self._companion = companion

    def with_companion(self, folder: Path) -> "ClamSlice":
        """The reader that takes it from this folder."""
        return ClamSlice(folder)

    def layout(self, path: Path) -> Layout:
        """The index of a file, completed from CLAM's file of its patches.

        Raises:
            DataError: one is damaged or of another tool, or the two are not of the same patches.
            UsageError: the companion's folder has no file of this slide.
        """
        with opened_whole(path) as file:
            if not {"features", "coords"} <= set(file) or MARK in file["coords"].attrs:
                raise DataError(
                    f"{path} is not of CLAM: it holds {found_in(file)}, and not features (N, D) and coords (N, 2) alone"
                )
            declared = declared_features(file, "features", path)
            xy = read_coords(file, "coords", path, declared.rows)
        found = patches_file(path, self._companion)
        patches = None if found is None else read_patches(found)
        if patches is not None and not _same_places(xy, patches.xy):
            raise DataError(
                f"{path} has {len(xy)} patches and {found} {len(patches.xy)}, not at the same places: they are not of one run of "
                "CLAM; name the folder that these features were made from by --companion"
            )
        return _layout(declared, xy, patches, path)


class ClamPt:
    """A slide a file, by CLAM: torch's .pt with a tensor (N, D); its places from h5_files/ or patches/ beside it."""

    endings = ("pt",)

    def recognises(self, path: Path) -> bool:
        """A file of torch's that is one tensor (N, D); of one row in a folder `pt_files` alone."""
        return not is_bag(path) and is_matrix(pickled(path), one_row=path.parent.name == PT_FILES)

    def __init__(self, companion: Path | None = None) -> None:
        """A reader that takes places and how large patches are from files beside, or from those in a folder."""
        self._companion = companion

    def with_companion(self, folder: Path) -> "ClamPt":
        """The reader that takes them from this folder."""
        return ClamPt(folder)

    def layout(self, path: Path) -> Layout:
        """The index of a file, completed from the files with the coordinates of its rows. Imports torch.

        Raises:
            DataError: one is damaged, or of another tool.
            UsageError: the companion's folder has no file of this slide.
        """
        vectors = self.vectors(path)
        declared = Declared(vectors.shape[0], vectors.shape[1], vectors.dtype)
        beside = path.parent.parent / H5_FILES / f"{path.stem}.h5"
        if beside.is_file():
            with reported(beside), opened_hdf5(beside) as file:
                xy = read_coords(file, "coords", beside) if "coords" in file else None
            if xy is not None and len(xy) == declared.rows:
                found = patches_file(path, self._companion)
                patches = None if found is None else read_patches(found)
                same = patches is not None and _same_places(xy, patches.xy)
                return _layout(declared, xy, patches if same else None, path)
        found = patches_file(path, self._companion)
        patches = None if found is None else read_patches(found)
        if patches is not None and len(patches.xy) == declared.rows:
            return _layout(declared, patches.xy, patches, path)
        return Layout(
            rows=declared.rows,
            width=declared.width,
            half=declared.half,
            patch_idx=np.arange(declared.rows),
            by_row=True,
            tool="clam",
            notes=(_NO_PLACES,),
        )

    def vectors(self, path: Path) -> Vectors:
        """The vectors (N, D), in the order of the file's rows. Imports torch."""
        from milstore.formats.pt_load import load_matrix

        return load_matrix(path)


# --- CLAM's file of patches -------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Patches:
    """The contents of a file below `patches/`."""

    xy: npt.NDArray[np.number]
    """(N, 2): upper left corners in pixels of level 0, x before y."""
    edge: float
    """Of a patch, in pixels of level 0."""
    edge_of_level: int
    """The same in pixels of the level that it was read from, which is what the encoder is given."""
    slide: str | None
    slide_size: tuple[int, int] | None
    """Width and height of level 0; None where the file has another level's alone."""


def patches_file(path: Path, companion: Path | None) -> Path | None:
    """CLAM's file of the patches of a file of features: in the folder that is named (or patches/ in it), else below a folder
    above; None where there is none.

    UsageError if a folder is named that does not have it.
    """
    name = f"{path.stem}.h5"
    if companion is not None:
        tried = [companion / name, companion / "patches" / name]
        found = next((each for each in tried if each.is_file()), None)
        if found is None:
            raise UsageError(f"--companion {companion} has no {clip(name)}: name CLAM's folder patches/")
        return found
    above = list(path.absolute().parents)[1 : _UP + 1]
    folders = [each / inside for each in above for inside in ("patches", "RESULTS_DIRECTORY/patches")]
    return next((folder / name for folder in folders if _is_of_patches(folder / name)), None)


def _is_of_patches(path: Path) -> bool:
    """Whether there is such a file, by CLAM: other tools have folders of this name too."""
    if not path.is_file():
        return False
    with reported(path), opened_hdf5(path) as file:
        return "coords" in file and "patch_level" in file["coords"].attrs


def read_patches(path: Path) -> Patches:
    """The contents of CLAM's file of a slide's patches. Raises DataError if it is damaged, or lacks the patch size."""
    with reported(path), opened_hdf5(path) as file:
        xy = read_coords(file, "coords", path)
        coords = file["coords"]
        size, level = number_attribute(coords, "patch_size"), number_attribute(coords, "patch_level")
        downsample = _pair(coords, "downsample")
        if size is None or size < 1 or level is None or downsample is None or min(downsample) <= 0:
            raise DataError(
                f"{path} does not say how large a patch is (attributes patch_size, patch_level and downsample of coords): make it "
                "again by CLAM's create_patches_fp.py"
            )
        dims = _pair(coords, "level_dim") if level == 0 else None
        return Patches(
            xy=xy,
            edge=round(size * downsample[0], 3),
            edge_of_level=round(size),
            slide=text_attribute(coords, "name"),
            slide_size=None if dims is None else (round(dims[0]), round(dims[1])),
        )


def _pair(dataset: Any, name: str) -> tuple[float, float] | None:
    """An attribute of two finite numbers; None if there is none of this name, or it is something else."""
    value = np.asarray(dataset.attrs.get(name))
    if value.dtype.kind not in "iuf" or value.shape != (2,) or not np.isfinite(value).all():
        return None
    return float(value[0]), float(value[1])


def _same_places(one: npt.NDArray[np.number], other: npt.NDArray[np.number]) -> bool:
    """Whether two files have the same places, in any order."""
    return one.shape == other.shape and bool(
        np.array_equal(np.unique(one.astype(np.float64), axis=0), np.unique(other.astype(np.float64), axis=0))
    )


def _layout(declared: Declared, xy: npt.NDArray[np.number], patches: Patches | None, path: Path) -> Layout:
    known = {}
    if patches is not None:
        known = {
            "patch_size": patches.edge,
            "patch_px": patches.edge_of_level,
            "slide": None if patches.slide == path.stem else patches.slide,
            "slide_size": patches.slide_size,
        }
    return Layout(
        rows=declared.rows,
        width=declared.width,
        half=declared.half,
        xy=xy,
        unit="level-0",
        tool="clam",
        notes=() if patches is not None else (_NO_EDGE,),
        **known,  # type: ignore[arg-type]
    )
