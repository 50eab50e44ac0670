"""An encoder of one's own: how the colours of a patch are distributed.

    milstore encode --encoder ./examples/add_an_encoder.py:Colours

The name, the settings and the SHA-256 of this file are recorded with the features. docs/formats.md says what each part means.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from milstore.encoders.interface import Image, Vectors

BINS = 8


class Colours:
    """The share of pixels in each of eight bins of red, green and blue."""

    name = "colours"
    n_features = 3 * BINS
    settings: ClassVar = {"bins": BINS}

    def encode(self, images: Sequence[Image]) -> Vectors:
        """Vectors (N, D) of N images, each (height, width, 3) uint8. A deep encoder would load its weights in __init__."""
        return np.stack([_shares(image) for image in images])


def _shares(image: Image) -> Vectors:
    counts = [np.bincount(image[..., i].ravel() // (256 // BINS), minlength=BINS) for i in range(3)]
    return (np.concatenate(counts) / image[..., 0].size).astype(np.float32)
