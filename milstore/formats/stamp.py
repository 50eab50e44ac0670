"""STAMP's features: HDF5 with `feats` (N, D) and `coords` (N, 2) in micrometres, rows in no order."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from milstore.errors import DataError
from milstore.formats.hdf5 import opened_hdf5
from milstore.formats.interface import Layout
from milstore.formats.tool_h5 import SlideH5, declared_features, opened_whole, read_coords
from milstore.store.names import clip

_OLD_UM = 256.0
"""Edge of a tile in micrometres, in the files that name none."""
_OLD_PX = 224
"""The same in pixels; the coordinates of such files are counted in these pixels."""


class StampSlice(SlideH5):
    """STAMP, a slide a file: HDF5 with feats (N, D) and coords (N, 2) in micrometres."""

    endings = ("h5",)
    features = "feats"

    def recognises(self, path: Path) -> bool:
        """An HDF5 file with `feats`, as no other tool calls them."""
        with opened_hdf5(path) as file:
            return "feats" in file

    def layout(self, path: Path) -> Layout:
        """The declared contents of a file.

        Raises:
            DataError: it is damaged, has no features of tiles, or does not say in what unit its coordinates are.
        """
        with opened_whole(path) as file:
            said = {name: _plain(value) for name, value in file.attrs.items()}
            _check_kind(path, said)
            if "coords" not in file:
                raise DataError(f"{path} has feats and no coords: these are no features of tiles, extract them again")
            declared = declared_features(file, self.features, path)
            coords = read_coords(file, "coords", path, declared.rows).astype(np.float64)
        size_um, scale, notes = _tile_size(path, said, coords)
        px = said.get("tile_size_px") or (_OLD_PX if scale != 1 else None)
        edge_px = None if px is None else round(_number(path, "tile_size_px", px))
        version, extractor = said.get("stamp_version"), said.get("extractor")
        return Layout(
            rows=declared.rows,
            width=declared.width,
            half=declared.half,
            xy=coords * scale,
            unit="um",
            patch_size=size_um,
            patch_um=size_um,
            patch_px=edge_px,
            mpp=None if edge_px is None else size_um / edge_px,
            overlap=0,
            tool=f"STAMP {clip(str(version), 20)}" if version else "STAMP",
            encoder=None if extractor is None else clip(str(extractor)),
            notes=notes,
        )


def _plain(value: Any) -> Any:
    """The value of an attribute: a text, or a number."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.item() if isinstance(value, np.ndarray | np.generic) and value.size == 1 else value


def _number(path: Path, name: str, value: Any) -> float:
    """A size above 0. Raises DataError if the attribute is not one."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e6:
        return float(value)
    raise DataError(f"{path} has {name} {clip(str(value), 30)!r}, which is no size of a tile: create it again")


def _check_kind(path: Path, said: dict[str, Any]) -> None:
    """Raises DataError if the features are of whole slides or patients."""
    kind = said.get("feat_type", "tile")
    if kind != "tile":
        raise DataError(
            f"{path} holds features of feat_type {clip(str(kind), 30)!r}, one vector for the whole: name the folder of the "
            "features of tiles that STAMP made them from"
        )


def _tile_size(
    path: Path, said: dict[str, Any], coords: npt.NDArray[np.float64]
) -> tuple[float, float, tuple[str, ...]]:
    """Edge of a tile in micrometres, what makes micrometres of the coordinates, and what is to be told.

    STAMP's first files name no unit: 224 of theirs are 256 µm.
    """
    unit = said.get("unit", "um" if "tile_size_um" in said else None)
    if unit == "um":
        for name in ("tile_size_um", "tile_size"):
            if name in said:
                return _number(path, name, said[name]), 1.0, ()
        raise DataError(f"{path} has unit um and no tile_size_um: extract its features again")
    if unit is not None:
        raise DataError(f"{path} has coordinates in {clip(str(unit), 30)!r}, where STAMP writes um: create it again")
    step = _number(path, "tile_size", said["tile_size"]) if "tile_size" in said else _smallest_step(coords)
    if step is not None and not _is_of_first_files(step):
        raise DataError(
            f"{path} names no unit, and its tiles lie {step:g} apart: only in STAMP's first files, where it is {_OLD_PX}, "
            "is the unit known without; extract its features again"
        )
    note = f"STAMP files without a unit: {_OLD_PX} of their coordinates are {_OLD_UM:g} µm, as in STAMP's first version"
    return _OLD_UM, _OLD_UM / _OLD_PX, (note,)


def _is_of_first_files(step: float) -> bool:
    """Whether tiles lie 224 apart, or a multiple of it: of few tiles none may be neighbours."""
    times = round(step / _OLD_PX)
    return times >= 1 and abs(step - times * _OLD_PX) <= 0.5


def _smallest_step(coords: npt.NDArray[np.float64]) -> float | None:
    """The smallest distance between neighbours along an axis; None where there are none."""
    steps = np.concatenate([np.diff(np.unique(coords[:, axis])) for axis in (0, 1)])
    return float(steps.min()) if len(steps) else None
