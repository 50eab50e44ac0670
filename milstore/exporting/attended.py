"""The attention of the run, or of the experiment, that answers: a row a patch, for exports."""

from dataclasses import dataclass

import pyarrow as pa

from milstore.asking.selection import Choice
from milstore.exporting.attended_patches import ask_attended
from milstore.store import Store

COLUMNS = ("stain_attention", "slice_attention", "patch_attention", "effective_attention", "times_even", "rank")
"""What is said of a patch, beside the run that says it; times_even: how many times the even share of its case's patches."""

_PLACE = ("case_id", "stain", "slice_idx", "patch_idx", "run_id")


@dataclass(frozen=True, slots=True)
class Attended:
    """The attention of a run, or of the runs of an experiment."""

    table: pa.Table
    """A row a patch: case_id, stain, slice_idx, patch_idx, run_id and the columns of COLUMNS."""
    title: str
    """What answers, such as `experiment abmil, seed 0, test subsets`."""
    notes: tuple[str, ...]


def attention_of(store: Store, choice: Choice) -> Attended:
    """The attention of the cases of a choice; of an experiment each case from the run that held it in test.

    Raises:
        UsageError: there is no such run, experiment or case, or the run has no attention.
        StoreError: the store holds no finished run.
    """
    result = ask_attended(store, choice)
    table = result.arrow().select([*_PLACE, *COLUMNS]).sort_by([(name, "ascending") for name in _PLACE])
    return Attended(table, result.title, tuple(result.notes))
