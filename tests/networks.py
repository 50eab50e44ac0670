"""Encoders' folders for tests: networks of a few numbers, whose vectors can be reckoned by hand."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

MEAN, STD = (0.5, 0.25, 0.75), (0.5, 0.25, 1.0)
SIZE = 16
TOML = """
name = "tiny"
licence = "none: made by a test"
size = 16
mean = [0.5, 0.25, 0.75]
std = [0.5, 0.25, 1.0]
pooling = "pooled"
"""


def write_toml(folder: Path, **changes: str | None) -> Path:
    """An encoder.toml with some lines changed, added, or (None) left out. The folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = dict(line.split(" = ", 1) for line in TOML.strip().splitlines())
    lines |= {key: value for key, value in changes.items() if value is not None}
    kept = [f"{key} = {value}" for key, value in lines.items() if changes.get(key, "") is not None]
    (folder / "encoder.toml").write_text("\n".join(kept) + "\n", encoding="utf-8")
    return folder


def save_onnx(
    path: Path, nodes: Any, *, inputs: Any = None, outputs: Any = None, constants: Any = (), **save: Any
) -> None:
    """An ONNX file of these nodes, from `pixels` (N, 3, 16, 16) to `features`."""
    import onnx
    from onnx import TensorProto, helper

    taken = inputs or [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])]
    given = outputs or [helper.make_tensor_value_info("features", TensorProto.FLOAT, None)]
    graph = helper.make_graph(list(nodes), "tiny", taken, given, list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path, **save)


def mean_colour(folder: Path, *, scale: float = 1.0, **changes: str | None) -> Path:
    """An encoder whose vector is the mean of each normalised colour, times `scale`."""
    from onnx import helper, numpy_helper

    write_toml(folder, **changes)
    nodes = [
        helper.make_node("GlobalAveragePool", ["pixels"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Mul", ["flat", "scale"], ["features"]),
    ]
    save_onnx(folder / "model.onnx", nodes, constants=[numpy_helper.from_array(np.float32([scale]), "scale")])
    return folder


def by_hand(image: np.ndarray) -> np.ndarray:
    """The vector of `mean_colour` for an image (16, 16, 3) of uint8."""
    return np.asarray((image.mean(axis=(0, 1)) / 255 - np.array(MEAN)) / np.array(STD))


def write_patches(
    folder: Path, *, cases: tuple[str, ...] = ("2", "10"), patches: int = 5, edge: int = SIZE
) -> dict[str, np.ndarray]:
    """Images of noise in a folder, two slices a case, by their names."""
    folder.mkdir(exist_ok=True)
    images = {}
    for case in cases:
        for stain in ("h&e", "sox10"):
            for patch in range(patches):
                name = f"case_{case}_match_1_{stain}_patch{patch}.png"
                draw = np.random.default_rng([int(case), len(stain), patch])
                images[name] = draw.integers(0, 256, (edge, edge, 3), dtype=np.uint8)
                Image.fromarray(images[name]).save(folder / name)
    return images
