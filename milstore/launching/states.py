"""The state of every run: waiting, running, interrupted, failed or done. Reads small files, and imports little."""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from milstore.analysis.learning import mark
from milstore.errors import StoreError
from milstore.launching.queue import WAITING, Ask, ask_queue, patient
from milstore.launching.records import Launch, Process, launches, now
from milstore.store.lease import Lease, read_lease
from milstore.store.paths import Store, store_option
from milstore.store.run_draft import RunDraft, begun_by_earlier
from milstore.store.run_reader import LEARNING, PREDICTION, RECORDED, read_run, run_ids
from milstore.store.run_writer import list_drafts

State = Literal["waiting", "running", "interrupted", "failed", "done"]
_PACE_OF = 5
"""Epochs whose seconds tell how long the next will take."""

Key = tuple[str, str | None, int | None, int | None]
"""Experiment, split set, split and seed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunState:
    """How far a run is."""

    state: State
    run_id: str | None
    """None for one that has not begun."""
    experiment: str
    split_set: str | None
    """None of a run without splits."""
    split: int | None
    """None of a run without splits, and where its own description cannot be read."""
    seed: int | None
    pooling: str | None
    """How the default model pools; None of any other."""
    epoch: int
    """Epochs that have ended."""
    epochs: int
    """Most epochs that it may take, 0 where that is not known; of a finished run, those that it took."""
    eta_seconds: float | None
    """What the epochs that are left take at most, at the pace of the last ones; None where that cannot be told."""
    best_epoch: int | None
    """The epoch with the lowest validation loss so far; None where no epoch has one."""
    seconds: float | None
    """Spent training; None of a finished run that does not say."""
    restarts: int | None
    """How often it was continued; None where that is not known."""
    job_id: str | None
    """The SLURM job that trains it, will or did."""
    since: str
    """When it was finished, else begun, else submitted: ISO text in UTC."""
    note: str
    """Who trains it, what it waits for, how to go on, what went wrong, or that it learned nothing."""
    model: str | None = None
    """What model it is of; None where it does not say."""
    kind: str | None = None
    """training, recorded, imported or prediction; None of one that is not finished."""
    source_run_id: str | None = None
    """Of a prediction by one model: the run whose weights made it."""

    @property
    def is_mean(self) -> bool:
        """Whether it is the mean of a prediction's models."""
        return self.kind == PREDICTION and self.source_run_id is None

    @property
    def goes_on(self) -> bool:
        """Whether it will change without a user's action."""
        return self.state in ("waiting", "running")


@dataclass(frozen=True)
class _Entry:
    """A split of a launch, and what its task recorded."""

    launch: Launch
    split: int
    known: dict[str, Any]

    @property
    def run_id(self) -> str | None:
        run_id: str | None = self.known.get("run_id")
        return run_id

    @property
    def job(self) -> str | None:
        return self.launch.jobs.get(self.split)

    @property
    def key(self) -> Key:
        facts = self.launch.facts
        return facts["experiment"], facts["split_set"], self.split, facts["seed"]

    @property
    def process(self) -> Process | None:
        """The process that trains it, if it recorded one."""
        if self.known.get("state") != "running":
            return None
        return Process(**{name: self.known[name] for name in ("host", "pid", "started")})


def states(store: Store, *, ask: Ask = ask_queue) -> list[RunState]:
    """Every run that is finished, then every one that is unfinished or only submitted; both in order of time.

    Args:
        store: the store.
        ask: asks SLURM; called only if a job of this store may still be in its queue.

    Raises:
        StoreError: a run's own description cannot be read.
    """
    entries = [
        _Entry(launch, split, launch.record(split).read())
        for launch in launches(store)
        for split in launch.facts["splits"]
    ]
    by_run = {entry.run_id: entry for entry in entries if entry.run_id}
    finished = set(run_ids(store))
    done = _superseded([_finished(read_run(store, run_id), by_run.get(run_id)) for run_id in finished])
    drafts = [draft for draft in list_drafts(store) if draft.run_id not in finished]
    unfinished_ids = {draft.run_id for draft in drafts}
    not_begun = _not_begun(entries, {(row.experiment, row.split_set, row.split, row.seed): row.since for row in done})
    open_entries = [*not_begun, *(entry for entry in by_run.values() if entry.run_id in unfinished_ids)]
    jobs = [entry.job for entry in open_entries if entry.job]
    queue = ask(jobs) if jobs else None
    others = [_unfinished(draft, by_run.get(draft.run_id), queue) for draft in drafts]
    others += [_submitted(entry, queue) for entry in not_begun]
    return [*sorted(done, key=_by_time), *sorted(others, key=_by_time)]


