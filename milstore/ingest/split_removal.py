"""Deletes split sets, and says which runs use them."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import ConflictError
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import edit_cohort
from milstore.store.names import counted, named
from milstore.store.run_reader import read_run, run_ids
from milstore.store.run_writer import list_drafts
from milstore.store.split_numbers import choose_split_sets, split_numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class RemovableSplits:
    """A split set that can be deleted."""

    split_set: str
    splits: tuple[int, ...]
    finished: tuple[str, ...]
    """Ids of the finished runs of it. They keep the subsets that they saw."""
    unfinished: tuple[str, ...]
    """Ids of the unfinished runs of it."""

    def line(self) -> str:
        """This, as text."""
        runs = [counted(len(self.finished), "finished run")] * bool(self.finished)
        runs += [counted(len(self.unfinished), "unfinished run")] * bool(self.unfinished)
        of = f", of which there {'is' if len(self.finished + self.unfinished) == 1 else 'are'} {' and '.join(runs)}"
        return f"split set {self.split_set}: {counted(len(self.splits), 'split')}{of if runs else ''}"


def removable_splits(store: Store, wanted: Sequence[str]) -> list[RemovableSplits]:
    """What would go, and which runs are of it.

    Args:
        store: the store.
        wanted: names of split sets, patterns such as `fox-r*`, or `fox` for `fox-r1`, `fox-r2` and so on.

    Raises:
        ConflictError: the store has no split set.
        UsageError: there is none of a name.
    """
    cohort = read_cohort(store)
    names = dict.fromkeys(name for each in wanted for name in choose_split_sets(cohort, each, "split set"))
    finished = [(read_run(store, run_id)["split_set"], run_id) for run_id in run_ids(store)]
    unfinished = [(draft.facts.get("split_set"), draft.run_id) for draft in list_drafts(store)]
    return [
        RemovableSplits(
            split_set=name,
            splits=tuple(split_numbers(cohort, name)),
            finished=tuple(run_id for of, run_id in finished if of == name),
            unfinished=tuple(run_id for of, run_id in unfinished if of == name),
        )
        for name in names
    ]


def delete_splits(store: Store, wanted: Sequence[str], *, keep_runs: bool = False) -> list[RemovableSplits]:
    """Delete split sets for good, and say what went. Runs stay as they are.

    Args:
        store: the store.
        wanted: as for `removable_splits`.
        keep_runs: delete split sets of which there are runs too: these keep the subsets that they saw, but nothing can be
            trained on the splits again, and whether their experiment is complete is told by its counts alone.

    Raises:
        ConflictError: there are runs of one of them, and not `keep_runs`; nothing was deleted.
        UsageError: there is none of a name.
    """
    with edit_cohort(store) as edit:
        found = removable_splits(store, wanted)
        used = [each for each in found if each.finished or each.unfinished]
        if used and not keep_runs:
            runs = [run_id for each in used for run_id in (*each.finished, *each.unfinished)]
            sets = [each.split_set for each in used]
            raise ConflictError(
                f"{named(sets)}: there {'is' if len(runs) == 1 else 'are'} {counted(len(runs), 'run')} of it "
                f"({named(runs, 3)}), and nothing was deleted; --keep-runs deletes the splits and leaves the runs, "
                "milstore runs delete deletes runs"
            )
        names = pa.array([each.split_set for each in found], pa.string())
        for name in ("split_sets", "splits"):
            table = edit.table(name)
            edit.replace(name, table.filter(pc.invert(pc.is_in(table["split_set"], value_set=names))))
    return found
