"""The matrix of a pack that is being written. Its import is cheap: many processes fill it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.floating]


@dataclass(frozen=True)
class PackTarget:
    """The file of a pack that is being written, for processes that fill parts of it."""

    path: str
    offset: int
    """Bytes before the first row."""
    n_features: int
    dtype: str

    def write(self, first_row: int, vectors: Vectors) -> None:
        """Put vectors (n, D), of the pack's dtype, into rows first_row … first_row + n - 1."""
        data = np.ascontiguousarray(vectors, self.dtype).reshape(-1).view(np.uint8).data
        place = self.offset + first_row * self.n_features * np.dtype(self.dtype).itemsize
        with Path(self.path).open("r+b", buffering=0) as stream:
            stream.seek(place)
            while data.nbytes:
                data = data[stream.write(data) :]