def follow(store: Store, *, interval: float) -> Iterator[list[RunState]]:
    """Yields the unfinished runs and those finished since the start, repeatedly, until nothing changes by itself.

    Args:
        store: the store.
        interval: seconds between two looks; SLURM is asked less often.
    """
    began, ask = now(), patient()
    while True:
        rows = [row for row in states(store, ask=ask) if row.state != "done" or row.since >= began]
        yield rows
        if not any(row.goes_on for row in rows):
            return
        time.sleep(interval)


def _by_time(row: RunState) -> tuple[str, str, int]:
    return row.since, row.run_id or row.experiment, -1 if row.split is None else row.split


def _not_begun(entries: Iterable[_Entry], finished: dict[Key, str]) -> list[_Entry]:
    """The last launch of each split that has no run from it yet, unless one was finished since in another way."""
    newest = {entry.key: entry for entry in entries}
    return [
        entry
        for key, entry in newest.items()
        if entry.run_id is None and finished.get(key, "") < entry.launch.facts["submitted_at"]
    ]


def _superseded(rows: list[RunState]) -> list[RunState]:
    """The rows, with a note at the means of a prediction that a later mean has taken the place of."""
    newest: dict[str, tuple[str, str, int]] = {}
    for row in rows:
        if row.is_mean:
            newest[row.experiment] = max(newest.get(row.experiment, ("", "", 0)), _by_time(row))
    return [
        replace(row, note="an earlier mean") if row.is_mean and newest[row.experiment] != _by_time(row) else row
        for row in rows
    ]


def _finished(run: dict[str, Any], entry: _Entry | None) -> RunState:
    same = ("run_id", "experiment", "split_set", "split", "seed", "pooling", "best_epoch", "seconds", "restarts")
    return RunState(
        state="done",
        **{name: run[name] for name in same},
        epoch=run["n_epochs"] or 0,
        epochs=run["n_epochs"] or 0,
        eta_seconds=None,
        job_id=(entry and entry.job) or run["slurm_job_id"],
        since=run["finished_at"],
        note=mark(run.get(LEARNING)),
        model=run.get("model"),
        kind=run.get("kind"),
        source_run_id=run.get("source_run_id"),
    )


def _unfinished(draft: RunDraft, entry: _Entry | None, queue: dict[str, str] | None) -> RunState:
    facts = draft.facts
    state, note = _judge(read_lease(draft.folder), entry, queue, draft)
    try:
        rows = draft.epochs()
    except StoreError:
        # The others are still listed; going on with this one says what is wrong, and so does doctor.
        rows, note = [], "its epochs are damaged: run milstore doctor"
    epochs = _most_epochs(facts)
    # Another trainer need not say how long an epoch took, nor what its validation loss was.
    spent = [row["seconds"] for row in rows if row["seconds"] is not None]
    pace = spent[-_PACE_OF:] if epochs else []
    judged = [row for row in rows if row["val_loss"] is not None]
    lowest = min(judged, key=lambda row: row["val_loss"], default=None)
    return RunState(
        state=state,
        run_id=draft.run_id,
        experiment=facts.get("experiment", ""),
        split_set=facts.get("split_set"),
        split=facts.get("split"),
        seed=facts.get("seed", 0),
        pooling=facts.get("pooling", ""),
        epoch=len(rows),
        epochs=epochs,
        eta_seconds=max(epochs - len(rows), 0) * sum(pace) / len(pace) if pace else None,
        best_epoch=lowest["epoch"] if lowest else None,
        seconds=sum(spent),
        restarts=facts.get("restarts", 0),
        job_id=entry.job if entry else None,
        since=facts.get("started_at", ""),
        note=note,
        model=facts.get("model") or _configured(facts, "model"),
    )


