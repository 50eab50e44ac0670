"""The vector of a patch in NumPy's .npy."""

from pathlib import Path

from milstore.formats.interface import Vectors, first_bytes
from milstore.formats.npy import vector_from_npy
from milstore.formats.small_file import small_file


class NpyVector:
    """A patch a file: NumPy's .npy with one vector (D)."""

    endings = ("npy",)

    def recognises(self, path: Path) -> bool:
        """By the first bytes."""
        return first_bytes(path, 6) == b"\x93NUMPY"

    def vector(self, path: Path) -> Vectors:
        """The vector (D,); bfloat16 comes as float32. DataError if there is none in it."""
        return vector_from_npy(small_file(path), str(path))
