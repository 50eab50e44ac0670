"""A `<slide>.zarr` as LazySlide and wsidata lay it out, tiny: for tests of what reads it."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

TILES = ((7, 0, 512), (3, 512, 0), (5, 512, 512))
"""tile_id, x and y of the upper left corner of three tiles of 512 level-0 pixels, in no order of their ids."""
SPEC = {"height": 256, "width": 256, "stride_height": 224, "stride_width": 224, "mpp": 0.5, "ops_downsample": 2.0}
SLIDE = {"shape": [1024, 1100], "mpp": 0.25, "magnification": None}


def square(x: float, y: float, edge: float = 512, first: int = 0, order: str = "<") -> bytes:
    """A closed ring round a square in well-known binary, beginning at any of its corners."""
    corners = [(x, y), (x, y + edge), (x + edge, y + edge), (x + edge, y)]
    ring = [*corners[first:], *corners[:first], corners[first]]
    return struct.pack(f"{order}BIII10d", order == "<", 3, 1, 5, *(number for point in ring for number in point))


def write_zarr(
    path: Path,
    features: Mapping[str, npt.NDArray[Any]],
    tile_ids: Sequence[int] = (3, 5, 7),
    tiles: Sequence[tuple[int, float, float]] = TILES,
    spec: Mapping[str, Any] | None = None,
    outlines: Sequence[bytes] | None = None,
) -> Path:
    """A slide's folder with a table of features for each encoder, their rows of the tiles `tile_ids`."""
    import zarr

    root = zarr.open_group(str(path), mode="w")
    root.attrs.update({"tile_spec": {"tiles": dict(spec or SPEC)}, "slide_properties": SLIDE})
    for encoder, values in features.items():
        table = root.create_group(f"tables/{encoder}_tiles")
        table.attrs.update({"encoding-type": "anndata", "region": "tiles", "instance_key": "tile_id"})
        table.create_array("X", data=values)
        table.create_array("obs/tile_id", data=np.asarray(tile_ids, np.int64))
    root.create_group("tables/cells").attrs.update({"region": "cells"})
    shapes = path / "shapes" / "tiles" / "shapes.parquet"
    shapes.parent.mkdir(parents=True)
    made = outlines or [square(x, y, first=i % 4) for i, (_, x, y) in enumerate(tiles)]
    columns = {"tile_id": [each for each, *_ in tiles], "tissue_id": [0] * len(tiles), "geometry": made}
    pq.write_table(pa.table(columns), shapes)
    return path
