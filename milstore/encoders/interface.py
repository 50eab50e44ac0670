"""The interface of encoders: a class, constructed without arguments, that turns patch images into feature vectors.

docs/formats.md says how one is added.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
"""(height, width, 3), RGB."""
Vectors = npt.NDArray[np.float32]
"""(N, D)."""


class Encoder(Protocol):
    """Turns patch images into feature vectors. The vector of an image depends on that image alone.

    It may have `settings`, a dict of plain values that are recorded with its features, and `baseline`, which says what it
    measures if it is no match for a trained network.
    """

    @property
    def name(self) -> str:
        """Name in the `encoders` table."""

    @property
    def n_features(self) -> int:
        """Length D of a vector."""

    def encode(self, images: Sequence[Image]) -> Vectors:
        """Finite float32 vectors (N, D) of N images, each (height, width, 3) uint8, of one size or several."""
