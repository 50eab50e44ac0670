"""Bounding boxes of polygons in well-known binary (OGC Simple Features)."""

import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_POLYGON = 3
_HEAD = struct.calcsize("<BIII")
_RECTANGLE = _HEAD + 5 * 16
"""Bytes of one ring of five points, the last of which is the first again."""


def bounds_of(polygons: Sequence[bytes]) -> npt.NDArray[np.float64]:
    """(N, 4): least x, least y, largest x and largest y of each polygon's outer ring.

    Rings may begin anywhere and run either way round. ValueError if one is no polygon of two dimensions, or cut short.
    """
    if polygons and all(len(each) == _RECTANGLE and each[:_HEAD] == polygons[0][:_HEAD] for each in polygons):
        # As a tool writes tiles: all alike, so read at once.
        order, points = _ring(polygons[0])
        if points == 5:
            numbers = np.frombuffer(b"".join(polygons), np.uint8).reshape(len(polygons), -1)[:, _HEAD:]
            rings = np.ascontiguousarray(numbers).view(f"{order}f8").reshape(-1, 5, 2)
            return np.concatenate([rings.min(axis=1), rings.max(axis=1)], axis=1).astype(np.float64)
    found = np.empty((len(polygons), 4))
    for row, polygon in zip(found, polygons, strict=True):
        order, points = _ring(polygon)
        ring = np.frombuffer(polygon, f"{order}f8", 2 * points, _HEAD).reshape(points, 2)
        row[:] = [*ring.min(axis=0), *ring.max(axis=0)]
    return found


def _ring(polygon: bytes) -> tuple[str, int]:
    """Order of bytes, and points of the outer ring."""
    if len(polygon) < _HEAD:
        raise ValueError("a polygon is cut short")
    order = "<" if polygon[0] == 1 else ">"
    _, kind, rings, points = struct.unpack(f"{order}BIII", polygon[:_HEAD])
    if kind != _POLYGON or rings < 1 or points < 1 or len(polygon) < _HEAD + 16 * points:
        raise ValueError(f"a shape is no polygon of two dimensions (type {kind}), or cut short")
    return order, points
