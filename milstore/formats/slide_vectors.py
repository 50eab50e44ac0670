"""Vectors of whole slides, a file a slide, as TRIDENT writes them into `slide_features_<encoder>`.

They are no features of patches: there is one for a slide, so nothing can attend to parts of it.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from milstore.errors import DataError
from milstore.formats.hdf5 import opened_hdf5, own_dataset, read_whole
from milstore.formats.interface import reported
from milstore.formats.small_file import LARGEST
from milstore.store.names import clip, named

ENDINGS = (".h5", ".hdf5")


def is_slide_vector(shape: tuple[int, ...], coords: int | None) -> bool:
    """Whether features of this shape are one vector of a slide and not one a patch.

    Args:
        shape: of `features`.
        coords: how many patches the file has coordinates of; None without any.

    Some slide encoders leave their batch axis: one row beside the coordinates of several patches is of no patch.
    """
    return len(shape) == 1 or (len(shape) == 2 and shape[0] == 1 and coords is not None and coords > 1)


def slide_vectors(folder: str | Path) -> pa.Table:
    """The vector of each slide of a folder: `slide` (text) and `vector` (list of D floats), in the order of the names.

    Args:
        folder: with an HDF5 file a slide: `features` (D,) or (1, D), and perhaps the slide's name as its attribute.

    Raises:
        DataError: there is no such file, one is damaged, holds features of patches, NaN, or another number of numbers, or
            two are of one slide.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(
            f"{folder} {'is no folder' if folder.exists() else 'does not exist'}: name a folder of .h5 files"
        )
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS and path.is_file())
    if not files:
        raise DataError(
            f"{folder} holds no .h5 file: name the folder of the slides' vectors, such as slide_features_titan"
        )
    found: dict[str, npt.NDArray[np.float32]] = {}
    for path in files:
        slide, vector = _read(path)
        first = next(iter(found.values()), vector)
        if slide in found:
            raise DataError(f"{path} is of slide {clip(slide)!r}, and so is another file of {folder}: remove one")
        if len(first) != len(vector):
            raise DataError(
                f"{path} has {len(vector)} numbers and {files[0]} has {len(first)}: vectors of one encoder are of one length"
            )
        found[slide] = vector
    width = len(next(iter(found.values())))
    numbers = pa.array(np.concatenate(list(found.values())))
    return pa.table({"slide": list(found), "vector": pa.FixedSizeListArray.from_arrays(numbers, width)})


def _read(path: Path) -> tuple[str, npt.NDArray[np.float32]]:
    """Name of the slide and its vector (D,)."""
    with reported(path), opened_hdf5(path) as file:
        if "features" not in file:
            raise DataError(f"{path} has no features (it holds {named(file) or 'nothing'}): create it again")
        dataset = own_dataset(file, "features", path)
        coords = file["coords"].shape[0] if "coords" in file else None
        if not is_slide_vector(dataset.shape, coords) and dataset.shape[:1] != (1,):
            raise DataError(
                f"{path} has features of shape {dataset.shape}: those are of patches, which milstore ingest features takes in"
            )
        if dataset.dtype.kind != "f" or not dataset.size or dataset.size * dataset.dtype.itemsize > LARGEST:
            raise DataError(
                f"{path} has features of shape {dataset.shape} and type {dataset.dtype}: they must be floats (D)"
            )
        vector = read_whole(dataset, "features", path).reshape(-1).astype(np.float32)
        slide = _slide_of(dataset)
    if not np.isfinite(vector).all():
        raise DataError(f"{path} holds NaN or infinity: create it again")
    return slide or path.stem, vector


def _slide_of(dataset: Any) -> str | None:
    name = dataset.attrs.get("name")
    return name if isinstance(name, str) and name else None
