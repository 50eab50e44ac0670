"""A job folder as TRIDENT lays it out, tiny: for tests of what reads and writes it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

JOB = "20x_256px_0px_overlap"
CORNERS = ((512, 0), (0, 512), (512, 512))
"""Upper left corners of three patches of 512 level-0 pixels."""


def attributes(slide: str, **others: Any) -> dict[str, Any]:
    """What the tool says of coordinates of a slide of 40x, cut at 20x."""
    return {
        "patch_size": 256, "patch_size_level0": 512, "level0_magnification": 40, "target_magnification": 20, "overlap": 0,
        "name": slide, "savetodir": f"job/{JOB}", "level0_width": 1100, "level0_height": 1024, **others,
    }  # fmt: skip


def numbers(rows: int, width: int = 4, dtype: str = "f4") -> npt.NDArray[Any]:
    """Features (rows, width): 0, 1, 2 … in steps of a quarter."""
    return (np.arange(rows * width).reshape(rows, width) / 4).astype(dtype)


def write_features(
    path: Path,
    features: npt.NDArray[Any],
    coords: npt.NDArray[Any] | Sequence[tuple[int, int]] = CORNERS,
    said: Mapping[str, Any] | None = None,
    encoder: str | None = "uni",
) -> Path:
    """A file of features with coordinates."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        made = file.create_dataset("features", data=features)
        made.attrs["name"] = path.stem
        if encoder is not None:
            made.attrs["encoder"] = encoder
        places = np.asarray(coords, np.int64) if not isinstance(coords, np.ndarray) else coords
        put = file.create_dataset("coords", data=places.reshape(0, 2) if not places.size else places)
        put.attrs.update(attributes(path.stem) if said is None else dict(said))
    return path


def write_patches(path: Path, coords: Sequence[tuple[int, int]] = CORNERS) -> Path:
    """A file of coordinates alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("coords", data=np.asarray(coords, np.int64)).attrs.update(
            attributes(path.stem.removesuffix("_patches"))
        )
    return path


def write_state(job: Path, slide: str, mpp: float | None = 0.25, version: str = "unknown") -> Path:
    """What the tool wrote down of a slide."""
    path = job / "wsi_states" / f"{slide}__0123abcd4567.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"meta": {"mag": 40, "mpp": mpp, "dimensions": [1100, 1024]}, "trident_version": version}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_numpy_pt(path: Path, array: Any, **options: Any) -> Path:
    """What the tool's other form is: whatever NumPy has, by torch.save."""
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(array, path, **options)
    return path
