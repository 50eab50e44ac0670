"""Updates regions after patches changed: removes those of patches that are gone or moved, and reports what is missing."""

import pyarrow as pa
import pyarrow.compute as pc

from milstore.store.cohort_edit import CohortEdit
from milstore.store.names import counted
from milstore.store.patch_index import PLACE

_AGAIN = "milstore ingest regions FILES takes their regions in again"


def keep_regions(edit: CohortEdit, before: pa.Table) -> None:
    """Fit the regions of an edit to its patches, and report patches whose regions are unknown.

    Args:
        edit: the edit, whose patches are those of now.
        before: the patches before.
    """
    if edit.is_unusable("patch_regions") or not (regions := edit.table("patch_regions")).num_rows:
        return
    place = list(PLACE)
    where = [*place, "x", "y", "width", "height", "unit"]
    patches = edit.table("patches")
    annotated = regions.group_by(place[:3]).aggregate([])
    now = patches.join(annotated, place[:3], join_type="left semi").select(where)
    # A place that was not known before matches none: such a patch is new to the regions.
    same = now.join(before.select(where), where, join_type="left semi")
    kept = regions.join(same, place, join_type="left semi")
    if gone := regions.num_rows - kept.num_rows:
        edit.replace("patch_regions", kept.select(regions.column_names))
        edit.notes.append(
            f"out of their regions: {counted(gone, 'patch', 'patches')} that moved or are gone; {_AGAIN}"
            if pc.any(pc.is_valid(now["x"])).as_py()
            else f"out of their regions: {counted(gone, 'patch', 'patches')} that are gone"
        )
    if new := now.num_rows - same.num_rows:
        edit.notes.append(
            f"in no region yet: {counted(new, 'patch', 'patches')} of slices that have annotated regions; {_AGAIN}"
        )
