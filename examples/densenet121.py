"""DenseNet-121 (Huang et al. 2017) up to its last maps, for features of 4,096 numbers a patch: `pip install torchvision`.

With the pooling 2x2 the 1,024 maps are averaged over each quarter of a patch, so that a feature still says roughly where.
"""

from collections import OrderedDict

import torch


def maps(relu: bool = True, weights: str | None = "IMAGENET1K_V1") -> torch.nn.Sequential:
    """The network from pixels to maps (N, 1024, 7, 7).

    Args:
        relu: as the network itself goes on behind its last normalisation; scripts that take its `features` leave it out.
        weights: those of torchvision, fetched once; None for random ones.
    """
    from torchvision.models import densenet121

    steps = OrderedDict(features=densenet121(weights=weights).features)
    if relu:
        steps["relu"] = torch.nn.ReLU()
    return torch.nn.Sequential(steps)
