"""Features of slides as LazySlide and wsidata write them: a SpatialData store, `<slide>.zarr`, which is a folder.

    <slide>.zarr/
      zarr.json                            attributes: tile_spec (size, mpp, stride) and slide_properties (mpp, shape)
      tables/<encoder>_tiles/              an AnnData table: X (N, D), and obs/tile_id
      shapes/tiles/shapes.parquet          tile_id, and its outline in pixels of level 0 (WKB polygons)

Rows of the table are matched with tiles by tile_id, never by their order. The package zarr reads it; what wrote it
(spatialdata, anndata) is not needed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from milstore.errors import DataError
from milstore.extras import needed
from milstore.formats.interface import Layout, Vectors, reported
from milstore.formats.slice_arrays import LARGEST
from milstore.formats.wkb import bounds_of
from milstore.store.names import named

_ROOTS = ("zarr.json", ".zgroup")


@dataclass(frozen=True, slots=True)
class _Table:
    """The features of one encoder."""

    key: str
    encoder: str
    group: Any
    region: str
    """The shapes that its rows are of."""


class LazyslideSlice:
    """A slide a folder, by LazySlide: SpatialData (.zarr) with a table of features and the outlines of its tiles."""

    endings = ("zarr",)
    is_folder = True

    def __init__(self, encoder: str | None = None) -> None:
        """`encoder` is the one that is read of several."""
        self._encoder = encoder

    def of_encoder(self, encoder: str) -> "LazyslideSlice":
        """The same, for the features of one encoder where a folder holds several."""
        return LazyslideSlice(encoder)

    def recognises(self, path: Path) -> bool:
        """A folder that is a group of Zarr, with tables and shapes."""
        return _is_group(path) and (path / "tables").is_dir() and (path / "shapes").is_dir()

    def layout(self, path: Path) -> Layout:
        """The layout of a folder, with the tiles of its table.

        Raises:
            DataError: it is damaged, or of something else; it has features of several encoders and none or another was named;
                rows are of no tile, of one twice, or tiles are not of one square size.
            UsageError: the package zarr is not installed.
        """
        root = _opened(path)
        with reported(path):
            table = self._table(root, path)
            features = _features(table, path)
            tiles = _rows_of_tiles(table, path, features.shape[0])
            bounds, ids = _outlines(path, table.region)
            xy, edge = _corners(path, bounds, _matched(path, tiles, ids))
            return _layout(path, root, table, features, xy, edge)

    def vectors(self, path: Path) -> Vectors:
        """The vectors (N, D), in the order of the table's rows."""
        root = _opened(path)
        with reported(path):
            return np.asarray(_features(self._table(root, path), path)[:])

    def _table(self, root: Any, path: Path) -> _Table:
        tables = _tables(root, path)
        if not tables:
            raise DataError(f"{path} has no table of features of its tiles: extract features first")
        chosen = [table for table in tables if self._encoder in (table.encoder, table.key)]
        if len(tables) > 1 and len(chosen) != 1:
            names = [table.key if _several(tables, table.encoder) else table.encoder for table in tables]
            raise DataError(
                f"{path} has features of several encoders ({named(names)}): name the one to read by --encoder"
            )
        return chosen[0] if chosen else tables[0]


def _several(tables: list[_Table], encoder: str) -> bool:
    return sum(table.encoder == encoder for table in tables) > 1


def _is_group(path: Path) -> bool:
    return any((path / name).is_file() for name in _ROOTS)


def _opened(path: Path) -> Any:
    """The root group. UsageError without the package zarr, DataError if it is none."""
    if not _is_group(path):
        found = "does not exist" if not path.exists() else "is no folder of Zarr"
        raise DataError(f"{path} {found}: name a <slide>.zarr that LazySlide wrote, or the folder that holds such")
    zarr = needed("zarr", extra="zarr", why="reading a .zarr of LazySlide")
    with reported(path):
        return zarr.open_group(str(path), mode="r")


def _tables(root: Any, path: Path) -> list[_Table]:
    """The tables whose rows are tiles, by their keys."""
    specs = root.attrs.get("tile_spec")
    tiles = set(specs) if isinstance(specs, dict) else {"tiles"}
    keys = sorted(each.name for each in (path / "tables").iterdir() if _is_group(each)) if "tables" in root else []
    found = []
    for key in keys:
        group = root[f"tables/{key}"]
        region = group.attrs.get("region", "tiles")
        if isinstance(region, str) and region in tiles and key.endswith(f"_{region}"):
            found.append(_Table(key, key.removesuffix(f"_{region}"), group, region))
    return found


def _features(table: _Table, path: Path) -> Any:
    """The array X, not read."""
    features = table.group.get("X")
    shape, dtype = getattr(features, "shape", None), getattr(features, "dtype", None)
    if shape is None or dtype is None:
        raise DataError(f"{path}: tables/{table.key} has no X that is a plain array: store the features dense")
    if len(shape) != 2 or not shape[1] or np.dtype(dtype).kind != "f":
        raise DataError(
            f"{path}: X of tables/{table.key} is of shape {shape} and type {dtype}: it must be floats (N, D)"
        )
    if shape[0] * shape[1] * np.dtype(dtype).itemsize > LARGEST:
        raise DataError(f"{path}: X of tables/{table.key} declares shape {shape}: that is too large for one slide")
    return features


