"""Small bags for the models' tests, in which a patch's features depend on its identity alone."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import torch
from torch import Tensor

from milstore.models import Bag, CaseOutput, MILModel, levels, load_model, make_bag, make_config

D = 5
Patch = tuple[str, int, int]
SMALL: dict[str, dict[str, Any]] = {
    "hierarchical": {"hidden": 6, "attention_dim": 4},
    "mean": {"hidden": 6},
    "max": {"hidden": 6},
    "abmil": {"hidden": 6, "attention_dim": 4},
    "clam-sb": {"hidden": 6, "attention_dim": 4, "k_sample": 2},
    "clam-mb": {"hidden": 6, "attention_dim": 4, "k_sample": 2},
    "dsmil": {"hidden": 6, "query_dim": 4},
    "transmil": {"hidden": 8, "heads": 2, "landmarks": 4, "residual_kernel": 3},
    "acmil": {"branches": 3, "hidden": 6, "attention_dim": 4, "masked_top": 2},
}
"""Settings of each built-in model that make it small."""
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in SMALL),
    ("hierarchical", {"pooling": "size-corrected"}),
    ("hierarchical", {"pooling": "flat", "gated": False}),
    ("mean", {"of": "instances"}),
    ("max", {"of": "instances"}),
    ("abmil", {"gated": False}),
    ("clam-sb", {"exclusive": False, "instance_loss": "cross-entropy"}),
    ("clam-mb", {"gated": False}),
    ("dsmil", {"nonlinear_query": False, "nonlinear_value": True}),
    ("transmil", {"landmarks": 64, "residual_kernel": 0}),
    ("acmil", {"branches": 1}),
]
"""Every built-in model, and each of its ways."""
VARIANT_IDS = ["-".join([name, *map(str, more.values())]) for name, more in VARIANTS]
SEVERAL: list[Patch] = [
    *(("h&e", 0, i) for i in range(4)),
    ("h&e", 2, 0),
    ("h&e", 2, 3),
    *(("sox10", 1, i) for i in (1, 5, 6)),
]
"""Two stains, three slices, nine patches."""


def small_model(name: str, *, seed: int = 0, classes: int = 3, spread: float = 3.0, **more: Any) -> MILModel:
    """A small model in evaluation; weights three times as large as usual give attention that is far from even."""
    torch.manual_seed(seed)
    loaded = load_model(name)
    config = make_config(loaded.cls.Config, {**SMALL[name], "dropout": 0.0, **more})
    made = loaded.build(config, D, classes)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(spread)
    return made.eval()


def vector(patch: Patch) -> list[float]:
    """A patch's features."""
    stain, slice_idx, patch_idx = patch
    return np.random.default_rng([len(stain), slice_idx, patch_idx]).normal(size=D).tolist()


def bag_of(patches: list[Patch], dtype: torch.dtype = torch.float32) -> Bag:
    """A bag with its rows in the order given, and its slices and stains in the order in which they are met."""
    slices = list(dict.fromkeys((stain, slice_idx) for stain, slice_idx, _ in patches))
    stains = list(dict.fromkeys(stain for stain, _ in slices))
    return make_bag(
        torch.tensor([vector(patch) for patch in patches], dtype=dtype),
        torch.tensor([slices.index(patch[:2]) for patch in patches]),
        torch.tensor([stains.index(stain) for stain, _ in slices]),
        stains=tuple(stains),
    )


def attended(output: CaseOutput, bag: Bag, patches: list[Patch]) -> dict[Patch, tuple[float, float, float, float]]:
    """Stain, slice, patch and effective attention by the patch's identity."""
    assert output.attention is not None
    found = levels(output.attention, bag)
    slice_N, stain_G = bag.slice_N.numpy(), bag.stain_G.numpy()
    columns = (found.stain_S[stain_G][slice_N], found.slice_G[slice_N], found.patch_N, found.effective_N)
    return dict(zip(patches, zip(*(column.tolist() for column in columns), strict=True), strict=True))


@st.composite
def patch_lists(draw: st.DrawFn, most_stains: int = 3) -> list[Patch]:
    """Patches (stain, slice_idx, patch_idx) of a case: one to three stains, one to three slices, one to four patches."""
    stains = draw(st.lists(st.sampled_from(["h&e", "melan", "sox10"]), min_size=1, max_size=most_stains, unique=True))
    return [
        (stain, slice_idx, patch_idx)
        for stain in stains
        for slice_idx in draw(st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True))
        for patch_idx in draw(st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True))
    ]


def ten_bags(classes: int = 3) -> list[tuple[Bag, int]]:
    """Ten bags of one to eleven patches; a class is told by one value of two of a bag's patches, others are noise."""
    rng = np.random.default_rng(0)
    bags = []
    for i in range(10):
        n_patches = 2 + i
        feature_ND = rng.normal(size=(n_patches, D))
        label = i % classes
        feature_ND[:2, label] += 5
        slice_N = torch.arange(n_patches) * 2 // n_patches
        bags.append((make_bag(torch.tensor(feature_ND).float(), slice_N, torch.tensor([0, 1])), label))
    return bags


def flat_gradients(model: MILModel) -> Tensor:
    """All gradients in one row; zeros where there is none."""
    return torch.cat(
        [torch.zeros(each.numel()) if each.grad is None else each.grad.flatten() for each in model.parameters()]
    )
