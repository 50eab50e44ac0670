"""Attention that another trainer gave, in whichever form, as rows of the table `attention`.

Legend: N patches, G slices, S stains of one case.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from milstore.errors import DataError
from milstore.recording.patches import CasePatches
from milstore.recording.values import Floats, columns_of, floats
from milstore.store.attention import TOLERANCE, checked_attention
from milstore.store.attention_levels import Levels, levels_of_distribution, levels_of_each
from milstore.store.names import clip, named
from milstore.store.patch_index import PLACE

LEVELS = ("stain_attention", "slice_attention", "patch_attention")
Ints = npt.NDArray[np.int64]


def attention_rows(patches: CasePatches, rows_N: Ints, weights: Any, *, logits: bool) -> tuple[pa.Table, str]:
    """The rows of attention of a case, and whether it is of levels or of patches (one distribution over the case).

    Args:
        patches: the case's patches.
        rows_N: which of them the weights are of.
        weights: (N,) or a frame of one column, one distribution over these patches; or (N, 3), or a frame with the columns of LEVELS: the weight
            of each row's stain, of its slice and of itself.
        logits: whether these are raw scores, of which the softmax is meant: over the case, or within each parent.

    Raises:
        DataError: there is not one weight a patch, one is no number, or they do not sum to 1 within their parent.
    """
    what = f"attention of case {clip(patches.case_id)}"
    place = patches.table.select(list(PLACE)).take(pa.array(rows_N))
    stain_N, slice_N, stain_G = _groups(place)
    given = _given(weights, len(rows_N), what)
    try:
        if given.ndim == 1:
            levels, form = _of_distribution(given, slice_N, stain_G, what, logits=logits), "patches"
        else:
            levels, form = _of_levels(given, stain_N, slice_N, stain_G, what, logits=logits), "levels"
    except ValueError as error:
        raise DataError(f"{what}: {error}".replace("log-weight", "weight")) from error
    columns = {
        "stain_attention": levels.stain_S[stain_N],
        "slice_attention": levels.slice_G[slice_N],
        "patch_attention": levels.patch_N,
        "effective_attention": levels.effective_N,
    }
    for name, values in columns.items():
        place = place.append_column(name, pa.array(values.astype(np.float32)))
    checked_attention(place)
    return place, form


def _groups(place: pa.Table) -> tuple[Ints, Ints, Ints]:
    """The stain and the slice of each patch, and the stain of each slice, from 0."""
    stain_N = np.unique(np.array(place["stain"].to_pylist()), return_inverse=True)[1].astype(np.int64)
    pair_N = stain_N * (1 + int(np.asarray(place["slice_idx"]).max())) + np.asarray(place["slice_idx"], np.int64)
    _, first_G, slice_N = np.unique(pair_N, return_index=True, return_inverse=True)
    return stain_N, slice_N.astype(np.int64), stain_N[first_G]


def _given(weights: Any, n_patches: int, what: str) -> Floats:
    """(N,) or (N, 3)"""
    columns = columns_of(weights) if isinstance(weights, Mapping) or hasattr(weights, "columns") else None
    if columns is not None and len(columns) == 1 and not columns.keys() & set(LEVELS):
        found = floats(next(iter(columns.values())), what)
    elif columns is not None:
        missing = [name for name in LEVELS if name not in columns]
        if missing:
            raise DataError(
                f"{what}: the weights lack {named(missing)}; give one column of {n_patches} for one distribution"
            )
        parts = [floats(columns[name], what) for name in LEVELS]
        if len({part.shape for part in parts}) > 1:
            raise DataError(f"{what}: the columns of weights are not of one length")
        found = np.stack(parts, axis=-1)
    else:
        found = floats(weights, what)
    if found.shape == (n_patches, 3):
        return found
    if found.size == n_patches and sorted(found.shape)[-1:] == [n_patches]:
        # Models often keep an axis of one.
        return found.reshape(n_patches)
    raise DataError(
        f"{what}: weights of shape {found.shape} for {n_patches} patches: give ({n_patches},) for one distribution over "
        f"them, or ({n_patches}, 3) for stain, slice and patch attention"
    )


def _of_distribution(weight_N: Floats, slice_N: Ints, stain_G: Ints, what: str, *, logits: bool) -> Levels:
    if not logits:
        _check_chances(weight_N, what)
        with np.errstate(divide="ignore"):
            weight_N = np.log(weight_N)
    return levels_of_distribution(weight_N, slice_N, stain_G)


def _check_chances(weight_N: Floats, what: str) -> None:
    total = float(weight_N.sum())
    if not (weight_N >= 0).all() or abs(total - 1) > TOLERANCE:
        raise DataError(
            f"{what}: the weights are not numbers from 0 to 1 that sum to 1 over the case (they sum to {total:.6g}): give "
            "logits=True for raw scores"
        )


def _of_levels(given_N3: Floats, stain_N: Ints, slice_N: Ints, stain_G: Ints, what: str, *, logits: bool) -> Levels:
    stain_S = _of_group(given_N3[:, 0], stain_N, f"{what}: stain_attention differs between patches of one stain")
    slice_G = _of_group(given_N3[:, 1], slice_N, f"{what}: slice_attention differs between patches of one slice")
    patch_N = given_N3[:, 2]
    if logits:
        return levels_of_each(stain_S, slice_G, patch_N, slice_N, stain_G)
    # As it was given: whether it sums to 1 is checked of the rows.
    return Levels(stain_S, slice_G, patch_N, (stain_S[stain_G] * slice_G)[slice_N] * patch_N)


def _of_group(value_N: Floats, group_N: Ints, differs: str) -> Floats:
    """The one value that each group has in all its rows."""
    value_K = value_N[np.unique(group_N, return_index=True)[1]]
    if not np.allclose(value_N, value_K[group_N], rtol=TOLERANCE, atol=1e-7, equal_nan=True):
        raise DataError(differs)
    return value_K