def _most_epochs(facts: dict[str, Any]) -> int:
    try:
        return int(_configured(facts, "epochs"))
    except (TypeError, ValueError):
        return 0


def _configured(facts: dict[str, Any], name: str) -> Any:
    """A value of a run's configuration; None if it has none."""
    try:
        return json.loads(facts["config"])[name]
    except (KeyError, TypeError, ValueError):
        return None


def _submitted(entry: _Entry, queue: dict[str, str] | None) -> RunState:
    state, note = _judge(None, entry, queue, None)
    facts = entry.launch.facts
    return RunState(
        state=state,
        run_id=None,
        experiment=facts["experiment"],
        split_set=facts["split_set"],
        split=entry.split,
        seed=facts["seed"],
        pooling=facts["pooling"],
        epoch=0,
        epochs=facts["epochs"],
        eta_seconds=None,
        best_epoch=None,
        seconds=0.0,
        restarts=0,
        job_id=entry.job,
        since=facts["submitted_at"],
        note=note,
    )


def _judge(
    lease: Lease | None, entry: _Entry | None, queue: dict[str, str] | None, draft: RunDraft | None
) -> tuple[State, str]:
    """State and note of an unfinished run: from a living lease, else the queue, else the task's record."""
    if lease is not None and not lease.is_stale():
        return "running", lease.owner
    if draft is not None and draft.facts.get("kind") == RECORDED:
        # Whatever ended it, what was given is kept, and the same call goes on.
        why = f"{draft.error}; " if draft.error else ""
        return (
            "interrupted",
            f"{why}recorded by another trainer: record(…) of the same experiment, split and seed goes on",
        )
    if draft is not None and draft.facts.get("kind") == PREDICTION:
        return "failed", f"milstore predict … --name {draft.facts.get('experiment')} creates it again"
    at_work = _at_work(entry, queue) if entry is not None else None
    if at_work is not None:
        return at_work
    if draft is not None and draft.error:
        return "failed", draft.error
    # A run that was continued since, by whomever, says so itself.
    if entry is not None and entry.known.get("state") == "failed" and (draft is None or "error" not in draft.facts):
        return "failed", str(entry.known.get("error"))
    if draft is not None and "config_version" not in draft.facts and "config" in draft.facts:
        return "interrupted", begun_by_earlier(draft)
    if draft is not None:
        return "interrupted", f"milstore train --resume {draft.run_id}{store_option(draft.store)}"
    if entry is not None and entry.known.get("state") == "interrupted":
        return "interrupted", str(entry.known.get("error"))
    where = f": see {entry.launch.folder}" if entry is not None else ""
    return "failed", f"it ended before its training began{where}"


def _at_work(entry: _Entry, queue: dict[str, str] | None) -> tuple[State, str] | None:
    """State and note of a task that waits or runs; None if neither is known of it."""
    written = entry.known.get("state")
    if entry.job is not None and queue is not None:
        in_queue = queue.get(entry.job)
        if in_queue is None:
            return None
        if in_queue in WAITING or written == "requeued":
            return "waiting", "queued again, goes on by itself" if entry.run_id else "in SLURM's queue"
        return "running", f"job {entry.job} begins" if entry.process is None else f"job {entry.job}"
    if entry.job is not None:
        return ("waiting", "SLURM cannot be asked here") if written in (None, "requeued") else None
    if entry.process is not None and entry.process.is_alive():
        return "running", f"process {entry.process.pid} on {entry.process.host}"
    if written is None and entry.launch.submitter.is_alive():
        return "waiting", f"for process {entry.launch.submitter.pid} on {entry.launch.submitter.host}"
    return None
