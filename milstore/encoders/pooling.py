"""Pools a network's output for a patch into one vector.

N patches, T tokens, D numbers a token, C channels of a map.
"""

import numpy as np
import numpy.typing as npt

from milstore.encoders.interface import Vectors

Output = npt.NDArray[np.floating]

_RANKS = {"cls": 3, "cls+mean": 3, "pooled": 2, "2x2": 4}
_SHAPES = {2: "(N, D)", 3: "(N, tokens, D)", 4: "(N, channels, height, width)"}


def pooled(output: Output, pooling: str, registers: int = 0) -> Vectors:
    """One vector a patch, float32.

    pooling: `cls`, the first of the tokens (N, T, D); `cls+mean`, that and behind it the mean of the tokens of the image
    (N, 2D), as Virchow has it; `pooled`, what the network gives, (N, D); `2x2`, a map (N, C, h, w) averaged over its four
    quarters (where a side is odd, both halves hold the middle row), four numbers a channel side by side (N, 4C).

    registers: tokens behind the first that are no part of the mean.

    Raises:
        ValueError: the output is of another kind, or too small.
    """
    rank = _RANKS[pooling]
    if output.ndim != rank:
        raise ValueError(f"pooling {pooling} takes {_SHAPES[rank]}, and the network gives {output.shape}")
    values = np.asarray(output, np.float32)
    if pooling == "pooled":
        return values
    if pooling == "2x2":
        return _quarters(values)
    if values.shape[1] < 2 + registers and pooling == "cls+mean":
        raise ValueError(f"there are {values.shape[1]} tokens, which leaves none of the image beside {registers + 1}")
    first = values[:, 0]
    if pooling == "cls":
        return np.ascontiguousarray(first)
    return np.concatenate([first, values[:, 1 + registers :].mean(axis=1)], axis=1)


def _quarters(maps: Vectors) -> Vectors:
    """Adaptive average pooling to 2 x 2, flattened channel by channel."""
    height, width = maps.shape[2:]
    if min(height, width) < 2:
        raise ValueError(f"the network's map has {height} x {width} places: 2x2 takes 2 x 2 at least")
    rows = (slice(0, -(-height // 2)), slice(height // 2, height))
    columns = (slice(0, -(-width // 2)), slice(width // 2, width))
    means = [maps[:, :, row, column].mean(axis=(2, 3)) for row in rows for column in columns]
    return np.stack(means, axis=2).reshape(len(maps), -1)
