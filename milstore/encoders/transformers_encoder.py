"""A model of the transformers library, from a folder of its own: nothing is fetched, executed or unpickled."""

import os
from typing import Any

from milstore.encoders.encoder_folder import EncoderFolder
from milstore.encoders.pooling import Output
from milstore.encoders.preprocessing import Prepared
from milstore.errors import DataError, UsageError, in_a_line
from milstore.extras import needed
from milstore.processors import processors
from milstore.store.names import clip

_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


class TransformersNetwork:
    """A model saved by `save_pretrained`, as safetensors."""

    def __init__(self, folder: EncoderFolder, *, threads: int | None = None, device: str = "auto") -> None:
        """Load it.

        UsageError without transformers or the device; DataError for weights that are damaged or not all there.
        """
        # Read when it is imported: a configuration may name weights elsewhere, and is not to fetch them.
        for name in _OFFLINE:
            os.environ[name] = "1"
        self._shown = clip(str(folder.path), 300)
        library = needed("transformers", extra="transformers", why=f"running {self._shown}")
        import torch

        if device == "cuda" and not torch.cuda.is_available():
            raise UsageError("--device cuda: there is none here that torch can use: use cpu")
        torch.set_num_threads(threads or processors())
        self._torch = torch
        self._device = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
        self._dtype = torch.float16 if folder.fp16 else torch.float32
        self._pooling = folder.settings.pooling
        model, found = self._load(library, folder)
        self._check_whole(found)
        self._check_size(model, folder.settings.size)
        self._model: Any = model.eval().to(self._device, self._dtype)

    def run(self, batch: Prepared) -> Output:
        """The model's output for an input (N, 3, size, size): its pooled vectors, or its last hidden state."""
        torch = self._torch
        pixels = torch.from_numpy(batch).to(self._device, self._dtype)
        try:
            with torch.inference_mode():
                said = self._model(pixel_values=pixels)
        except Exception as error:
            raise DataError(
                f"{self._shown} failed on {len(batch)} patches ({clip(in_a_line(error), 200)}): "
                "correct size in encoder.toml, or export the model to ONNX"
            ) from error
        name = "pooler_output" if self._pooling == "pooled" else "last_hidden_state"
        value = getattr(said, name, None)
        if value is None:
            raise DataError(f"{self._shown}: the model gives no {name}, which pooling {self._pooling} takes")
        # Convolutional models pool to (N, C, 1, 1).
        value = value.flatten(1) if self._pooling == "pooled" else value
        result: Output = value.float().cpu().numpy()
        return result

    def _load(self, library: Any, folder: EncoderFolder) -> tuple[Any, dict[str, Any]]:
        library.logging.set_verbosity_error()
        library.logging.disable_progress_bar()
        try:
            model, found = library.AutoModel.from_pretrained(
                str(folder.path),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
        except Exception as error:
            # transformers, safetensors and json each raise their own.
            raise DataError(
                f"{self._shown} cannot be loaded by transformers {library.__version__} ({clip(in_a_line(error), 200)}): "
                "copy it again, or export the model to ONNX (examples/export_to_onnx.py)"
            ) from error
        return model, found

    def _check_size(self, model: Any, size: int) -> None:
        """Raises DataError if the model's patches do not cover the image: it would silently ignore the rest."""
        patch = getattr(model.config, "patch_size", None)
        if isinstance(patch, int) and patch > 0 and size % patch:
            raise DataError(
                f"{self._shown}: size {size} in encoder.toml is no multiple of the model's patch_size {patch}: correct size"
            )

    def _check_whole(self, found: dict[str, Any]) -> None:
        """Raises DataError if weights are missing: transformers would fill them with random numbers."""
        missing = sorted(str(key) for key in found["missing_keys"])
        if self._pooling != "pooled":
            # Models are published without the layer behind the class token, and nothing comes from it.
            missing = [key for key in missing if not key.startswith("pooler.")]
        wrong = [*missing, *(str(key) for key in found.get("mismatched_keys", ()))]
        if wrong:
            raise DataError(
                f"{self._shown}: {len(wrong)} weights of the model are missing or of another shape, such as {clip(wrong[0])}: "
                "save the whole model again"
            )
