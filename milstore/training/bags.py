"""Bags as they are stored: the features of a case, the identities of its patches, and the sources of both.

A bag carries the names of its slices and patches beside their features, so attention finds its patch by name. `seen`
makes of it what a model is given (`milstore.models.Bag`). The loop only knows `BagSource.in_order`, so a source may hold
everything in memory or read ahead from the packed file.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from milstore.errors import DataError
from milstore.models import interface
from milstore.store.cohort import Cohort
from milstore.store.features import PackedFeatures
from milstore.store.names import natural_key
from milstore.store.patch_index import PLACE

Ints = npt.NDArray[np.int64]
Coordinates = npt.NDArray[np.float32]
TENSORS = ("feature_ND", "slice_of_N", "stain_G", "xy_N2")
"""The parts of a bag that are moved to a GPU."""


@dataclass(frozen=True, slots=True)
class Bag:
    """One case: the features of its N patches in G slices and S stains.

    Rows are in canonical order: stains by name, slices by number within their stain, patches by number within their
    slice. There is a row for each patch and no other.
    """

    case_id: str
    slices: tuple[tuple[str, int], ...]
    """(stain, slice_idx) of each slice, in canonical order."""
    slice_N: Ints
    """Which of `slices` each patch lies in."""
    patch_idx_N: Ints
    """The number in each patch's file name."""
    feature_ND: Tensor
    """Features as stored, float16 or float32."""
    slice_of_N: Tensor
    """`slice_N` beside the features, on their device."""
    stain_G: Tensor
    """Which stain each slice is of, from 0, on the features' device; stains in alphabetical order."""
    xy_N2: Tensor
    """Left and upper edge of each patch, in pixels of its slice or of its slide's level 0, float32, on the features'
    device; NaN where that is unknown."""

    @property
    def n_patches(self) -> int:
        """How many patches the bag holds."""
        return len(self.patch_idx_N)

    @property
    def stains(self) -> tuple[str, ...]:
        """Names of the stains, by their numbers in `stain_G`."""
        return tuple(dict.fromkeys(stain for stain, _ in self.slices))

    def seen(self, feature_ND: Tensor) -> interface.Bag:
        """What a model is given of the case: these features (N, D), and which slice and stain each patch is of."""
        stains = self.stains
        return interface.Bag(feature_ND, self.slice_of_N, self.stain_G, self.xy_N2, len(stains), stains)

    def to(self, device: torch.device) -> "Bag":
        """The bag with its tensors on a device; the same bag if they are there."""
        if self.feature_ND.device == device:
            return self
        return replace(self, **{name: getattr(self, name).to(device, non_blocking=True) for name in TENSORS})

    def with_features(self, feature_ND: Tensor) -> "Bag":
        """The bag with these features (N, D) of its patches."""
        return replace(self, feature_ND=feature_ND)

    def without_features(self) -> "Bag":
        """The bag with the names of its patches alone, and the memory of its features let go."""
        return replace(self, feature_ND=self.feature_ND.new_empty(0, self.feature_ND.shape[1]))

    def capped(self, most: int, rng: np.random.Generator) -> "Bag":
        """The bag with at most `most` patches a slice, drawn without replacement; itself where no slice has more."""
        if np.bincount(self.slice_N).max() <= most:
            return self
        # The first `most` of each slice in a random order are a fair draw.
        shuffled = rng.permutation(self.n_patches)
        by_slice = shuffled[np.argsort(self.slice_N[shuffled], kind="stable")]
        slice_sorted = self.slice_N[by_slice]
        place_in_slice = np.arange(self.n_patches) - np.searchsorted(slice_sorted, slice_sorted)
        kept = np.sort(by_slice[place_in_slice < most])
        rows = torch.from_numpy(kept).to(self.feature_ND.device)
        return replace(
            self,
            slice_N=self.slice_N[kept],
            patch_idx_N=self.patch_idx_N[kept],
            **{name: getattr(self, name)[rows] for name in TENSORS if name != "stain_G"},
        )

    def with_slices(self, most: int, rng: np.random.Generator) -> "Bag":
        """The bag with at most `most` slices a stain, drawn without replacement; itself where no stain has more."""
        stains = [stain for stain, _ in self.slices]
        drawn = rng.permutation(len(stains))
        # The first `most` of each stain in a random order are a fair draw.
        kept = {stain: sorted([int(g) for g in drawn if stains[g] == stain][:most]) for stain in self.stains}
        kept_G = np.array([g for stain in self.stains for g in kept[stain]], np.int64)
        if len(kept_G) == len(stains):
            return self
        new_G = np.full(len(stains), -1, np.int64)
        new_G[kept_G] = np.arange(len(kept_G))
        row_N = np.flatnonzero(new_G[self.slice_N] >= 0)
        rows = torch.from_numpy(row_N).to(self.feature_ND.device)
        slice_N = new_G[self.slice_N[row_N]]
        return replace(
            self,
            slices=tuple(self.slices[g] for g in kept_G),
            slice_N=slice_N,
            patch_idx_N=self.patch_idx_N[row_N],
            feature_ND=self.feature_ND[rows],
            slice_of_N=torch.from_numpy(slice_N).to(self.slice_of_N),
            stain_G=self.stain_G[torch.from_numpy(kept_G).to(self.stain_G.device)],
            xy_N2=self.xy_N2[rows],
        )


