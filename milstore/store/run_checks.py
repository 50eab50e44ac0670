"""Whether a run speaks of what the store has, whoever made it: its patches, its classes, and what it was told of its cases."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import DataError
from milstore.store.cohort import Cohort
from milstore.store.names import clip, counted
from milstore.store.patch_index import PLACE


def check_against_store(
    cohort: Cohort,
    *,
    predictions: pa.Table,
    probabilities: pa.Table,
    attention: pa.Table,
    subset_of: Mapping[str, str],
    label_of: Mapping[str, int | None],
) -> None:
    """Check what sums cannot tell; `checked_tables` of `milstore.store.commit` checks the rest.

    Args:
        cohort: the store's.
        predictions: as the run is to have them, see there.
        probabilities: see predictions.
        attention: see predictions.
        subset_of: of each case of the run's split: the store's, or what it was when the run began.
        label_of: of each case, as the store has it, or as the run was told.

    Raises:
        DataError: a patch is not in the store, a class is none of the store's, or a case has another subset or label.
    """
    places = attention.select(list(PLACE)).cast(cohort.table("patches").select(list(PLACE)).schema)
    unknown = places.join(cohort.table("patches").select(list(PLACE)), list(PLACE), join_type="left anti")
    if unknown.num_rows:
        first = unknown.slice(0, 1).to_pylist()[0]
        raise DataError(
            f"{counted(unknown.num_rows, 'patch', 'patches')} of the run not in the store, such as "
            f"case {clip(first['case_id'])}, {first['stain']}, slice {first['slice_idx']}, patch {first['patch_idx']}: "
            "run milstore ingest patches"
        )
    classes = set(cohort.table("classes")["label"].to_pylist())
    strange = sorted(set(pc.unique(probabilities["label"]).to_pylist()) - classes)
    if strange:
        raise DataError(f"the store has no class number {strange[0]}: it has {', '.join(map(str, sorted(classes)))}")
    columns = (predictions[name].to_pylist() for name in ("case_id", "subset", "true_label"))
    for case_id, subset, label in zip(*columns, strict=True):
        if subset != subset_of.get(case_id):
            raise DataError(
                f"case {clip(case_id)} is in {subset} in the run and in {subset_of.get(case_id) or 'no subset'} in its split"
            )
        if label != label_of.get(case_id):
            raise DataError(
                f"case {clip(case_id)} has label {label} in the run and {label_of.get(case_id)} in the store"
            )
