"""Converts numbers, columns and weights of any library, without importing it."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from milstore.errors import DataError
from milstore.store.names import clip, named

Floats = npt.NDArray[np.float64]


def floats(values: Any, what: str) -> Floats:
    """Numbers as float64, of whatever shape: an array, a tensor of torch on any device, a list or a frame's column.

    DataError for anything else. NaN and infinite numbers pass.
    """
    try:
        if hasattr(values, "detach"):
            # A tensor; numpy knows no bfloat16, so torch widens it.
            values = values.detach().cpu()
            values = (values if values.is_complex() else values.double()).numpy()
        elif hasattr(values, "to_numpy"):
            values = values.to_numpy()
        elif isinstance(values, Sequence) and any(hasattr(each, "detach") for each in values):
            values = [floats(each, what) for each in values]
        if np.iscomplexobj(values):
            raise TypeError("complex numbers")  # numpy would keep their real part, with a warning
        found: Floats = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{what}: no array of numbers ({clip(' '.join(str(error).split()), 120)})") from error
    return found


def columns_of(frame: Any) -> dict[str, list[Any]] | None:
    """The columns of a dictionary, of an answer of milstore, or of a frame of pandas, pyarrow, polars or the like.

    None for what is none of these.
    """
    for way in ("collect", "arrow", "read_all"):  # A frame of polars that is still to be computed; an answer.
        if callable(getattr(frame, way, None)):
            frame = getattr(frame, way)()
    if isinstance(frame, Mapping):
        return {str(name): _listed(column) for name, column in frame.items()}
    names = getattr(frame, "column_names", None) or getattr(frame, "columns", None)
    # Of pyarrow, `columns` are the columns themselves.
    if names is None or callable(names) or not hasattr(frame, "__getitem__"):
        return None
    return {str(name): _listed(frame[name]) for name in list(names)}


def _listed(column: Any) -> list[Any]:
    """The values of a column as Python's own."""
    for way in ("to_pylist", "tolist", "to_list"):
        if hasattr(column, way):
            found: list[Any] = getattr(column, way)()
            return found
    return list(column)


def weights_writer(state: Mapping[str, Any]) -> Callable[[Path], None]:
    """A function that writes a model's weights as safetensors: arrays of numpy, or tensors of torch.

    DataError for a value that is neither, such as a dictionary, and for what is no dictionary, such as the model itself.
    """
    if not isinstance(state, Mapping):
        raise DataError(f"weights come by name, and this is a {type(state).__name__}: give model.state_dict()")
    # A tensor is there only where torch is loaded already.
    torch = sys.modules.get("torch")
    tensors = {} if torch is None else {n: each for n, each in state.items() if isinstance(each, torch.Tensor)}
    wrong = [
        f"{name} ({type(each).__name__})"
        for name, each in state.items()
        if name not in tensors and (not isinstance(each, np.ndarray) or each.dtype.kind not in "biuf")
    ]
    if wrong:
        raise DataError(f"weights hold what is no array of numbers and no tensor: {named(wrong)}; leave it out")
    if not state:
        raise DataError("weights hold nothing: give model.state_dict()")
    if tensors and torch is not None:
        # Each on its own: tied weights share their memory, which safetensors refuses.
        whole = {str(name): torch.as_tensor(each).detach().cpu().contiguous().clone() for name, each in state.items()}

        def write_tensors(path: Path) -> None:
            from safetensors.torch import save_file

            save_file(whole, path)

        return write_tensors
    arrays = {str(name): np.ascontiguousarray(each) for name, each in state.items()}

    def write_arrays(path: Path) -> None:
        from safetensors.numpy import save_file

        save_file(arrays, path)

    return write_arrays
