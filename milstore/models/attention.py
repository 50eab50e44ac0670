"""Converts a model's log-weights to attention at every level, and computes the penalties on uneven attention."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from milstore.models.interface import Attention, Bag, LevelAttention, PatchAttention
from milstore.store.attention_levels import Levels, levels_of_distribution, levels_of_each

__all__ = ["Levels", "levels", "log_levels", "unevenness", "unevenness_penalty"]


def levels(attention: Attention, bag: Bag) -> Levels:
    """The three levels and their product, computed in float64 from either form of attention.

    Of one distribution over the patches, stain and slice attention are the marginals and patch attention the
    conditional, so that their product is the distribution again. Where a slice has no attention at all, its patches
    get 1/n each; where a stain has none, its slices do. A constant that all log-weights of one parent share makes no
    difference.

    Raises:
        ValueError: a log-weight is NaN or +inf, all are -inf, or there is not one a patch, slice and stain.
    """
    slice_N, stain_G = _array(bag.slice_N, np.int64), _array(bag.stain_G, np.int64)
    given = _given(attention, bag)
    if len(given) == 1:
        return levels_of_distribution(_array(given[0]), slice_N, stain_G)
    stain_S, slice_G, patch_N = map(_array, given)
    return levels_of_each(stain_S, slice_G, patch_N, slice_N, stain_G)


def _array(tensor: Tensor, dtype: npt.DTypeLike = np.float64) -> npt.NDArray[Any]:
    return tensor.detach().cpu().to(torch.float64 if dtype is np.float64 else torch.int64).numpy()


def _given(attention: Attention, bag: Bag) -> tuple[Tensor, ...]:
    """The log-weights that a model gave: of stains, slices and patches, or of patches alone.

    ValueError where there is not one a patch, slice and stain.
    """
    if isinstance(attention, LevelAttention):
        given: tuple[Tensor, ...] = (attention.log_stain_S, attention.log_slice_G, attention.log_patch_N)
        wanted: tuple[tuple[int, ...], ...] = ((bag.n_stains,), (bag.n_slices,), (bag.n_patches,))
        if tuple(each.shape for each in given) != wanted:
            raise ValueError(f"log-weights of shapes {[tuple(each.shape) for each in given]}, not {list(wanted)}")
        return given
    assert isinstance(attention, PatchAttention)
    if attention.log_weight_N.shape != (bag.n_patches,):
        raise ValueError(f"log-weights of shape {tuple(attention.log_weight_N.shape)}, not {(bag.n_patches,)}")
    return (attention.log_weight_N,)


def log_levels(attention: Attention, bag: Bag) -> LevelAttention:
    """The logarithms of what `levels` gives, float64, by torch, through which gradients flow.

    Raises:
        ValueError: there is not one log-weight a patch, slice and stain.
    """
    given = tuple(each.double() for each in _given(attention, bag))
    if len(given) == 3:
        stain_S, slice_G, patch_N = given
        return LevelAttention(
            stain_S.log_softmax(0), _within(slice_G, bag.stain_SG)[0], _within(patch_N, bag.slice_GN)[0]
        )
    log_patch_N, mass_G = _within(given[0], bag.slice_GN)
    log_slice_G, mass_S = _within(mass_G, bag.stain_SG)
    return LevelAttention(mass_S.log_softmax(0), log_slice_G, log_patch_N)


def unevenness(log_weight_M: Tensor, member_KM: Tensor) -> Tensor:
    """Unevenness of attention: 1 - entropy / log(members), averaged over the groups with two members or more.

    A scalar from 0 (even) to 1 (all on one member); 0 where no group has two members. Dividing by the largest entropy
    that is possible makes small and large groups count alike.
    """
    member = member_KM.to(log_weight_M.dtype)
    # A weight of 0 adds nothing to an entropy: w log w goes to 0 with w.
    finite_M = torch.where(log_weight_M > -torch.inf, log_weight_M, 0.0)
    entropy_K = -(member @ (log_weight_M.exp() * finite_M))
    size_K = member.sum(1)
    several_K = size_K > 1
    uneven_K = torch.where(several_K, 1 - entropy_K / size_K.clamp(min=2).log(), 0.0)
    return uneven_K.sum() / several_K.sum().clamp(min=1)


def unevenness_penalty(
    attention: Attention, bag: Bag, *, stain: float = 0.0, slice_: float = 0.0, patch: float = 0.0
) -> Tensor:
    """The sum over the levels of a weight times the level's unevenness, a scalar; for every model that attends.

    Args:
        attention: what the model gave, in either form.
        bag: the case.
        stain: weight of the unevenness of stains within the case.
        slice_: of slices within their stain.
        patch: of patches within their slice.
    """
    log = log_levels(attention, bag)
    parts = (
        (stain, log.log_stain_S, bag.case_1S),
        (slice_, log.log_slice_G, bag.stain_SG),
        (patch, log.log_patch_N, bag.slice_GN),
    )
    total = log.log_stain_S.new_zeros(())
    for weight, log_weight_M, member_KM in parts:
        if weight:
            total = total + weight * unevenness(log_weight_M, member_KM)
    return total


def _within(log_weight_M: Tensor, member_KM: Tensor) -> tuple[Tensor, Tensor]:
    """Log-weights (M,) normalised within each group, and the logarithm (K,) of each group's total.

    A group that has nothing spreads it evenly, and has -inf.
    """
    group_KM = torch.where(member_KM, log_weight_M, -torch.inf)
    has_K = (group_KM > -torch.inf).any(1)
    # Zeros in place of -inf before the sums, as the derivative of a log-sum-exp of nothing is NaN.
    even_KM = torch.where(member_KM, 0.0, -torch.inf).to(log_weight_M.dtype)
    safe_KM = torch.where(has_K[:, None], group_KM, even_KM)
    mass_K = safe_KM.logsumexp(1)
    log_M = torch.where(member_KM, safe_KM - mass_K[:, None], 0.0).sum(0)
    return log_M, torch.where(has_K, mass_K, -torch.inf)