class BagSource(Protocol):
    """A source of bags in a given order."""

    n_features: int

    def in_order(self, case_ids: Iterable[str]) -> Iterator[Bag]:
        """The bags of the cases, in that order. A bag's features hold until the next bag is asked for."""
        ...  # pragma: no cover


class BagsInMemory:
    """Bags whose features stay in memory, or on the GPU, as they are stored."""

    def __init__(self, bags: Iterable[Bag]) -> None:
        self._bags = {bag.case_id: bag for bag in bags}
        self.n_features = next((bag.feature_ND.shape[1] for bag in self._bags.values()), 0)

    @property
    def n_bytes(self) -> int:
        """Bytes that the features take."""
        return sum(bag.feature_ND.nbytes for bag in self._bags.values())

    def in_order(self, case_ids: Iterable[str]) -> Iterator[Bag]:
        """The bags of the cases, in that order; KeyError for a case that is not held."""
        return (self._bags[case_id] for case_id in case_ids)

    def to(self, device: torch.device) -> "BagsInMemory":
        """The bags with their tensors on a device."""
        return self if device.type == "cpu" else BagsInMemory(bag.to(device) for bag in self._bags.values())


def make_bag(case_id: str, stain_N: Iterable[str], slice_idx_N: Ints, patch_idx_N: Ints, feature_ND: Tensor) -> Bag:
    """A bag from the identity of each patch and its features, row by row in any order."""
    stains, stain_code_N = np.unique(np.asarray(list(stain_N), dtype=object), return_inverse=True)
    place_N3 = np.stack([stain_code_N.reshape(-1), slice_idx_N, patch_idx_N], axis=1)
    if not _in_order(place_N3):
        order_N = np.lexsort(place_N3.T[::-1])
        place_N3, feature_ND = place_N3[order_N], feature_ND[torch.from_numpy(order_N)]
    return _bag(case_id, [str(stain) for stain in stains], place_N3, feature_ND)


def coordinates(cohort: Cohort, packed: PackedFeatures) -> Coordinates | None:
    """Left and upper edge of the patches of `packed`, row by row, float32 of shape (rows, 2): NaN where unknown.

    None if the store has no coordinates at all.
    """
    patches = cohort.table("patches").select([*PLACE, "x", "y"])
    known = patches.filter(pc.and_(patches["x"].is_valid(), patches["y"].is_valid()))
    if not known.num_rows:
        return None
    asked = packed.patches.select(list(PLACE)).cast(known.select(list(PLACE)).schema)
    both = asked.append_column("row", pa.array(np.arange(asked.num_rows))).join(known, list(PLACE), join_type="inner")
    found = np.full((asked.num_rows, 2), np.nan, np.float32)
    found[np.asarray(both["row"])] = np.stack([np.asarray(both["x"]), np.asarray(both["y"])], axis=1)
    return found


