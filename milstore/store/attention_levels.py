"""Converts log-weights to attention at every level, in float64. All code that stores attention uses it.

Legend: N patches, G slices, S stains of one case.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Levels:
    """Attention of one case at every level, float64, each from 0 to 1."""

    stain_S: Floats
    """Of each stain; they sum to 1."""
    slice_G: Floats
    """Of each slice; they sum to 1 within a stain."""
    patch_N: Floats
    """Of each patch; they sum to 1 within a slice."""
    effective_N: Floats
    """Stain x slice x patch attention of each patch; they sum to 1 over the case."""


def levels_of_distribution(log_weight_N: Floats, slice_N: Ints, stain_G: Ints) -> Levels:
    """The levels of one distribution over the patches. A constant added to all log-weights changes nothing.

    Stain and slice attention are its marginals and patch attention its conditional, so that their product is the
    distribution again. Where a slice has nothing, its patches get 1/n each; where a stain has nothing, its slices do.

    Args:
        log_weight_N: log-weight of each patch; -inf for none.
        slice_N: the slice of each patch, from 0; every slice has a patch.
        stain_G: the stain of each slice, from 0; every stain has a slice.

    Raises:
        ValueError: a log-weight is NaN or +inf, or all are -inf.
    """
    _refuse([log_weight_N])
    patch_N, mass_G = _within(log_weight_N, slice_N, len(stain_G))
    slice_G, mass_S = _within(mass_G, stain_G, 1 + int(stain_G.max()))
    return _product(_within(mass_S, np.zeros(len(mass_S), np.int64), 1)[0], slice_G, patch_N, slice_N, stain_G)


def levels_of_each(
    log_stain_S: Floats, log_slice_G: Floats, log_patch_N: Floats, slice_N: Ints, stain_G: Ints
) -> Levels:
    """The levels of log-weights of each level, normalised within their parents.

    Otherwise as `levels_of_distribution`.
    """
    _refuse([log_stain_S, log_slice_G, log_patch_N])
    return _product(
        _within(log_stain_S, np.zeros(len(log_stain_S), np.int64), 1)[0],
        _within(log_slice_G, stain_G, len(log_stain_S))[0],
        _within(log_patch_N, slice_N, len(log_slice_G))[0],
        slice_N,
        stain_G,
    )


def _refuse(given: list[Floats]) -> None:
    # Evenly spread where nothing was given would be an invention.
    if not all((each < np.inf).all() for each in given) or not (given[0] > -np.inf).any():
        raise ValueError("attention has a log-weight of NaN or +inf, or none above -inf")


def _product(stain_S: Floats, slice_G: Floats, patch_N: Floats, slice_N: Ints, stain_G: Ints) -> Levels:
    return Levels(stain_S, slice_G, patch_N, (stain_S[stain_G] * slice_G)[slice_N] * patch_N)


def _within(log_weight_M: Floats, group_M: Ints, n_groups: int) -> tuple[Floats, Floats]:
    """Weights (M,) that sum to 1 within each group, and the logarithm (K,) of each group's total."""
    highest_K = np.full(n_groups, -np.inf)
    np.maximum.at(highest_K, group_M, log_weight_M)
    has_K = highest_K > -np.inf
    shift_K = np.where(has_K, highest_K, 0.0)
    # Of a group that has nothing, each counts as 1.
    weight_M = np.where(has_K[group_M], np.exp(log_weight_M - shift_K[group_M]), 1.0)
    sum_K = np.bincount(group_M, weight_M, n_groups)
    return weight_M / sum_K[group_M], np.where(has_K, np.log(sum_K) + shift_K, -np.inf)
