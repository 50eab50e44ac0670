"""An encoder as a folder: `encoder.toml`, which describes the preprocessing, and the weights of a network.

Nothing in such a folder is executed: a network is `model.onnx`, or a model of the transformers library in safetensors.
docs/encoders.md says what stands in `encoder.toml`.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from milstore.errors import DataError, UsageError, in_a_line
from milstore.store.io import sha256_of
from milstore.store.names import check_name, clip
from milstore.store.plain import read_json
from milstore.store.tomlfile import read_toml

SETTINGS = "encoder.toml"
ONNX = "model.onnx"
CONFIG = "config.json"
POOLINGS = ("cls", "cls+mean", "pooled", "2x2")
"""How a network's output becomes one vector a patch: see `milstore.encoders.pooling`."""
INTERPOLATIONS = ("bilinear", "bicubic")
_PICKLED = frozenset({".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"})
_TEXTS = frozenset({".md", ".txt", ".rst", ".pdf", ".png", ".jpg", ".jpeg"})
_NO_WEIGHTS = frozenset({SETTINGS, "preprocessor_config.json", "license", "licence", "notice", "readme"})
_LARGEST_SIDE = 4096
_MOST_REGISTERS = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderSettings:
    """The contents of `encoder.toml`."""

    name: str
    """Name of its features in a store."""
    licence: str
    """Under which licence the weights may be used, in words."""
    size: int
    """Edge of the square that the network takes, in pixels."""
    mean: tuple[float, float, float]
    """Subtracted from red, green and blue, which are 0 to 1."""
    std: tuple[float, float, float]
    """What they are divided by afterwards."""
    pooling: str
    """How the network's output becomes a vector: cls, cls+mean, pooled or 2x2."""
    resize: int | None = None
    """A patch's shorter side is made this long and the middle of `size` is cut out; None: patches have `size` already."""
    interpolation: str = "bilinear"
    """How it is resized: bilinear or bicubic, both with antialiasing, as Pillow and torchvision do."""
    registers: int = 0
    """Tokens between the class token and those of the image, which are no part of a mean."""
    output: str | None = None
    """Which of several outputs of an ONNX network is meant."""
    mpp: float | None = None
    """Micrometres a pixel of the patches that it is given, before they are resized; None if it takes any."""
    source: str | None = None
    """Where the weights come from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderFolder:
    """An encoder's folder, read and checked; its network is not loaded."""

    path: Path
    settings: EncoderSettings
    name: str
    """Name of its features in a store."""
    is_onnx: bool
    """Whether the network is `model.onnx`, and not a model of transformers."""
    fp16: bool
    """Whether the network computes in half precision."""
    weights_sha256: str
    """The encoder's identity: over all files of weights, and what the settings say of how a vector comes about."""

    @property
    def source(self) -> str:
        """What is recorded with its features."""
        said = [f"{self.settings.size} px", self.settings.pooling, "float16" if self.fp16 else "float32"]
        said += [f"licence {self.settings.licence}"]
        named = "" if self.name == self.settings.name else f" --name {self.name}"
        half = " --fp16" if self.fp16 else ""
        return f"milstore encode --encoder-folder {self.path.name}{named}{half} ({'; '.join(said)})"


def read_encoder_folder(path: str | Path, *, name: str | None = None, fp16: bool = False) -> EncoderFolder:
    """An encoder's folder, checked, and its identity: reads every byte of its weights once.

    Args:
        path: the folder.
        name: name of the features in the store; what `encoder.toml` says if left out, and that with -fp16 behind it.
        fp16: the network is to compute in half precision, which makes another encoder.

    Raises:
        UsageError: there is no such folder, or the name is none.
        DataError: `encoder.toml` is missing or says what it may not; there are no weights, or pickled ones, or code.
    """
    path = Path(path).absolute()
    if not path.is_dir():
        raise UsageError(f"there is no folder {clip(str(path), 300)}: name a folder with {SETTINGS} and a network")
    settings = read_settings(path / SETTINGS)
    name = check_name(name or settings.name + ("-fp16" if fp16 else ""), "encoder")
    files = _weight_files(path)
    is_onnx = _is_onnx(path, files)
    return EncoderFolder(
        path=path,
        settings=settings,
        name=name,
        is_onnx=is_onnx,
        fp16=fp16,
        weights_sha256=_identity(path, files, settings, fp16=fp16),
    )


# --- encoder.toml -----------------------------------------------------------------------------------------------------


def read_settings(path: Path) -> EncoderSettings:
    """The contents of an `encoder.toml`. Raises DataError for what is missing, unknown, or of another type."""
    try:
        said = read_toml(path, "the settings of an encoder")
    except FileNotFoundError:
        raise DataError(
            f"{clip(str(path), 300)} is missing: it says how patches come to this encoder (docs/encoders.md)"
        ) from None
    except OSError as error:
        raise DataError(f"{clip(str(path), 300)} cannot be read: {error.strerror or error}") from error
    known: dict[str, Callable[[Any], Any]] = {
        "name": _text, "licence": _text, "size": _side, "mean": _three, "std": _three_positive, "pooling": _pooling,
        "resize": _side, "interpolation": _interpolation, "registers": _count, "output": _text, "mpp": _positive,
        "source": _text,
    }  # fmt: skip
    for key in said:
        if key not in known:
            near = get_close_matches(key, known, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(known)}"
            raise DataError(f"{clip(str(path), 300)}: there is no {clip(key)}: {hint}")
    for key, hint in _REQUIRED.items():
        if key not in said:
            raise DataError(f"{clip(str(path), 300)}: {key} is missing: {hint}")
    read: dict[str, Any] = {}
    for key, value in said.items():
        try:
            read[key] = known[key](value)
        except ValueError as error:
            raise DataError(f"{clip(str(path), 300)}: {key} is {clip(repr(value), 80)}: {error}") from None
    settings = EncoderSettings(**read)
    if settings.resize is not None and settings.resize < settings.size:
        raise DataError(
            f"{clip(str(path), 300)}: resize {settings.resize} is less than size {settings.size}, "
            "the middle of which is cut out of it: make it at least as large"
        )
    check_name(settings.name, "encoder")
    return settings


