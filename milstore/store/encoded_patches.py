"""Which patches an encoder should have features of: those of its grid where it has one, else all."""

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from milstore.store.patch_index import PLACE

if TYPE_CHECKING:
    from milstore.store.cohort import Cohort

SliceKey = tuple[str, str, int]
"""case_id, stain, slice_idx"""
_SLICE = ["case_id", "stain", "slice_idx"]


def of_grid(patches: pa.Table, grid: str | None) -> pa.Table:
    """The patches that were cut on a grid; all where it is None.

    Args:
        patches: the table `patches`, or some of its rows.
        grid: that of an encoder.
    """
    if grid is None:
        return patches
    return patches.filter(pc.equal(patches["grid"], grid))


def without_features(patches: pa.Table, encoded: pa.Table) -> pa.Table:
    """Those of some patches that are not among the encoded ones: case_id, stain, slice_idx and patch_idx."""
    place = patches.select(list(PLACE))
    return place.join(encoded.select(list(PLACE)).cast(place.schema), list(PLACE), join_type="left anti")


def grid_of(cohort: "Cohort", encoder: str) -> str | None:
    """The grid of an encoder's patches; None if it is unknown, or not one."""
    rows = cohort.table("encoders").to_pylist()
    return next((row["grid"] for row in rows if row["encoder"] == encoder), None)


def existing_by_slice(cohort: "Cohort", encoder: str | None) -> dict[SliceKey, int]:
    """How many patches each slice has that an encoder is asked for: those of its grid where it has one, else all."""
    grid = None if encoder is None else grid_of(cohort, encoder)
    if grid is None:
        rows = cohort.table("slices").to_pylist()
        return {(row["case_id"], row["stain"], row["slice_idx"]): row["n_patches"] for row in rows}
    counts = of_grid(cohort.table("patches"), grid).group_by(_SLICE).aggregate([([], "count_all")])
    return {(row["case_id"], row["stain"], row["slice_idx"]): row["count_all"] for row in counts.to_pylist()}
