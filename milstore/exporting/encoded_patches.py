"""The patches that an encoder has vectors of, with their rows in the cohort: the basis of every export."""

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import UsageError
from milstore.store import Store
from milstore.store.case_ids import asked_cases
from milstore.store.cohort import Cohort, read_cohort
from milstore.store.features import PLACE, PackedFeatures, Vectors, open_features
from milstore.store.names import named, natural_key

_SLICE = ("case_id", "stain", "slice_idx")


@dataclass(frozen=True, slots=True)
class EncodedPatches:
    """Patches of some cases with their vectors, in the order of the features' rows."""

    cohort: Cohort
    features: PackedFeatures
    cases: tuple[str, ...]
    """In natural order; each has vectors."""
    table: pa.Table
    """A row a patch: the columns of the table patches, and slice_name and slide_id of its slice."""

    def of_case(self, case_id: str) -> tuple[pa.Table, Vectors]:
        """Patches of a case and their vectors (N, D)."""
        return self.table.filter(pc.equal(self.table["case_id"], case_id)), self.features.read(case_id)


def encoded_patches(store: Store, encoder: str | None, cases: Iterable[str] = ()) -> EncodedPatches:
    """The patches of some cases that have vectors of an encoder.

    Args:
        store: the store.
        encoder: the encoder; None where the store has features of one alone.
        cases: the cases, however they are spelled; all that have vectors if there are none.

    Raises:
        UsageError: a case does not exist, or has no vectors of the encoder.
    """
    cohort = read_cohort(store)
    features = open_features(store, cohort, encoder)
    known = cohort.table("cases")["case_id"].to_pylist()
    asked = asked_cases(known, cases)
    unknown = [case for case in asked if case not in known]
    if unknown:
        raise UsageError(f"the store has no case {named(unknown)}: milstore info counts those that there are")
    without = [case for case in asked if case not in features.case_rows]
    if without:
        raise UsageError(f"there are no features of encoder {features.encoder} of case {named(without)}")
    chosen = tuple(sorted(asked or features.case_rows, key=natural_key))
    places = features.patches.filter(pc.is_in(features.patches["case_id"], value_set=pa.array(chosen, pa.string())))
    slices = cohort.table("slices").select([*_SLICE, "slice_name", "slide_id"])
    table = places.join(cohort.table("patches"), list(PLACE)).join(slices, list(_SLICE))
    # A join keeps no order, and the vectors lie in this one.
    table = table.sort_by([(column, "ascending") for column in PLACE]).combine_chunks()
    return EncodedPatches(cohort, features, chosen, table)
