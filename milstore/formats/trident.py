"""Features of slides as TRIDENT writes them: HDF5 with features and coords, and a NumPy array in torch's `.pt`.

Coordinates are upper left corners in pixels of level 0, x before y. Rows of features and coords belong together; no patch
has a number.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from milstore.errors import DataError
from milstore.formats.hdf5 import opened_hdf5, own_dataset
from milstore.formats.interface import Layout, Vectors, reported
from milstore.formats.pt_vector import is_numpy, pickled
from milstore.formats.slide_vectors import is_slide_vector
from milstore.formats.tool_h5 import (
    Declared,
    SlideH5,
    declared_features,
    found_in,
    opened_whole,
    read_coords,
    text_attribute,
)
from milstore.formats.trident_job import (
    MARK,
    Geometry,
    coords_file,
    encoder_of,
    geometry_of,
    input_mpp,
    slide_state,
)


class TridentSlice(SlideH5):
    """A slide a file, by TRIDENT: HDF5 with features (N, D) and coords (N, 2) in level-0 pixels, with attributes."""

    def recognises(self, path: Path) -> bool:
        """An HDF5 file with `features`, and `coords` that say how large a patch is at level 0."""
        with opened_hdf5(path) as file:
            return "features" in file and "patch_idx" not in file and _is_marked(file)

    def layout(self, path: Path) -> Layout:
        """The layout of a file, with what its job folder says of the slide.

        Raises:
            DataError: it is damaged or of another tool, features and coords are not of one number, or it holds one vector of the
                whole slide.
        """
        with opened_whole(path) as file:
            if not _is_marked(file) or "features" not in file:
                raise DataError(
                    f"{path} is not of TRIDENT: it holds {found_in(file)}, and not features (N, D) beside coords with the "
                    f"attribute {MARK}"
                )
            coords, features = own_dataset(file, "coords", path), own_dataset(file, "features", path)
            if is_slide_vector(features.shape, coords.shape[0]):
                raise DataError(
                    f"{path} holds one vector of the whole slide, and no patch's: "
                    f"milstore export slide-vectors {path.parent} -o slides.parquet makes a table of such"
                )
            declared = declared_features(file, "features", path)
            xy = read_coords(file, "coords", path, declared.rows)
            return _layout(
                path,
                declared,
                xy,
                geometry_of(coords, path),
                text_attribute(coords, "name"),
                encoder_of(features, path),
            )


class TridentPt:
    """A slide a file, by TRIDENT: torch's .pt with a NumPy array (N, D); coordinates from its patches/ folder."""

    endings = ("pt",)

    def recognises(self, path: Path) -> bool:
        """A file of torch's that is one NumPy array."""
        return is_numpy(pickled(path))

    def layout(self, path: Path) -> Layout:
        """The layout of a file, from it and its file of coordinates. Imports torch.

        Raises:
            DataError: one is damaged, or they are not of one number of patches.
        """
        vectors = self.vectors(path)
        declared = Declared(vectors.shape[0], vectors.shape[1], vectors.dtype)
        beside = coords_file(path)
        if beside is None:
            return Layout(
                rows=declared.rows,
                width=declared.width,
                half=declared.half,
                patch_idx=np.arange(declared.rows),
                by_row=True,
                tool="trident",
                encoder=encoder_of(None, path),
                notes=(
                    "no patches/<slide>_patches.h5 lies beside the features: patches are numbered by row, and their places are unknown",
                ),
            )
        with reported(beside), opened_hdf5(beside) as file:
            xy = read_coords(file, "coords", beside)
            if len(xy) != declared.rows:
                raise DataError(
                    f"{path} has {declared.rows} features and {beside} {len(xy)} coords: they are not of the same patches"
                )
            coords = file["coords"]
            geometry, slide = geometry_of(coords, beside), text_attribute(coords, "name")
        return _layout(path, declared, xy, geometry, slide, encoder_of(None, path))

    def vectors(self, path: Path) -> Vectors:
        """The vectors (N, D), in the order of the file's rows. Imports torch."""
        from milstore.formats.pt_array import load_array

        vectors = load_array(path)
        shape = vectors.shape[1:] if vectors.ndim == 3 and vectors.shape[0] == 1 else vectors.shape
        if len(shape) != 2 or not shape[1]:
            raise DataError(f"{path} holds an array of shape {vectors.shape}: features of patches are (N, D)")
        return vectors.reshape(shape)


def _is_marked(file: Any) -> bool:
    coords = file.get("coords")
    return coords is not None and MARK in coords.attrs


def _layout(
    path: Path,
    declared: Declared,
    xy: npt.NDArray[np.number],
    geometry: Geometry,
    slide: str | None,
    encoder: str | None,
) -> Layout:
    state = slide_state(path, slide or path.stem)
    mpp, note = input_mpp(geometry, state)
    return Layout(
        rows=declared.rows,
        width=declared.width,
        half=declared.half,
        xy=xy,
        unit="level-0",
        patch_size=geometry.patch_size_level0,
        patch_px=None if geometry.patch_size is None else round(geometry.patch_size),
        overlap=None if geometry.overlap is None else round(geometry.overlap),
        mpp=mpp,
        slide=None if slide == path.stem else slide,
        slide_size=geometry.slide_size,
        tool="trident" if state.version is None else f"TRIDENT {state.version}",
        encoder=encoder,
        notes=() if note is None else (note,),
    )
