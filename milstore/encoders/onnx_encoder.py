"""A network in ONNX, run by onnxruntime."""

from typing import Any

import numpy as np

from milstore.encoders.encoder_folder import ONNX, EncoderFolder
from milstore.encoders.pooling import Output
from milstore.encoders.preprocessing import Prepared
from milstore.errors import DataError, UsageError, in_a_line
from milstore.extras import needed
from milstore.processors import processors
from milstore.store.names import clip

_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
_PRECISIONS: dict[str, np.dtype[Any]] = {"tensor(float)": np.dtype(np.float32), "tensor(float16)": np.dtype(np.float16)}
_QUIET = 4
"""onnxruntime says on stderr what it also raises."""


class OnnxNetwork:
    """`model.onnx` with one input (N, 3, size, size)."""

    def __init__(self, folder: EncoderFolder, *, threads: int | None = None, device: str = "auto") -> None:
        """Load it. UsageError without onnxruntime or the device; DataError for a damaged network, or another input."""
        self._path = folder.path / ONNX
        self._shown = clip(str(self._path), 300)
        runtime = needed("onnxruntime", extra="onnx", why=f"running {self._shown}")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or processors()
        options.log_severity_level = _QUIET
        try:
            self._session = runtime.InferenceSession(
                str(self._path), sess_options=options, providers=_providers(runtime, device)
            )
        except Exception as error:
            # onnxruntime has a class of its own for each way in which a file can be wrong.
            raise DataError(
                f"{self._shown} is damaged or no network that onnxruntime runs ({clip(in_a_line(error), 200)}): "
                "copy or export it again"
            ) from error
        self._name, self._dtype, self._at_once = self._check_input(folder)
        self._output = self._choose_output(folder.settings.output)

    def run(self, batch: Prepared) -> Output:
        """The network's output for an input (N, 3, size, size)."""
        if self._at_once is None or len(batch) == self._at_once:
            return self._run(batch)
        return np.concatenate([self._run(batch[i : i + 1]) for i in range(len(batch))])

    def _run(self, batch: Prepared) -> Output:
        try:
            found = self._session.run([self._output], {self._name: batch.astype(self._dtype, copy=False)})[0]
        except Exception as error:
            raise DataError(
                f"{self._shown} failed on {len(batch)} patches ({clip(in_a_line(error), 200)}): "
                "export it again, with a first axis of any length"
            ) from error
        if not isinstance(found, np.ndarray) or found.dtype.kind != "f":
            raise DataError(f"{self._shown}: output {self._output} is no array of floats: name another in encoder.toml")
        return found

    def _check_input(self, folder: EncoderFolder) -> tuple[str, np.dtype[Any], int | None]:
        """Name, number type, and how many patches at once if that is fixed, of the one input."""
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            names = ", ".join(each.name for each in inputs)
            raise DataError(f"{self._shown} has {len(inputs)} inputs ({clip(names)}): export one with the image alone")
        (only,) = inputs
        dtype = _PRECISIONS.get(only.type)
        if dtype is None:
            raise DataError(f"{self._shown}: input {only.name} is of {only.type}, not of floats: export it again")
        if (dtype == np.float16) != folder.fp16:
            said = "computes in float16: say --fp16" if not folder.fp16 else "computes in float32: leave out --fp16"
            raise UsageError(f"{self._shown} {said}, or export it in the other precision")
        shape = list(only.shape)
        size = folder.settings.size
        wanted = [None, 3, size, size]
        fits = len(shape) == 4 and all(
            want is None or not isinstance(have, int) or have == want for have, want in zip(shape, wanted, strict=True)
        )
        if not fits:
            axes = " x ".join("N" if not isinstance(each, int) else str(each) for each in shape)
            raise DataError(
                f"{self._shown} takes {axes} and encoder.toml says N x 3 x {size} x {size}: correct size, or export it again"
            )
        first = shape[0]
        if isinstance(first, int) and first != 1:
            raise DataError(
                f"{self._shown} takes {first} patches at once, always: export it with a first axis of any length"
            )
        return str(only.name), dtype, first if isinstance(first, int) else None

    def _choose_output(self, wanted: str | None) -> str:
        names = [each.name for each in self._session.get_outputs()]
        if wanted is None and len(names) == 1:
            return str(names[0])
        if wanted in names:
            return str(wanted)
        said = f"has {len(names)} outputs" if wanted is None else f"has no output {clip(str(wanted))}"
        raise DataError(f"{self._shown} {said}: say in encoder.toml output = one of {clip(', '.join(names), 200)}")


def _providers(runtime: Any, device: str) -> list[str]:
    there = runtime.get_available_providers()
    if device == "cuda" and _CUDA not in there:
        raise UsageError("--device cuda: the installed onnxruntime has no CUDA: install onnxruntime-gpu, or use cpu")
    return [_CUDA, _CPU] if device != "cpu" and _CUDA in there else [_CPU]