def name_bags(packed: PackedFeatures, case_ids: Iterable[str], xy: Coordinates | None = None) -> dict[str, Bag]:
    """The bags of cases, in natural order, still without features. KeyError for a case that has none in the pack.

    Args:
        packed: the features.
        case_ids: the cases.
        xy: from `coordinates`; None where there are none.
    """
    encoded = packed.patches["stain"].combine_chunks().dictionary_encode()
    # Codes in alphabetical order of the stains, whatever order they were met in.
    names = encoded.dictionary.to_pylist()
    stains = sorted(names)
    code_of = np.array([stains.index(name) for name in names], dtype=np.int64)
    stain_code = code_of[_int64(encoded.indices)] if len(encoded) else np.empty(0, dtype=np.int64)
    place_N3 = np.stack(
        [stain_code, *(_int64(packed.patches[name].combine_chunks()) for name in ("slice_idx", "patch_idx"))], axis=1
    )
    nothing = torch.empty(0, packed.n_features, dtype=getattr(torch, packed.dtype))
    bags = {}
    for case_id in sorted(case_ids, key=natural_key):
        rows = slice(*packed.case_rows[case_id])
        bag = _bag(case_id, stains, place_N3[rows], nothing)
        bags[case_id] = bag if xy is None else replace(bag, xy_N2=torch.from_numpy(xy[rows]))
    return bags


def feature_moments(bags: BagSource, case_ids: Iterable[str]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each feature over all patches of some cases: two float64 tensors of shape (D,).

    A feature that never varies has deviation 1, so that it can be divided by.
    """
    n_patches = 0
    total_D = torch.zeros(bags.n_features, dtype=torch.float64)
    squares_D = torch.zeros(bags.n_features, dtype=torch.float64)
    for bag in bags.in_order(case_ids):
        feature_ND = bag.feature_ND.cpu().double()
        n_patches += bag.n_patches
        total_D += feature_ND.sum(0)
        squares_D += feature_ND.square().sum(0)
    mean_D = total_D / n_patches
    variance_D = (squares_D / n_patches - mean_D.square()).clamp(min=0)
    # What is left of a constant feature after the subtraction is rounding.
    varies_D = variance_D > 1e-12 * (squares_D / n_patches)
    return mean_D, torch.where(varies_D, variance_D, 1.0).sqrt()


class Float32Rows:
    """Converts stored features to float32 in one buffer that is reused.

    Allocating tens of megabytes for each case would cost more than the conversion. What `__call__` returns holds until
    it is called again, which is after the backward pass.
    """

    def __init__(self) -> None:
        self._buffer = torch.empty(0)

    def __call__(self, feature_ND: Tensor) -> Tensor:
        """The features as float32 (N, D)."""
        if feature_ND.device.type != "cpu" or feature_ND.dtype == torch.float32:
            return feature_ND.float()
        n_numbers = feature_ND.numel()
        if self._buffer.numel() < n_numbers:
            self._buffer = torch.empty(n_numbers)
        return self._buffer[:n_numbers].view(feature_ND.shape).copy_(feature_ND)


def _bag(case_id: str, stains: list[str], place_N3: Ints, feature_ND: Tensor) -> Bag:
    """A bag from the position in `stains`, the slice_idx and the patch_idx of each patch, in canonical order.

    Raises:
        DataError: they are in another order.
    """
    if not _in_order(place_N3):
        raise DataError(f"the features of case {case_id} are not in the order of its patches: run milstore doctor")
    # Stain and slice in one number, as numpy sorts pairs of them far slower.
    codes_G, slice_N = np.unique((place_N3[:, 0] << 32) | place_N3[:, 1], return_inverse=True)
    _, stain_G = np.unique(codes_G >> 32, return_inverse=True)
    return Bag(
        case_id=case_id,
        slices=tuple((stains[code >> 32], code & 0xFFFFFFFF) for code in codes_G.tolist()),
        slice_N=slice_N,
        patch_idx_N=place_N3[:, 2],
        feature_ND=feature_ND,
        slice_of_N=torch.from_numpy(slice_N),
        stain_G=torch.from_numpy(stain_G),
        xy_N2=torch.full((len(place_N3), 2), torch.nan),
    )


def _in_order(place_N3: Ints) -> bool:
    """Whether patches are in canonical order, by what of them differs first from the patch before."""
    step_M3 = np.diff(place_N3, axis=0)
    first_M = (step_M3 != 0).argmax(1)
    return bool(np.all(step_M3[np.arange(len(step_M3)), first_M] > 0))


def _int64(column: pa.Array) -> Ints:
    # Not to_numpy, which imports pandas.
    numbers: Ints = np.from_dlpack(column).astype(np.int64)
    return numbers
