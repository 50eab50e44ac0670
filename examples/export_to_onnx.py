"""Export a network once, where it runs, to a folder that `milstore encode --encoder-folder` takes anywhere.

It needs torch and onnx (`pip install torch onnx onnxruntime`), and whatever the network comes from: for the encoders of
pathology mostly `pip install timm`, and a login at their host where they are gated. milstore itself needs none of these
afterwards but onnxruntime (`pip install 'milstore[onnx]'`).

    python examples/export_to_onnx.py timm:hf-hub:MahmoodLab/UNI2-h uni2-h/ --settings examples/encoders/uni2-h.toml
    python examples/export_to_onnx.py ./examples/efficientnet_lite0.py:features lite0/ --settings examples/encoders/efficientnet-lite0.toml
    milstore encode --encoder-folder uni2-h/

The settings are an `encoder.toml` (docs/encoders.md), which is copied into the folder. What is exported gives the outputs
that its `pooling` takes: of a network of timm, `pooled` is what the network gives, and every other pooling is taken from its
`forward_features`. Afterwards onnxruntime is run beside torch, and the two must agree.
"""

import argparse
import ast
import importlib
import importlib.util
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import torch

CLOSE = 1e-3
"""How far onnxruntime may be from torch, as a share of the largest number."""


class Features(torch.nn.Module):
    """A network of timm up to its tokens or maps."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: torch.Tensor) -> Any:
        """(N, tokens, D), or (N, C, h, w)."""
        return self.model.forward_features(pixels)


def network(source: str, pooling: str, options: dict[str, Any]) -> torch.nn.Module:
    """The network of a source: timm:NAME, or ./file.py:function for whatever the function returns."""
    kind, _, rest = source.partition(":")
    if kind == "timm":
        import timm

        if pooling == "pooled" or "num_classes" not in options:
            options = {"num_classes": 0, **options}
        model = timm.create_model(rest, pretrained=True, **options)
        return model if pooling == "pooled" else Features(model)
    path, _, function = source.rpartition(":")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if spec is None or spec.loader is None:
        sys.exit(f"{source}: give timm:NAME or ./file.py:function")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: torch.nn.Module = getattr(module, function)(**options)
    return found


def export(model: torch.nn.Module, folder: Path, settings: Path, *, fp16: bool = False, dynamo: bool = False) -> float:
    """Write `model.onnx` and `encoder.toml` into a folder; how far onnxruntime is from torch, as a share of the largest.

    Args:
        model: takes (N, 3, size, size) and gives what the pooling takes.
        folder: made if it is not there.
        settings: the encoder.toml.
        fp16: export it in half precision: `milstore encode --fp16`.
        dynamo: use torch's newer exporter, which needs `pip install onnxscript`.
    """
    size = tomllib.loads(settings.read_text(encoding="utf-8"))["size"]
    folder.mkdir(parents=True, exist_ok=True)
    model = model.eval().half() if fp16 else model.eval().float()
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randn(2, 3, size, size, generator=draw).to(next(model.parameters()).dtype)
    # A fused kernel of torch's own layers, which no exporter knows.
    torch.backends.mha.set_fastpath_enabled(False)
    path = folder / "model.onnx"
    names: dict[str, Any] = {"input_names": ["pixels"], "output_names": ["features"]}
    with torch.no_grad():
        if dynamo:
            axes = ({0: torch.export.Dim("n")},)
            torch.onnx.export(model, (pixels,), path, dynamo=True, dynamic_shapes=axes, external_data=True, **names)
        else:
            axes_of = {"pixels": {0: "n"}, "features": {0: "n"}}
            torch.onnx.export(
                model, (pixels,), str(path), dynamo=False, dynamic_axes=axes_of, opset_version=17, **names
            )
    if settings.resolve() != (folder / "encoder.toml").resolve():
        shutil.copyfile(settings, folder / "encoder.toml")
    return difference(model, path, pixels)


def difference(model: torch.nn.Module, path: Path, pixels: torch.Tensor) -> float:
    """The largest difference between torch and onnxruntime, for another number of patches than it was exported with."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    more = torch.cat([pixels, pixels.flip(3)])[:3]
    with torch.no_grad():
        expected = model(more).float().numpy()
    (found,) = session.run(None, {"pixels": more.numpy()})
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-9))


def option(text: str) -> tuple[str, Any]:
    """An option of the network as name=value; a value is a number, True, or the dotted name of a class, such as torch.nn.SiLU."""
    name, _, value = text.partition("=")
    module, _, attribute = value.rpartition(".")
    if module.split(".")[0] in ("torch", "timm"):
        return name, getattr(importlib.import_module(module), attribute)
    try:
        return name, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return name, value


def main() -> None:
    """Export what the command line says."""
    words = argparse.ArgumentParser(description="Export a network to a folder for milstore encode --encoder-folder.")
    words.add_argument("source", help="timm:NAME, or ./file.py:function, which is run")
    words.add_argument("folder", type=Path)
    words.add_argument("--settings", type=Path, required=True, help="the encoder.toml")
    words.add_argument("--with", dest="options", action="append", default=[], type=option, metavar="NAME=VALUE")
    words.add_argument("--fp16", action="store_true")
    words.add_argument("--dynamo", action="store_true")
    given = words.parse_args()
    settings = tomllib.loads(given.settings.read_text(encoding="utf-8"))
    model = network(given.source, settings["pooling"], dict(given.options))
    try:
        far = export(model, given.folder, given.settings, fp16=given.fp16, dynamo=given.dynamo)
    except Exception as error:  # of torch's exporter, or of onnxruntime
        sys.exit(
            f"it cannot be exported so ({type(error).__name__}: {' '.join(str(error).split())[:300]}): try --dynamo"
        )
    sys.stdout.write(f"{given.folder}: onnxruntime differs from torch by {far:.1e} of the largest number\n")
    if far > (10 * CLOSE if given.fp16 else CLOSE):
        sys.exit("that is too much: try --dynamo, or export it on another machine")


if __name__ == "__main__":
    main()
