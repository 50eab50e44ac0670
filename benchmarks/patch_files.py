"""Files named as patches are: empty images, and vectors."""

import os
from pathlib import Path

import numpy as np

SLICES = ("match_1_h&e", "match_2_h&e", "match_1_melan", "match_2_melan", "match_1_sox10")


def patch_names(cases: int, patches: int) -> list[str]:
    """Names of patches, in a folder a case, without an extension."""
    of_case = -(-patches // cases)
    return [
        f"{1 + i // of_case}/case_{1 + i // of_case}_{SLICES[(1 + i % of_case) % len(SLICES)]}_patch{1 + i % of_case}"
        for i in range(patches)
    ]


def make_empty(folder: Path, names: list[str]) -> None:
    """Images without a byte."""
    for place in {name.partition("/")[0] for name in names}:
        (folder / place).mkdir(parents=True)
    for name in names:
        os.close(os.open(f"{folder}/{name}.png", os.O_CREAT | os.O_WRONLY))


def make_vectors(folder: Path, names: list[str], features: int) -> None:
    """Vectors as pooled activations are: float16, zero or above."""
    # Not above: nothing that is timed imports torch.
    import torch

    rng = np.random.default_rng(0)
    for place in {name.partition("/")[0] for name in names}:
        (folder / place).mkdir(parents=True)
    for name in names:
        vector = np.maximum(rng.standard_normal(features, dtype=np.float32), 0).astype(np.float16)
        torch.save(torch.from_numpy(vector), f"{folder}/{name}.pt")
