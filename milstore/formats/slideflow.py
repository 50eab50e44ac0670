"""slideflow's bags: a tensor (N, D) a slide, and beside it the centres of its tiles, the rows in the same order."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from milstore.errors import DataError
from milstore.formats.csv_table import file_size
from milstore.formats.interface import Layout, Vectors, reported
from milstore.formats.json_file import read_json_object
from milstore.formats.npz_array import read_one_array
from milstore.formats.pt_vector import BAGS_CONFIG, INDEX, index_of, is_bag, pickled
from milstore.store.names import clip


class SlideflowBag:
    """slideflow, a slide a file: torch's .pt with a tensor (N, D), and the centres of its tiles in .index.npz."""

    endings = ("pt",)
    beside = INDEX

    def recognises(self, path: Path) -> bool:
        """A file of torch's beside which there are its tiles' centres, or slideflow's settings of the bags."""
        return is_bag(path) and bool(pickled(path))

    def layout(self, path: Path) -> Layout:
        """The layout of a bag, from it and the files beside it. Imports torch.

        Raises:
            DataError: one of them is damaged, or they do not fit each other.
        """
        from milstore.formats.pt_load import load_matrix

        if not file_size(path, "a bag of slideflow's"):
            raise DataError(f"{path} is empty: create it again")
        rows, width, dtype = *(matrix := load_matrix(path)).shape, matrix.dtype
        said = _settings(path.parent / BAGS_CONFIG)
        if said.get("num_features", width) != width:
            raise DataError(
                f"{path} has {width} numbers a tile, and {BAGS_CONFIG} beside it says {clip(str(said['num_features']), 20)}: "
                "the bags are of two extractors, create them again"
            )
        index = index_of(path)
        centres = None if index is None else read_centres(index, rows, path.name)
        px, um = said.get("tile_px"), said.get("tile_um")
        notes = () if centres is not None else (f"no {INDEX[0]} beside slideflow's bags: their rows are their numbers",)
        return Layout(
            rows=rows,
            width=width,
            half=dtype == np.float16,
            patch_idx=np.arange(rows) if centres is None else None,
            by_row=centres is None,
            xy=centres,
            unit="level-0",
            centred=centres is not None,
            patch_um=um,
            patch_px=px,
            mpp=um / px if um and px else None,
            tool="slideflow",
            encoder=said.get("extractor"),
            notes=notes,
        )

    def vectors(self, path: Path) -> Vectors:
        """The vectors (N, D), in the order of the file's rows. Imports torch."""
        from milstore.formats.pt_load import load_matrix

        return load_matrix(path)


def read_centres(index: Path, rows: int, what: str) -> npt.NDArray[np.float64]:
    """Centres (N, 2) of tiles, x before y, in level-0 pixels.

    DataError unless there are as many as rows of something.
    """
    with reported(index):
        centres = read_one_array(index, "the centres of a bag's tiles")
    if centres.ndim != 2 or centres.shape[1] != 2 or centres.dtype.kind not in "iuf":
        raise DataError(
            f"{index} has an array of shape {centres.shape}: it must be x and y of each tile's centre (N, 2)"
        )
    if len(centres) != rows:
        raise DataError(
            f"{index} has the centres of {len(centres)} tiles, and {what} has {rows}: the two are not of one run, create them again"
        )
    return centres.astype(np.float64)


def _settings(path: Path) -> dict[str, Any]:
    """slideflow's settings of the bags: extractor, num_features, tile_px, tile_um; empty if there are none.

    Raises:
        DataError: the file is damaged, or a tile's size is no such.
    """
    if not path.exists():
        return {}
    held = read_json_object(path, "slideflow's settings of the bags")
    said: dict[str, Any] = {}
    extractor = held.get("extractor")
    if isinstance(extractor, dict) and isinstance(extractor.get("class"), str):
        said["extractor"] = clip(extractor["class"].rpartition(".")[2])
    if isinstance(held.get("num_features"), int):
        said["num_features"] = held["num_features"]
    for name in ("tile_px", "tile_um"):
        if (size := held.get(name)) is not None:
            said[name] = _size(path, name, size)
    return said


def _size(path: Path, name: str, size: Any) -> int | float:
    fits = isinstance(size, int | float) and not isinstance(size, bool) and math.isfinite(size) and 0 < size < 1e6
    if fits and (name == "tile_um" or size == int(size)):
        return int(size) if name == "tile_px" else float(size)
    what = "a magnification" if name == "tile_um" and isinstance(size, str) else "no size of a tile"
    raise DataError(
        f"{path} has {name} {clip(str(size), 30)!r}, {what}: write the tile's edge in "
        f"{'pixels' if name == 'tile_px' else 'micrometres'} there"
    )
