"""Lists runs with what distinguishes them, filtered and sorted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from milstore.errors import UsageError
from milstore.launching.states import RunState, states
from milstore.store.names import natural_key, nearest
from milstore.store.paths import Store
from milstore.store.run_results import RunResult, class_names, run_results

SORTS = ("when", "experiment", "split", "seed", "model", "best", "recall", "auc", "state")
"""What a list of runs can be sorted by; recall is the mean of the classes' recalls."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which runs are listed; what is None is no condition."""

    experiment: str | None = None
    split: int | None = None
    seed: int | None = None
    model: str | None = None
    state: str | None = None

    def fits(self, row: RunState) -> bool:
        """Whether a run is one of those."""
        pairs = ((self.experiment, row.experiment), (self.split, row.split), (self.seed, row.seed))
        others = ((self.model, row.model), (self.state, row.state))
        return all(wanted is None or wanted == there for wanted, there in (*pairs, *others))


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """A run of the list."""

    state: RunState
    result: RunResult | None
    """How it did on its test cases; None of one that is not finished."""
    name: str
    """The shortest text that `--run` takes for it: the end of its id, if no other has that, else its id."""

    @property
    def recall(self) -> float | None:
        """Mean of the recalls of the classes that have a case in test, 0 to 1; None where none has."""
        counts = self.result.counts.values() if self.result else ()
        shares = [right / cases for right, cases in counts if cases]
        return sum(shares) / len(shares) if shares else None

    @property
    def when(self) -> datetime | None:
        """When it was finished, else begun, else submitted; None where that is not known."""
        try:
            time = datetime.fromisoformat(self.state.since)
        except ValueError:
            return None
        return time if time.tzinfo else time.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """Runs, in order."""

    runs: Sequence[Listed]
    classes: Sequence[str]
    """The names of the classes that the runs' test cases are of, in the order of their numbers."""
    labels: Sequence[int]
    """Their numbers."""
    damaged: Sequence[str]
    """Ids of runs whose predictions cannot be read."""

    def counts(self, run: Listed) -> list[tuple[int, int]]:
        """How many of a run's test cases of each class were called right, and of how many."""
        return [run.result.counts.get(label, (0, 0)) for label in self.labels] if run.result else []


def list_runs(store: Store, wanted: Wanted, sort: str | None = None, *, reverse: bool = False) -> Listing:
    """The runs of a store that are wanted, finished or not.

    Args:
        store: the store.
        wanted: which.
        sort: what by, one of `SORTS`; by time, what is finished first, without. What is not known comes last.
        reverse: the highest first.

    Raises:
        UsageError: there is no such order, or no run of such an experiment, model or state.
        StoreError: a run's own description cannot be read.
    """
    if sort is not None and sort not in SORTS:
        raise UsageError(f"runs cannot be sorted by {sort!r}: use {', '.join(SORTS)}")
    everything = states(store)
    _refuse_unknown(everything, wanted)
    rows = [row for row in everything if wanted.fits(row)]
    finished = [row.run_id for row in rows if row.state == "done" and row.run_id]
    results, damaged = run_results(store, finished)
    labels = sorted({label for result in results.values() for label in result.counts})
    names = class_names(store) if labels else {}
    ids = [row.run_id for row in everything if row.run_id]
    listed = [
        Listed(
            state=row,
            result=results.get(row.run_id or "") if row.state == "done" else None,
            name=_short(row.run_id, ids) if row.run_id else "",
        )
        for row in rows
    ]
    return Listing(
        runs=_sorted(listed, sort, reverse=reverse),
        classes=[names.get(label, f"class {label}") for label in labels],
        labels=labels,
        damaged=damaged,
    )


def _refuse_unknown(rows: Iterable[RunState], wanted: Wanted) -> None:
    """UsageError for a name that no run has. A split or a seed that none has is no mistake in writing."""
    for what in ("experiment", "model", "state"):
        name = getattr(wanted, what)
        known = {str(there) for row in rows if (there := getattr(row, what)) is not None}
        if name is not None and known and name not in known:
            raise UsageError(f"no run is of {what} {name!r}: {nearest(name, known)}")


def _short(run_id: str, ids: Sequence[str]) -> str:
    """The end of an id behind its last hyphen, if it tells the run from all others and has no other meaning.

    >>> _short("mil-s1-0-d416", ["mil-s1-0-d416", "mil-s2-0-0ebb"]), _short("a-s1-0", ["a-s1-0", "a-s2-0"])
    ('d416', 'a-s1-0')
    """
    end = run_id.rpartition("-")[2]
    return end if len(end) >= 4 and sum(end in each for each in ids) == 1 else run_id


def _sorted(rows: Sequence[Listed], sort: str | None, *, reverse: bool) -> list[Listed]:
    if sort is None:
        return list(reversed(rows)) if reverse else list(rows)
    keys = [_key(row, sort) for row in rows]
    known = sorted((i for i, key in enumerate(keys) if key is not None), key=lambda i: keys[i], reverse=reverse)
    return [rows[i] for i in (*known, *(i for i, key in enumerate(keys) if key is None))]


def _key(row: Listed, sort: str) -> Any:
    """The sort key of a run; None where it is unknown."""
    if sort == "experiment":
        return natural_key(row.state.experiment)
    found = {
        "when": row.when,
        "split": row.state.split,
        "seed": row.state.seed,
        "model": row.state.model,
        "best": row.state.best_epoch,
        "recall": row.recall,
        "auc": row.result.auc if row.result else None,
        "state": row.state.state,
    }
    return found[sort]