def _rows_of_tiles(table: _Table, path: Path, rows: int) -> npt.NDArray[np.int64]:
    """(N,): tile_id of each row."""
    name = table.group.attrs.get("instance_key", "tile_id")
    column = table.group.get(f"obs/{name}")
    if not hasattr(column, "shape") or np.dtype(column.dtype).kind not in "iu":
        raise DataError(f"{path}: tables/{table.key} has no whole numbers obs/{name}, which say whose tile each row is")
    if column.shape != (rows,):
        raise DataError(
            f"{path}: tables/{table.key} has {rows} features and {column.shape[0]} obs/{name}: extract the features again"
        )
    return np.asarray(column[:]).astype(np.int64)


def _outlines(path: Path, region: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Bounds (M, 4) and tile_id (M,) of every tile."""
    file = path / "shapes" / region / "shapes.parquet"
    if not file.is_file():
        raise DataError(
            f"{path} has no shapes/{region}/shapes.parquet, which says where its tiles lie: tile the slide again"
        )
    with reported(file):
        names = pq.read_schema(file).names
        if not {"tile_id", "geometry"} <= set(names):
            raise DataError(f"{file} has the columns {named(names)}: it must have tile_id and geometry")
        columns = pq.read_table(file, columns=["tile_id", "geometry"])
        if columns["tile_id"].null_count or columns["geometry"].null_count:
            raise DataError(f"{file} has tiles without a tile_id or without an outline: tile the slide again")
        ids = np.asarray(columns["tile_id"]).astype(np.int64)
        bounds = bounds_of([bytes(each) for each in columns["geometry"].to_pylist()])
    return bounds, ids


def _matched(path: Path, tiles: npt.NDArray[np.int64], ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(N,): which of the outlines is that of each row. DataError where one has none, or a tile stands twice."""
    for found, where in ((ids, "shapes"), (tiles, "features")):
        numbers, counts = np.unique(found, return_counts=True)
        if (counts > 1).any():
            raise DataError(
                f"{path} has tile_id {named(numbers[counts > 1].tolist())} more than once among its {where}"
            )
    order = np.argsort(ids)
    at = np.searchsorted(ids, tiles, sorter=order).clip(max=max(len(ids) - 1, 0))
    if len(tiles) and not (len(ids) and (ids[order[at]] == tiles).all()):
        lost = np.setdiff1d(tiles, ids).tolist()
        raise DataError(
            f"{path} has features of tile_id {named(lost)} that its shapes do not have: tile and extract again"
        )
    return order[at] if len(tiles) else np.empty(0, np.int64)


def _corners(
    path: Path, bounds: npt.NDArray[np.float64], rows: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], float | None]:
    """Upper left corner (N, 2) of each row's tile, and the edge that all have; None without a tile."""
    chosen = bounds[rows]
    edges = chosen[:, 2:] - chosen[:, :2]
    if not len(edges):
        return chosen[:, :2], None
    edge = float(np.median(edges))
    # Corners are whole pixels, so an edge may be one longer.
    if not np.isfinite(chosen).all() or (np.abs(edges - edge) > 1).any():
        raise DataError(f"{path} has tiles that are not squares of one size: only such can be taken in")
    return chosen[:, :2], edge


def _layout(
    path: Path, root: Any, table: _Table, features: Any, xy: npt.NDArray[np.float64], edge: float | None
) -> Layout:
    properties = _object(root.attrs.get("slide_properties"))
    spec = _object(_object(root.attrs.get("tile_spec")).get(table.region))
    width, height, stride = (_number(spec.get(name)) for name in ("width", "height", "stride_width"))
    if width != height:
        raise DataError(f"{path} has tiles of {width} x {height} pixels: only squares can be taken in")
    level0, mpp = _number(properties.get("mpp")), _number(spec.get("mpp"))
    if mpp is None and level0 is not None and edge is not None and width:
        mpp = level0 * edge / width
    shape = properties.get("shape")
    whole = isinstance(shape, list) and len(shape) == 2 and all(_number(each) for each in shape)
    return Layout(
        rows=features.shape[0],
        width=features.shape[1],
        half=np.dtype(features.dtype).itemsize == 2,
        xy=xy,
        unit="level-0",
        patch_size=edge,
        patch_px=None if width is None else round(width),
        overlap=None if width is None or stride is None else max(0, round(width - stride)),
        mpp=mpp,
        slide_size=(int(shape[1]), int(shape[0])) if whole and isinstance(shape, list) else None,
        tool="lazyslide",
        encoder=table.encoder,
    )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> float | None:
    """A number above 0; None for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None
