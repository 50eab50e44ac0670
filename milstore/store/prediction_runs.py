"""Predictions of new cases, by name: the runs of each model, the means over models, and which run needs which.

A prediction grows: where further cases or models come to it, further runs are written beside those that there are, and a
further mean. Of the means the newest is of all its cases and models, and it is the one that answers.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from milstore.errors import ConflictError, StoreError, UsageError
from milstore.store.findings import DAMAGE, NOTE, Finding
from milstore.store.names import named, nearest
from milstore.store.paths import RUN_FOLDER, Store, store_option
from milstore.store.run_reader import PREDICTED, PREDICTION, read_run, run_ids

Facts = Mapping[str, Any]
Read = Callable[[Store, str], dict[str, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What the store holds under the name of a prediction."""

    name: str
    experiment: str
    """The experiment whose models made it."""
    of_model: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By the run whose weights made them: its runs, oldest first. Each case is in one of them."""
    means: tuple[str, ...] = ()
    """The runs that are means of the models, oldest first."""

    @property
    def run_ids(self) -> tuple[str, ...]:
        """All its runs."""
        return (*(run_id for own in self.of_model.values() for run_id in own), *self.means)

    @property
    def answering(self) -> str:
        """The run that answers questions: the newest mean. Raises StoreError if there is none yet."""
        if not self.means:
            raise StoreError(f"prediction {self.name} is not whole: the same milstore predict command completes it")
        return self.means[-1]


def predictions(store: Store, read: Read = read_run, *, skip_damaged: bool = False) -> dict[str, Prediction]:
    """Every prediction of a store, by name. `read` gives the facts of a run.

    StoreError if a run cannot be read: an older mean must not answer in its place. With `skip_damaged` it is left out, for
    those who look for damage or delete it.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for run_id in run_ids(store):
        try:
            facts = read(store, run_id)
        except StoreError:
            # Deleted while we looked, or damaged.
            if store.run_folder(run_id).exists() and not skip_damaged:
                raise
            continue
        if facts.get("kind") == PREDICTION:
            found.setdefault(facts["experiment"], []).append(facts)
    return {name: _prediction(name, found[name]) for name in sorted(found)}


def _prediction(name: str, runs: list[dict[str, Any]]) -> Prediction:
    runs = sorted(runs, key=lambda facts: (facts["finished_at"], facts["run_id"]))
    of_model: dict[str, tuple[str, ...]] = {}
    for facts in runs:
        if source := facts.get("source_run_id"):
            of_model[source] = (*of_model.get(source, ()), facts["run_id"])
    return Prediction(
        name=name,
        experiment=str((runs[-1].get(PREDICTED) or {}).get("experiment", "")),
        of_model=of_model,
        means=tuple(facts["run_id"] for facts in runs if not facts.get("source_run_id")),
    )


def find_prediction(store: Store, name: str, read: Read = read_run) -> Prediction:
    """The prediction of a name. UsageError, with the nearest names, if there is none."""
    known = predictions(store, read)
    if name not in known:
        hint = nearest(name, known) if known else "milstore predict makes one"
        raise UsageError(f"there is no prediction {name!r}: {hint}")
    return known[name]


def members(store: Store, mean: str, read: Read = read_run) -> tuple[str, ...]:
    """The runs that a mean is the mean of, each of one model and some of the cases."""
    return tuple((read(store, mean).get(PREDICTED) or {}).get("runs", ()))


def check_predictions_of(store: Store) -> Iterator[Finding]:
    """Missing runs that predictions need: members of a mean, or the run whose weights predicted."""
    there, where = set(run_ids(store)), store_option(store)
    for prediction in predictions(store, skip_damaged=True).values():
        remove = f"remove it by milstore runs delete {prediction.name}{where}"
        for run_id in prediction.run_ids:
            facts = read_run(store, run_id)
            source, said = facts.get("source_run_id"), facts.get(PREDICTED) or {}
            place = f"{store.runs.name}/{RUN_FOLDER}{run_id}"
            if missing := [each for each in said.get("runs", ()) if each not in there]:
                what = f"the mean of runs that are gone ({named(missing)}): what its models say one by one is not known"
                yield Finding(
                    kind=DAMAGE, where=place, what=what, repair=f"{remove}, and milstore predict creates it again"
                )
            elif source and source not in there:
                what = f"made by the weights of run {source}, which is gone"
                yield Finding(
                    kind=NOTE, where=place, what=what, repair=f"nothing is broken: restore that run, or {remove}"
                )
            elif source and read_run(store, source).get("weights_sha256") != said.get("weights_sha256"):
                what = f"made by other weights than run {source} has"
                yield Finding(
                    kind=DAMAGE, where=place, what=what, repair=f"{remove}, and milstore predict creates it again"
                )


def refuse_parted(store: Store, run_ids: Collection[str]) -> None:
    """ConflictError if deleting these runs would leave a prediction without a part of it, or without its models."""
    going = set(run_ids)
    for prediction in predictions(store, skip_damaged=True).values():
        line = f"milstore runs delete {prediction.name}"
        own = set(prediction.run_ids)
        if own <= going:
            continue
        if parts := sorted(own & going):
            raise ConflictError(f"run {parts[0]} is a part of prediction {prediction.name}: {line} deletes the whole")
        if stands_on := sorted(going & prediction.of_model.keys()):
            raise ConflictError(
                f"prediction {prediction.name} was made by the weights of run {named(stands_on)}: delete it first, by {line}"
            )
