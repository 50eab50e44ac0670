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


def slice_names(names: list[str]) -> dict[str, list[int]]:
    """The numbers of the patches of each slice of some patches' names."""
    found: dict[str, list[int]] = {}
    for name in names:
        stem, _, number = name.rpartition("_patch")
        found.setdefault(stem, []).append(int(number))
    return found


def make_slices(folder: Path, slices: dict[str, list[int]], features: int) -> None:
    """Vectors as `make_vectors` makes them, a file a slice."""
    import torch

    rng = np.random.default_rng(0)
    for stem, numbers in slices.items():
        (folder / stem).parent.mkdir(parents=True, exist_ok=True)
        vectors = np.maximum(rng.standard_normal((len(numbers), features), dtype=np.float32), 0).astype(np.float16)
        held = {"features": torch.from_numpy(vectors), "patch_idx": torch.tensor(numbers)}
        torch.save(held, f"{folder}/{stem}.pt")
