"""The attention of the run, or of the experiment, that answers: a row a patch, for exports."""

from dataclasses import dataclass, replace

import pyarrow as pa

from milstore.asking.ask import connect_locked
from milstore.asking.selection import Choice, known_cases, select
from milstore.asking.verifying import verify_read
from milstore.store import Store
from milstore.store.broken_files import reading
from milstore.store.views import narrow

COLUMNS = ("stain_attention", "slice_attention", "patch_attention", "effective_attention", "times_even", "rank")
"""What is said of a patch, beside the run that says it; times_even: how many times the even share of its case's patches."""

_SQL = """
select
    case_id, stain, slice_idx, patch_idx, run_id, stain_attention, slice_attention, patch_attention, effective_attention,
    effective_attention::double * n_patches as times_even, rank
from attention
join selection using (run_id, case_id)
order by case_id, stain, slice_idx, patch_idx, run_id
"""


@dataclass(frozen=True, slots=True)
class Attended:
    """What a run, or the runs of an experiment, attended to."""

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
    with reading(store):
        con = connect_locked(store, _SQL)
        choice = replace(choice, cases=known_cases(con, store, choice.cases))
        selection = select(con, store, choice, needs_attention=True)
        narrow(con, store, _SQL, selection.answering, selection.cases, selection.hidden)
        told = verify_read(con, store, _SQL, selection.runs)
        table = con.execute(_SQL).to_arrow_table()
    return Attended(table, selection.title, (*selection.notes, *told))
