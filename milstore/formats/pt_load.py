"""Reads tensors of `.pt` files by `torch.load(weights_only=True)`.

Imports torch, so only processes that read them import it.

The checksums that a zip file has of its entries are compared first, which torch does not do. Files that torch wrote
before its files were zip files have none: damage among their numbers cannot be seen.
"""

import io
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from milstore.errors import DataError
from milstore.formats.interface import Vectors
from milstore.formats.slice_arrays import LARGEST, Array
from milstore.formats.small_file import LARGEST as LARGEST_VECTOR
from milstore.formats.small_file import small_file
from milstore.store.names import clip

_SMALL = 1 << 20
"""Bytes up to which a file is read once and loaded from memory, which is faster than to map it."""


def load(path: Path, largest: int, what: str, *, allowed: Sequence[tuple[Any, str]] = ()) -> Any:
    """What a `.pt` file holds: tensors, and dicts and lists of them. Those of a large zip file are mapped from it.

    Args:
        path: the file.
        largest: bytes that it may have.
        what: it is to hold, for messages.
        allowed: what stands for further names that the file may call, each with its name.

    Raises:
        DataError: it is too large, damaged, or holds more than tensors, plain values and what is allowed.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"{clip(str(path), 300)} cannot be read: {error.strerror}") from error
    if size > largest:
        raise DataError(f"{clip(str(path), 300)} has {size} bytes: that is too large for {what}")
    with torch.serialization.safe_globals(list(allowed)):
        return _loaded(path, size)


def _loaded(path: Path, size: int) -> Any:
    if size <= _SMALL:
        data = small_file(path)
        return _load(io.BytesIO(data), path, is_zip=data.startswith(b"PK"))
    try:
        with path.open("rb") as stream:
            is_zip = stream.read(2) == b"PK"
            # Only what has a name can be mapped.
            return _load(stream, path, is_zip=is_zip, mapped=is_zip)
    except OSError as error:
        raise DataError(f"{clip(str(path), 300)} cannot be read: {error.strerror}") from error


def _load(stream: Any, path: Path, *, is_zip: bool, mapped: bool = False) -> Any:
    shown = clip(str(path), 300)
    if is_zip:
        _check_sums(stream, shown)
    stream.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(str(path) if mapped else stream, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:
        # Torch raises what it meets: RuntimeError, UnpicklingError, EOFError, KeyError, MemoryError, …
        raise DataError(f"{shown} is damaged, or holds more than tensors: create it again") from error


def _check_sums(stream: Any, shown: str) -> None:
    """Raises DataError unless every entry of a zip file matches its checksum and is uncompressed, as torch writes them."""
    try:
        archive = zipfile.ZipFile(stream)
        packed = next((each for each in archive.infolist() if each.compress_type != zipfile.ZIP_STORED), None)
        wrong = archive.testzip() if packed is None else None
    except Exception as error:
        raise DataError(f"{shown} is damaged: create it again") from error
    if packed is not None:
        raise DataError(f"{shown} is compressed inside, as torch.save does not: save it by torch.save")
    if wrong is not None:
        entry = clip(wrong.rpartition("/")[2])
        raise DataError(f"{shown} is damaged: the checksum of its {entry!r} does not fit, create it again")


def load_vector(path: Path) -> Vectors:
    """The one vector (D,) of a `.pt` file; bfloat16 comes as float32.

    Raises:
        DataError: the file is damaged, holds no tensor, more than one, or one that is no vector of floats.
    """
    loaded, name = load(path, LARGEST_VECTOR, "the vector of one patch"), clip(str(path), 300)
    tensors = loaded.values() if isinstance(loaded, dict) else [loaded]
    found = [tensor for tensor in tensors if isinstance(tensor, torch.Tensor)]
    if len(found) != 1:
        raise DataError(f"{name} holds {len(found)} tensors, not one: save the feature vector alone")
    tensor = _plain(found[0], path, "a tensor that is no plain vector")
    if tensor.dim() == 0:
        raise DataError(f"{name} holds a tensor of shape (), and a patch has one vector (D): create it again")
    if not tensor.is_floating_point():
        raise DataError(f"{name} holds {tensor.dtype}, not floats: save it as float16, float32, float64 or bfloat16")
    if tensor.numel() != max(tensor.shape):
        raise DataError(f"{name} has shape {tuple(tensor.shape)}, and a patch has one vector (D)")
    if tensor.dtype not in (torch.float16, torch.float32, torch.float64):
        tensor = tensor.float()
    vector: Vectors = tensor.reshape(-1).numpy()
    return vector


def load_matrix(path: Path) -> Array:
    """The one tensor (N, D) of a `.pt` file, mapped from it if that is large; bfloat16 as two bytes without meaning.

    N may be 0. A leading axis of one bag, (1, N, D), is taken away.

    Raises:
        DataError: the file is damaged, holds more than one tensor, or one that is no matrix of floats.
    """
    loaded, name = load(path, LARGEST, "the features of one slide"), clip(str(path), 300)
    if not isinstance(loaded, torch.Tensor):
        raise DataError(f"{name} holds a {type(loaded).__name__}, not one tensor (N, D): save the features alone")
    if not loaded.is_floating_point():
        raise DataError(f"{name} holds {loaded.dtype}, not floats: save it as float16, float32, float64 or bfloat16")
    array = _array(loaded, path)
    array = array[0] if array.ndim == 3 and len(array) == 1 else array
    if array.ndim != 2 or not array.shape[1]:
        raise DataError(f"{name} has shape {tuple(loaded.shape)}: the features of a slide are (N, D)")
    return array


def _plain(tensor: torch.Tensor, path: Path, otherwise: str) -> torch.Tensor:
    """Raises unless a tensor's numbers are all in its file: by zero strides or sparsity a few bytes can declare a huge one."""
    tensor = tensor.detach()
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        raise DataError(f"{clip(str(path), 300)} holds {otherwise}: save it dense, on the CPU")
    if tensor.numel() * tensor.element_size() > path.stat().st_size:
        raise DataError(
            f"{clip(str(path), 300)} holds a tensor of shape {tuple(tensor.shape)}, larger than its file: create it again"
        )
    # A view that is to be negated holds other numbers than it stands for.
    return tensor.resolve_conj().resolve_neg()


class TensorArrays:
    """The tensors of a dict in a `.pt` file, as arrays."""

    def __init__(self, path: Path) -> None:
        loaded = load(path, LARGEST, "the features of one slice")
        tensors = loaded.items() if isinstance(loaded, dict) else ()
        self._arrays = {name: _array(each, path) for name, each in tensors if isinstance(each, torch.Tensor)}

    def has(self, name: str) -> bool:
        """Whether there is a tensor of this name."""
        return name in self._arrays

    def declared(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Its shape and type."""
        return self._arrays[name].shape, self._arrays[name].dtype

    def read(self, name: str) -> Array:
        """It as an array, mapped from the file if that is large."""
        return self._arrays[name]


def _array(tensor: torch.Tensor, path: Path) -> Array:
    """A tensor as an array without a copy; bfloat16, which NumPy lacks, as two bytes without meaning."""
    tensor = _plain(tensor, path, "a tensor that is no plain one")
    if tensor.dtype == torch.bfloat16:
        bits: Array = tensor.view(torch.int16).numpy().view("V2")
        return bits
    array: Array = tensor.numpy()
    return array
