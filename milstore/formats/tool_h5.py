"""HDF5 files of other tools: features and coordinates under the tool's own names, checked before they are read."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from milstore.errors import DataError
from milstore.formats.csv_table import file_size
from milstore.formats.hdf5 import check_filled, opened_hdf5, own_dataset, read_whole
from milstore.formats.interface import Vectors, reported
from milstore.formats.npy import is_bfloat16
from milstore.formats.slice_arrays import LARGEST
from milstore.store.names import clip, named

_SHOWN = 5


@contextmanager
def opened_whole(path: Path) -> Iterator[Any]:
    """An open `h5py.File`. DataError, naming it, if it is empty, no HDF5, or what is read in the block is damaged."""
    if not file_size(path, "a file of features"):
        raise DataError(f"{path} is empty: create it again")
    with reported(path), opened_hdf5(path) as file:
        yield file


class SlideH5:
    """Common to formats whose files hold the features of a slide as one data set."""

    endings: tuple[str, ...] = ("h5", "hdf5")
    features = "features"
    """Name of the data set with the features."""

    def vectors(self, path: Path) -> Vectors:
        """The vectors (N, D), in the order of the file's rows."""
        with opened_whole(path) as file:
            return read_features(file, self.features, path)


@dataclass(frozen=True, slots=True)
class Declared:
    """The declared layout of a file's features; none are read."""

    rows: int
    width: int
    dtype: np.dtype[Any]

    @property
    def half(self) -> bool:
        """Whether they are float16, in either order of bytes."""
        return self.dtype.kind == "f" and self.dtype.itemsize == 2


def found_in(file: Any) -> str:
    """The data sets of an open file, as text: features (5, 8), coords (5, 2)."""
    names = list(file)
    # What a link leads to may be gone.
    found = [(name, getattr(file.get(name), "shape", None)) for name in names[:_SHOWN]]
    return (
        named([clip(name) if shape is None else f"{clip(name)} {shape}" for name, shape in found], _SHOWN) or "nothing"
    )


def declared_features(file: Any, name: str, path: Path) -> Declared:
    """Shape and type of features (N, D), where N may be 0, or (1, N, D) with a batch axis that says nothing.

    Raises:
        DataError: there are none, they are no floats, of another shape, half-written, or too large.
    """
    if name not in file:
        raise DataError(f"{path} has no {name} (it holds {found_in(file)}): it must hold {name} (N, D)")
    dataset = own_dataset(file, name, path)
    shape, dtype = dataset.shape, dataset.dtype
    inner = shape[1:] if len(shape) == 3 and shape[0] == 1 else shape
    if len(inner) != 2 or not inner[1] or not (dtype.kind == "f" or is_bfloat16(dtype)):
        raise DataError(f"{path} has {name} of shape {shape} and type {dtype}: they must be floats (N, D)")
    if math.prod(inner) * dtype.itemsize > LARGEST:
        raise DataError(f"{path} declares {name} of shape {shape}: that is too large for one slide")
    return Declared(inner[0], inner[1], dtype)


def read_features(file: Any, name: str, path: Path) -> Vectors:
    """The features (N, D) of an open file that `declared_features` accepted."""
    declared = declared_features(file, name, path)
    dataset = own_dataset(file, name, path)
    values = read_whole(dataset, name, path).reshape(declared.rows, declared.width)
    check_filled(dataset, values, name, path)
    return values


def read_coords(file: Any, name: str, path: Path, rows: int | None = None) -> npt.NDArray[np.number]:
    """Coordinates (N, 2), x before y, or (1, N, 2) with a batch axis.

    Args:
        file: an open `h5py.File`.
        name: of the data set.
        path: of the file, for messages.
        rows: how many there must be; None for any number.

    Raises:
        DataError: there are none, they are no finite numbers (N, 2), another number than `rows`, or two are the same.
    """
    if name not in file:
        raise DataError(f"{path} has no {name} (it holds {found_in(file)}): it must hold {name} (N, 2)")
    dataset = own_dataset(file, name, path)
    shape, dtype = dataset.shape, dataset.dtype
    inner = shape[1:] if len(shape) == 3 and shape[0] == 1 else shape
    if len(inner) != 2 or inner[1] != 2 or dtype.kind not in "iuf":
        raise DataError(f"{path} has {name} of shape {shape} and type {dtype}: they must be numbers (N, 2), x and y")
    if rows is not None and inner[0] != rows:
        raise DataError(
            f"{path} has {rows} features and {inner[0]} {name}: it does not say which patch each is of, so create it again"
        )
    if math.prod(inner) * dtype.itemsize > LARGEST:
        raise DataError(f"{path} declares {name} of shape {shape}: that is too large for one slide")
    values = read_whole(dataset, name, path).reshape(inner)
    check_filled(dataset, values, name, path)
    check_places(path, values, name)
    return values


def check_places(path: Path, xy: npt.NDArray[np.number], name: str = "coords") -> None:
    """Raises DataError if coordinates (N, 2) hold NaN or infinity, or a place twice."""
    if not np.isfinite(xy).all():
        raise DataError(f"{path} has {name} that are NaN or infinity: create it again")
    places, counts = np.unique(xy, axis=0, return_counts=True)
    if len(places) < len(xy):
        x, y = places[int(np.argmax(counts))].tolist()
        raise DataError(
            f"{path} has the patch at x {x:g}, y {y:g} {int(counts.max())} times "
            f"({len(xy) - len(places)} rows more than places): create it again, each patch once"
        )


def text_attribute(dataset: Any, name: str) -> str | None:
    """An attribute that is a text; None if there is none of this name, or it is empty or something else."""
    value = dataset.attrs.get(name)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value if isinstance(value, str) and value else None


def number_attribute(dataset: Any, name: str) -> float | None:
    """An attribute that is one finite number; None if there is none of this name, or it is something else."""
    value = np.asarray(dataset.attrs.get(name))
    if value.dtype.kind not in "iuf" or value.size != 1 or not math.isfinite(value.item()):
        return None
    return float(value.item())
