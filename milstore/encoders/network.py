"""Networks of encoders' folders, each run in one process with its own threads."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from milstore.encoders.encoder_folder import EncoderFolder
from milstore.encoders.interface import Image, Vectors
from milstore.encoders.pooling import Output, pooled
from milstore.encoders.preprocessing import Prepared, prepared
from milstore.errors import DataError, UsageError
from milstore.store.names import clip

DEVICES = ("auto", "cpu", "cuda")


class Runs(Protocol):
    """Runs a network."""

    def run(self, batch: Prepared) -> Output:
        """The network's output for an input (N, 3, size, size)."""


class Network:
    """An encoder's network, loaded. It is an `Encoder` too."""

    def __init__(self, folder: EncoderFolder, network: Runs) -> None:
        """Try it on one empty patch, which tells how long its vectors are.

        DataError if it is not as encoder.toml says.
        """
        self.folder = folder
        self.name = folder.name
        self._network = network
        size = folder.settings.size
        self.n_features = 0
        self.n_features = self.vectors(np.zeros((1, 3, size, size), np.float32)).shape[1]

    def encode(self, images: Sequence[Image]) -> Vectors:
        """Feature vectors (N, D) of N images, each (height, width, 3) uint8. DataError for an image of another size."""
        return self.vectors(prepared(images, self.folder.settings))

    def vectors(self, batch: Prepared) -> Vectors:
        """Feature vectors (N, D) of what `prepared` gives of N images."""
        settings = self.folder.settings
        try:
            found = pooled(self._network.run(batch), settings.pooling, settings.registers)
        except ValueError as error:
            raise DataError(f"{clip(str(self.folder.path), 300)}: {error}") from error
        expected = (len(batch), self.n_features or found.shape[1])
        if found.shape != expected or not found.shape[1]:
            raise DataError(
                f"{clip(str(self.folder.path), 300)}: the network gives {found.shape} for {len(batch)} patches, "
                f"not {expected}: export it so that the first axis counts patches"
            )
        return found


def load_network(folder: EncoderFolder, *, threads: int | None = None, device: str = "auto") -> Network:
    """The network of an encoder's folder.

    Args:
        folder: the folder.
        threads: how many it computes with; all processors that this process may use if left out.
        device: auto (a GPU where there is one that the installed package can use), cpu or cuda.

    Raises:
        UsageError: what runs it is not installed, or there is no such device.
        DataError: the weights are damaged, or the network is not as encoder.toml says.
    """
    if device not in DEVICES:
        raise UsageError(f"--device {clip(device)}: give {', '.join(DEVICES)}")
    if folder.is_onnx:
        from milstore.encoders.onnx_encoder import OnnxNetwork

        return Network(folder, OnnxNetwork(folder, threads=threads, device=device))
    from milstore.encoders.transformers_encoder import TransformersNetwork

    return Network(folder, TransformersNetwork(folder, threads=threads, device=device))
