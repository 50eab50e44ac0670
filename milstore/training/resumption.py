"""Finds existing runs when a training is requested: to be resumed, finished, or trained by another process."""

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any

from milstore.errors import ConflictError, Interrupted, StoreError, UsageError
from milstore.store.lease import Lease, read_lease, refuse_if_alive
from milstore.store.names import named
from milstore.store.paths import Store
from milstore.store.run_draft import RunDraft, begun_by_earlier
from milstore.store.run_reader import PREDICTION, RECORDED, read_run, run_ids
from milstore.store.run_writer import list_drafts
from milstore.store.training_lease import TrainingLease
from milstore.training.interruption import Interruption
from milstore.training.progress import Watcher
from milstore.training.setup import Place
from milstore.training.stored_config import same_settings

SAME_RUN = ("experiment", "split_set", "split", "seed")
"""Facts that make a run of the same configuration the one that is asked for."""
SAME_DATA = {
    "features_fingerprint": "features",
    "class_names": "classes",
    "cases": "cases or labels",
    "left_out": "cases",
}
"""Facts that the numbers depend on besides, and how people call them."""

Facts = Mapping[str, Any]
_MOST_NAMED = 5
"""Finished splits that are named one by one."""


def unfinished(
    store: Store, facts: Mapping[Place, Facts], watcher: Watcher, interruption: Interruption
) -> dict[Place, RunDraft]:
    """The unfinished run of each split that has one, to be continued: the newest that nobody trains.

    Args:
        store: the store.
        facts: what a new run of each split would begin with.
        watcher: hears of waiting.
        interruption: ends the waiting.

    Raises:
        ConflictError: all that there are of a split are in training by living processes, or began with other data.
    """
    drafts = sorted(list_drafts(store), key=lambda draft: str(draft.facts.get("started_at")))
    found = {}
    for place, wanted in facts.items():
        same = [draft for draft in drafts if _is_same(draft.facts, wanted)]
        if same:
            free = [draft for draft in same if (lease := read_lease(draft.folder)) is None or lease.is_stale()]
            found[place] = (free or same)[-1]
    for place, draft in found.items():
        refuse_living(draft, watcher, interruption)
        refuse_earlier(draft)
        _refuse_other_data(draft, facts[place])
    return found


def _is_same(begun: Facts, wanted: Facts) -> bool:
    return all(begun.get(name) == wanted[name] for name in SAME_RUN) and same_settings(
        begun.get("config", "{}"), wanted["config"]
    )


def refuse_living(draft: RunDraft, watcher: Watcher, interruption: Interruption) -> None:
    """Raises ConflictError if a living process trains the run. For a process on another host this may take minutes."""
    refuse_if_alive(draft.folder, wait=_waiting(f"run {draft.run_id}", watcher, interruption))


def lease_of_training(
    store: Store, facts: Facts, watcher: Watcher, interruption: Interruption, *, patience: float = 0.0
) -> TrainingLease:
    """The lease of the training that a run with these facts is of, to be entered; waits as `refuse_living` does.

    Args:
        store: the store.
        facts: those of SAME_RUN at least.
        watcher: hears of waiting.
        interruption: ends the waiting.
        patience: seconds to wait for a living trainer to end.
    """
    what = f"split {facts['split']} of {facts['split_set']}"
    return TrainingLease(store, facts, wait=_waiting(what, watcher, interruption), patience=patience)


def _waiting(what: str, watcher: Watcher, interruption: Interruption) -> Callable[[Lease], bool]:
    """Waits on, says so once, and ends when a signal asks to stop."""
    told = False

    def wait(lease: Lease) -> bool:
        nonlocal told
        if interruption.requested:
            raise Interrupted(f"stopped while waiting for {lease.owner}: the same command waits again")
        if not told:
            watcher.note(f"note: waiting to see whether {lease.owner} still trains {what}")
        told = True
        return True

    return wait


def finished_since(store: Store, facts: Facts, before: Collection[str]) -> str | None:
    """The run of this training that is finished and was not among those of `before`; None if there is none."""
    for run_id in run_ids(store):
        # A run that cannot be read, or was deleted at this moment, is none that anybody can go by.
        with suppress(StoreError):
            if run_id not in before and _is_same(read_run(store, run_id), facts):
                return run_id
    return None


def refuse_recorded(draft: RunDraft) -> None:
    """Raises UsageError if the run is no training of milstore's but is recorded by another trainer, which must continue it."""
    if draft.facts.get("kind") == PREDICTION:
        raise UsageError(
            f"unfinished run {draft.run_id} is of prediction {draft.facts.get('experiment')}, and no training: the same "
            "milstore predict command creates it again"
        )
    if draft.facts.get("kind") == RECORDED:
        raise UsageError(
            f"unfinished run {draft.run_id} was recorded by another trainer: run that again, and record(…) of the same "
            "experiment, split and seed goes on with it"
        )


def refuse_earlier(draft: RunDraft) -> None:
    """Raises ConflictError if milstore 0.1 began the run: its checkpoints cannot be continued."""
    if "config_version" not in draft.facts:
        raise ConflictError(f"unfinished run {draft.run_id} does not go on: {begun_by_earlier(draft)}")


def _refuse_other_data(draft: RunDraft, wanted: Facts) -> None:
    other = [what for name, what in SAME_DATA.items() if draft.facts.get(name) != wanted[name]]
    if other:
        raise ConflictError(
            f"unfinished run {draft.run_id} began with other {named(dict.fromkeys(other))} than the store has now: "
            f"continue it as it began by --resume {draft.run_id}, or begin another run by --fresh"
        )


def without_finished(known: Iterable[Facts], data: Mapping[Place, str], watcher: Watcher) -> list[Place]:
    """The splits that have no finished run on the same data yet. The others are named.

    Args:
        known: the runs of the experiment and seed.
        data: the data fingerprint of each split.
        watcher: hears of those that are finished.
    """
    finished = {
        _place(run): run["run_id"]
        for run in known
        if run["finished"] and run["data_fingerprint"] == data.get(_place(run), "")
    }
    n_sets = len({place.split_set for place in data})
    if len(finished) > _MOST_NAMED:
        watcher.note(f"note: {len(finished)} of {len(data)} splits are finished; --fresh trains them again")
    else:
        for place in (place for place in data if place in finished):
            watcher.note(
                f"note: split {place.words(n_sets)} is finished, run {finished[place]}; --fresh trains it again"
            )
    return [place for place in data if place not in finished]


def tell_beside(known: Iterable[Facts], places: Iterable[Place], watcher: Watcher) -> None:
    """Name the runs that new runs of some splits are trained beside."""
    wanted = set(places)
    for run in known:
        if _place(run) in wanted:
            state = "finished" if run["finished"] else "unfinished"
            watcher.note(f"note: {state} run {run['run_id']} is of this split and seed; another is trained beside it")


def _place(run: Facts) -> Place:
    return Place(run["split_set"], run["split"])


def tell_going_on(draft: RunDraft, asked: Facts, watcher: Watcher) -> None:
    """Report that a run is resumed, and which options are ignored, because they would change its numbers."""
    kept = [f"{name} {draft.facts[name]}" for name, value in asked.items() if value not in (None, draft.facts[name])]
    as_begun = f", with {named(kept)} as it began" if kept else ""
    watcher.note(f"note: unfinished run {draft.run_id} goes on{as_begun}; --fresh begins another")
