"""The one array of a `.npz` or `.npy` file, as tools save a list of numbers beside something else."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from milstore.errors import DataError
from milstore.formats.csv_table import file_size
from milstore.formats.interface import reported
from milstore.formats.npy import check_size, read_header
from milstore.store.names import named

LARGEST = 1 << 30


def read_one_array(path: Path, what: str) -> npt.NDArray[Any]:
    """The array of a `.npy` file, or the only one of a `.npz` file. Nothing is unpickled.

    Args:
        path: the file.
        what: it is to be, for messages.

    Raises:
        DataError: it cannot be read, is damaged, too large, or holds several arrays, or none.
    """
    size = file_size(path, what)
    if not 0 < size <= LARGEST:
        raise DataError(f"{path} has {size} bytes: that cannot be {what}")
    with reported(path):
        if path.suffix.lower() == ".npy":
            with path.open("rb") as stream:
                shape, _, dtype = read_header(stream, str(path))
                check_size(shape, dtype, size - stream.tell(), str(path))
                stream.seek(0)
                return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(names) != 1:
                arrays = named(name.removesuffix(".npy") for name in names)
                raise DataError(f"{path} holds {len(names)} arrays ({arrays}), not one: it cannot be {what}")
            entry = archive.getinfo(names[0])
            if entry.file_size > LARGEST:
                raise DataError(f"{path} declares {entry.file_size} bytes: that cannot be {what}")
            with archive.open(entry) as stream:
                shape, _, dtype = read_header(stream, str(path))
                check_size(shape, dtype, entry.file_size - stream.tell(), str(path))
            with archive.open(entry) as stream:
                array = np.asarray(np.lib.format.read_array(stream, allow_pickle=False))
                # The checksum is compared when the end is met.
                stream.read(1)
                return array
