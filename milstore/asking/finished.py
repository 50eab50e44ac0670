"""The finished runs of a store, with what it takes to tell which of them answers."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from milstore.errors import StoreError
from milstore.store.paths import Store
from milstore.store.run_reader import FIGURES, KNOWN, OWN_LABELS, PREDICTION, run_ids
from milstore.store.verified import verified_run


class Run(NamedTuple):
    """A finished run, as far as it matters for which one answers."""

    run_id: str
    experiment: str
    split_set: str | None
    split: int | None
    n_splits: int | None
    seed: int | None
    """These are None of a run without splits, and of one that does not say its seed."""
    finished_at: str
    largest_case: int | None
    """Patches of its largest case; None if it does not say."""
    model: str
    """What model it is of; empty if it does not say."""
    attention: str
    """What it has of attention: levels, patches, part or none."""
    known: Mapping[str, Any] | None
    """What it knows of attention, where that is a part of its cases' patches."""
    own_labels: tuple[str, ...]
    """Cases of which it keeps labels that the store contradicts."""
    is_prediction: bool = False
    """Whether it speaks of new cases, and so answers only where it is asked for."""
    by: str = ""
    """The tool that made it, where that is another's."""
    figures: str = ""
    """How that tool's figures of slides became those of cases, in words; empty where they are of cases."""


_OF_RUN = ("run_id", "experiment", "split_set", "split", "n_splits", "seed", "finished_at")


def finished_run(store: Store, run_id: str) -> Run:
    """One run, by its whole id. StoreError if its `run.json` cannot be read or is not what was stored."""
    facts = verified_run(store, run_id)
    try:
        largest = facts["files"]["attention.parquet"].get("largest_case")
        run = Run(
            **{name: facts[name] for name in _OF_RUN},
            largest_case=largest,
            model=facts.get("model") or "",
            attention=facts.get("attention") or "levels",
            known=facts.get(KNOWN),
            own_labels=tuple(facts.get(OWN_LABELS) or ()),
            is_prediction=facts.get("kind") == PREDICTION,
            by=(facts.get(FIGURES) or {}).get("by", ""),
            figures=(facts.get(FIGURES) or {}).get("said", ""),
        )
        return run._replace(finished_at=_in_utc(run.finished_at))
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"run {run_id} has no readable run.json ({error}): run milstore doctor") from error


def _in_utc(text: str) -> str:
    """A time as text that sorts as time does."""
    time = datetime.fromisoformat(text)
    return (time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)).isoformat(timespec="microseconds")


def finished_runs(store: Store) -> list[Run]:
    """Every finished run of an experiment; predictions are none. Their files are small: two thousand are read in a tenth of a second."""
    found = []
    for run_id in run_ids(store):
        try:
            found.append(finished_run(store, run_id))
        except StoreError:
            # Deleted while we looked, or damaged.
            if store.run_folder(run_id).exists():
                raise
    return [run for run in found if not run.is_prediction]


def number_order(number: int | None) -> int:
    """A number to sort by; None comes before all that there are."""
    return -1 if number is None else number


def text_order(name: str | None) -> str:
    """A name to sort by; nothing for None."""
    return name or ""
