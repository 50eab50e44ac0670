"""The interface of models: a bag of patches in, a `CaseOutput` out, and a loss computed from it.

Axes, named in suffixes of all models:  N patches   G slices   S stains   D features   H hidden   A attention   C classes
                                        M members of any level, K the groups that they lie in
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

Attends = Literal["levels", "patches", "none"]


@dataclass(frozen=True)
class Bag:
    """One case: the features of its N patches, which lie in G slices of S stains.

    Rows are in canonical order: stains by name, slices by number within their stain, patches by number within their
    slice. Models give the same output for any order, except those that say otherwise (TransMIL). `make_bag` checks.
    """

    feature_ND: Tensor
    """Features, exactly one row a patch, float32 (float64 where a test wants it)."""
    slice_N: Tensor
    """Which slice each patch lies in, int64 from 0 to G - 1; every slice has a patch."""
    stain_G: Tensor
    """Which stain each slice is of, int64 from 0 to S - 1; every stain has a slice. The numbers count this case's own
    stains and mean nothing beyond it: a model that treats stains differently goes by `stains`."""
    xy_N2: Tensor
    """Left and upper edge of each patch, in pixels of its slice, or of its slide's level 0 where the slice lies on a slide;
    NaN where that is unknown."""
    n_stains: int
    """S. Kept beside the tensors, as looking at them would wait for a GPU."""
    stains: tuple[str, ...] = ()
    """Names of the S stains by their numbers; empty where the caller does not say."""

    @property
    def n_patches(self) -> int:
        """N."""
        return len(self.slice_N)

    @property
    def n_slices(self) -> int:
        """G."""
        return len(self.stain_G)

    @cached_property
    def slice_GN(self) -> Tensor:
        """Bool, true where patch n lies in slice g."""
        return self.slice_N == torch.arange(self.n_slices, device=self.slice_N.device)[:, None]

    @cached_property
    def stain_SG(self) -> Tensor:
        """Bool, true where slice g is of stain s."""
        return self.stain_G == torch.arange(self.n_stains, device=self.stain_G.device)[:, None]

    @cached_property
    def case_1S(self) -> Tensor:
        """Bool, true everywhere: the stains of the case."""
        return torch.ones(1, self.n_stains, dtype=torch.bool, device=self.stain_G.device)

    @cached_property
    def case_1N(self) -> Tensor:
        """Bool, true everywhere: the patches of the case."""
        return torch.ones(1, self.n_patches, dtype=torch.bool, device=self.slice_N.device)

    def to(self, device: torch.device | str) -> "Bag":
        """The bag with its tensors on a device; the same bag if they are there."""
        if self.feature_ND.device == torch.device(device):
            return self
        moved = {
            name: getattr(self, name).to(device, non_blocking=True)
            for name in ("feature_ND", "slice_N", "stain_G", "xy_N2")
        }
        return replace(self, **moved)


def make_bag(
    feature_ND: Tensor,
    slice_N: Tensor,
    stain_G: Tensor,
    xy_N2: Tensor | None = None,
    stains: tuple[str, ...] = (),
) -> Bag:
    """A bag whose parts are checked against each other; coordinates are unknown unless given.

    Raises:
        ValueError: no patch, shapes that do not fit, a slice without a patch, a stain without a slice or a name too few.
    """
    n_patches, n_slices = len(slice_N), len(stain_G)
    if feature_ND.ndim != 2 or len(feature_ND) != n_patches or not n_patches:
        raise ValueError(
            f"features of shape {tuple(feature_ND.shape)} for {n_patches} patches: one row a patch, at least 1"
        )
    if not feature_ND.is_floating_point():
        raise ValueError(f"features are {feature_ND.dtype}: give float32")
    if not torch.equal(torch.unique(slice_N), torch.arange(n_slices, device=slice_N.device)):
        raise ValueError(f"slice_N must hold every number from 0 to {n_slices - 1} and no other")
    n_stains = int(stain_G.max()) + 1
    if not torch.equal(torch.unique(stain_G), torch.arange(n_stains, device=stain_G.device)):
        raise ValueError(f"stain_G must hold every number from 0 to {n_stains - 1} and no other")
    if xy_N2 is None:
        xy_N2 = torch.full((n_patches, 2), torch.nan, device=feature_ND.device)
    if xy_N2.shape != (n_patches, 2):
        raise ValueError(f"coordinates of shape {tuple(xy_N2.shape)} for {n_patches} patches")
    if stains and len(stains) != n_stains:
        raise ValueError(f"{len(stains)} names for {n_stains} stains")
    return Bag(feature_ND, slice_N, stain_G, xy_N2, n_stains, stains)


@dataclass(frozen=True, slots=True)
class LevelAttention:
    """Attention in three levels, as logarithms: each sums to 1 (after exp) within its parent.

    Logarithms because a product of three softmaxes is easily below what float32 can hold.
    """

    log_stain_S: Tensor
    """Of each stain within the case."""
    log_slice_G: Tensor
    """Of each slice within its stain."""
    log_patch_N: Tensor
    """Of each patch within its slice."""


@dataclass(frozen=True, slots=True)
class PatchAttention:
    """Attention as one distribution over the case's patches, as logarithms: they sum to 1 (after exp)."""

    log_weight_N: Tensor


Attention = LevelAttention | PatchAttention
"""Either form of attention."""


@dataclass(frozen=True, slots=True)
class CaseOutput:
    """A model's output for one case: logits, attention and scores."""

    logits_C: Tensor
    """Unnormalised log-probabilities of the classes. A model for something else than classes puts here what its `loss`
    understands."""
    attention: Attention | None = None
    """As the model's `attends` says: levels, patches, or None."""
    scores: Mapping[str, Tensor] = field(default_factory=dict)
    """Signed numbers, one a patch (N,), that are not attention, by name."""
    aux: Mapping[str, Tensor] = field(default_factory=dict)
    """What the model's own `loss` needs besides; nobody else looks at it."""


class MILModel(nn.Module):
    """Base class of models: subclass it, set `attends`, and write `forward`.

    A subclass has a nested dataclass `Config`, frozen and keyword-only, of plain fields (int, float, bool, str or a
    Literal of texts) that all have defaults and a line of help under them, and is made by `Model(config, n_features,
    n_classes)`. A constructor that takes `stains` besides is given the names of the store's stains, sorted.

    Layers draw from torch's global generators, which whoever trains seeds. Nothing may be kept between two cases.
    """

    attends: ClassVar[Attends]
    """levels: `LevelAttention`; patches: `PatchAttention`; none: no attention, and none is invented."""

    Config: ClassVar[type[Any]]

    def forward(self, bag: Bag) -> CaseOutput:
        """The model's output for the case."""
        raise NotImplementedError

    def loss(self, output: CaseOutput, label: int, class_weight: Tensor) -> Tensor:
        """The training loss, a scalar: the class-weighted cross-entropy, unless a model adds to it.

        Args:
            output: what `forward` gave.
            label: the case's class, from 0 to C - 1.
            class_weight: weight of each class, shape (C,), above 0.
        """
        return cross_entropy(output.logits_C, label, class_weight)


def cross_entropy(logits_C: Tensor, label: int, class_weight: Tensor) -> Tensor:
    """The weight of the label's class times -log p of the label, a scalar.

    Not torch's `cross_entropy(weight=...)`: its mean over one case divides by the case's weight, which undoes it.
    """
    return -class_weight[label] * logits_C.log_softmax(0)[label]
