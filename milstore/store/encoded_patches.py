"""Which patches an encoder should have features of: those of its grid where it has one, else all."""

import pyarrow as pa
import pyarrow.compute as pc

from milstore.store.patch_index import PLACE


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