_REQUIRED = {
    "name": 'say how its features are to be called, such as name = "uni"',
    "licence": 'say under which licence its weights may be used, such as licence = "CC-BY-NC-ND 4.0"',
    "size": "say the edge of the network's input in pixels, such as size = 224",
    "mean": "say what is subtracted of red, green and blue (0 to 1), such as mean = [0.485, 0.456, 0.406]",
    "std": "say what they are divided by, such as std = [0.229, 0.224, 0.225]",
    "pooling": f"say how its output becomes a vector: {', '.join(POOLINGS)}",
}


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError("give a text of one line")
    return value.strip()


def _side(value: Any) -> int:
    if not _is_whole(value) or not 8 <= value <= _LARGEST_SIDE:
        raise ValueError(f"give a whole number of pixels from 8 to {_LARGEST_SIDE}")
    return int(value)


def _count(value: Any) -> int:
    if not _is_whole(value) or not 0 <= value <= _MOST_REGISTERS:
        raise ValueError(f"give a whole number from 0 to {_MOST_REGISTERS}")
    return int(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError("give a number")
    return float(value)


def _positive(value: Any) -> float:
    if (number := _number(value)) <= 0:
        raise ValueError("give a number above 0")
    return number


def _three(value: Any) -> tuple[float, float, float]:
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError("give three numbers, of red, green and blue")
    red, green, blue = map(_number, value)
    return red, green, blue


def _three_positive(value: Any) -> tuple[float, float, float]:
    red, green, blue = map(_positive, _three(value))
    return red, green, blue


def _pooling(value: Any) -> str:
    return _one_of(value, POOLINGS)


def _interpolation(value: Any) -> str:
    return _one_of(value, INTERPOLATIONS)


def _one_of(value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ValueError(f"give {' or '.join(choices)}")
    return str(value)


# --- the weights ------------------------------------------------------------------------------------------------------


def _weight_files(path: Path) -> list[Path]:
    """Everything in the folder that the network may be made of: all but settings, texts, pictures and what is hidden."""
    found = []
    for file in sorted(path.rglob("*")):
        parts = file.relative_to(path).parts
        if any(part.startswith(".") for part in parts) or file.is_dir():
            continue
        if file.suffix.lower() in _TEXTS or file.name.lower() in _NO_WEIGHTS:
            continue
        found.append(file)
    return found


def _is_onnx(path: Path, files: list[Path]) -> bool:
    """Whether the network is an ONNX file. DataError if there is none, two, or one that would have to be executed."""
    shown = clip(str(path), 300)
    onnx = (path / ONNX).is_file()
    for file in files:
        torch_bin = file.suffix.lower() == ".bin" and (not onnx or file.name.startswith("pytorch_model"))
        if file.suffix.lower() in _PICKLED or torch_bin:
            raise DataError(
                f"{clip(str(file), 300)} is pickled, which can hold code, and is not read: "
                "remove it; save the model as safetensors, or export it to ONNX (examples/export_to_onnx.py)"
            )
    tensors = any(file.suffix == ".safetensors" for file in files)
    if onnx and tensors:
        raise DataError(f"{shown} holds {ONNX} and safetensors: keep the one that is meant")
    if not onnx and not tensors:
        raise DataError(f"{shown} holds no weights: put {ONNX} there, or {CONFIG} with model.safetensors")
    if not onnx:
        _check_config(path / CONFIG)
    return onnx


def _check_config(path: Path) -> None:
    """Raises DataError if a model's configuration is missing or requires code of its own."""
    shown = clip(str(path), 300)
    try:
        config = read_json(path)
    except FileNotFoundError:
        raise DataError(
            f"{shown} is missing: save the model by its save_pretrained(), which writes it beside the weights"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{shown} cannot be read ({clip(in_a_line(error), 160)}): save the model again") from error
    if not isinstance(config, Mapping) or not isinstance(config.get("model_type"), str):
        raise DataError(
            f"{shown} names no model_type, so it is no model that transformers has: export it to ONNX (examples/export_to_onnx.py)"
        )
    if "auto_map" in config:
        raise DataError(
            f"{shown} asks for code from elsewhere (auto_map), which is not executed: export the model to ONNX (examples/export_to_onnx.py)"
        )


def _identity(path: Path, files: list[Path], settings: EncoderSettings, *, fp16: bool) -> str:
    """SHA-256 over the files and over what decides the numbers; the name, the licence and the resolution do not."""
    facts = asdict(settings)
    for name in ("name", "licence", "source", "mpp"):
        del facts[name]
    facts["precision"] = "float16" if fp16 else "float32"
    digest = hashlib.sha256()
    for file in files:
        try:
            line = f"{file.relative_to(path).as_posix()}\0{sha256_of(file)}\n"
        except (OSError, ValueError) as error:
            raise DataError(f"{clip(str(file), 300)} cannot be read ({clip(in_a_line(error), 160)})") from error
        digest.update(line.encode())
    digest.update(json.dumps(facts, sort_keys=True).encode())
    return digest.hexdigest()
