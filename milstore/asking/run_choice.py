"""Which runs answer: those of the run, the experiment, the split and the seed that somebody names, or the newest complete ones."""

from dataclasses import dataclass
from typing import NamedTuple

from milstore.asking.finished import Run, finished_run, finished_runs, number_order
from milstore.asking.repeats import (
    Numbers,
    answers_with,
    chosen_seed,
    complete_repeats,
    first_set,
    newest_of_each,
    repeats_title,
    trained_splits,
)
from milstore.errors import StoreError, UsageError
from milstore.store.names import clip, counted, named, natural_key, nearest
from milstore.store.paths import Store
from milstore.store.prediction_runs import find_prediction, members, predictions
from milstore.store.run_reader import find_run_id, fitting_run_ids, run_ids
from milstore.store.verified import verified_run


@dataclass(frozen=True, slots=True)
class Group:
    """The cases that have one value of an attribute."""

    by: str
    """Name of the attribute."""
    value: str | None
    """The value that they have, or the range of their values; None of those of which none is known."""
    cases: tuple[str, ...]

    @property
    def label(self) -> str:
        """What it is called in titles, such as `site Leeds`."""
        return f"{self.by} {'not known' if self.value is None else clip(self.value)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What the user said of the run that should answer."""

    run: str | None = None
    """A run id, or a part of one that no other has; with `split` or `seed` among the runs of these."""
    experiment: str | None = None
    """An experiment: each case from its run that held the case in test."""
    seed: int | None = None
    """The seed, where the experiment has several."""
    split: int | None = None
    """The split: the run of the experiment that was trained on it answers, as if it were named."""
    subset: str | None = None
    """train, val, test or all; test unless said."""
    prediction: str | None = None
    """A prediction of new cases: the mean of its models answers. In place of all of the above."""
    cases: tuple[str, ...] = ()
    """The cases asked for; none means all."""
    group: Group | None = None
    """The cases that alone may answer."""
    score: str | None = None
    """A score of patches that a question goes by in place of attention."""


class Over(NamedTuple):
    """What a question is over, beside cases."""

    runs: bool
    repeats: bool


def choose_runs(
    store: Store, choice: Choice, numbers: Numbers, over: Over, newer: list[str]
) -> tuple[list[Run], str, list[Run]]:
    """The runs that answer, how to call them, and all runs of their experiment. `newer` is given what to say of others."""
    if choice.prediction is not None:
        return _predicted(store, choice.prediction, over)
    if choice.run is not None:
        run = _named_run(store, choice)
        return [run], f"run {run.run_id}", []
    finished = finished_runs(store)
    if not finished:
        raise StoreError(f"the store at {store.root} holds no finished run: train one with milstore train --split 1")
    experiment = choice.experiment or _newest_complete(finished, numbers, newer)
    of_experiment = [run for run in finished if run.experiment == experiment]
    if not of_experiment:
        known = {run.experiment for run in finished}
        if experiment in predictions(store, verified_run):
            raise UsageError(f"{experiment} is no experiment but a prediction: ask of it by --prediction {experiment}")
        raise UsageError(f"there is no experiment {experiment!r} with a finished run: {nearest(experiment, known)}")
    if choice.split is not None:
        each_seed = over.runs or over.repeats
        chosen = _of_split(of_experiment, choice, numbers, over_runs=each_seed)
        seed = None if each_seed and choice.seed is None else chosen[0].seed
        return chosen, _title(experiment, choice.split, seed), []
    if over.repeats:
        chosen = complete_repeats(of_experiment, choice.seed, numbers)
        return chosen, repeats_title(experiment, chosen), of_experiment
    if over.runs and choice.seed is None:
        # What is not finished of a further split set is not mixed with what is.
        whole = [run for run in of_experiment if answers_with(run.split_set, of_experiment, numbers)]
        count = f"{len(whole)} run{'s' if len(whole) > 1 else ''}"
        return sorted(whole, key=lambda run: run.run_id), f"experiment {experiment}, {count}", of_experiment
    first = [run for run in of_experiment if run.split_set == first_set(of_experiment, numbers)]
    seed = chosen_seed(first, choice.seed, numbers)
    chosen = newest_of_each([run for run in first if run.seed == seed])
    return chosen, _title(experiment, None, seed), of_experiment


def every_experiment(store: Store, choice: Choice, numbers: Numbers) -> tuple[list[Run], str, list[Run]]:
    """The runs of the complete repeats of every experiment, how to call them, and all runs."""
    finished = finished_runs(store)
    if not finished:
        raise StoreError(f"the store at {store.root} holds no finished run: train one with milstore train --split 1")
    names = sorted({run.experiment for run in finished}, key=natural_key)
    of_name = {name: [run for run in finished if run.experiment == name] for name in names}
    if choice.seed is not None:
        of_name = {name: own for name, own in of_name.items() if choice.seed in {run.seed for run in own}}
        if not of_name:
            raise UsageError(f"no experiment has a finished run of seed {choice.seed}")
    chosen = [run for own in of_name.values() for run in complete_repeats(own, choice.seed, numbers)]
    return chosen, counted(len(of_name), "experiment"), finished


def _title(experiment: str, split: int | None, seed: int | None) -> str:
    parts = [f"experiment {experiment}"]
    parts += [] if split is None else [f"split {split}"]
    return ", ".join(parts + ([] if seed is None else [f"seed {seed}"]))


def _predicted(store: Store, name: str, over: Over) -> tuple[list[Run], str, list[Run]]:
    """The mean of a prediction's models; for a question about runs, those of each model."""
    found = find_prediction(store, name, verified_run)
    mean = finished_run(store, found.answering)
    runs = members(store, mean.run_id, verified_run)
    models = f"{counted(len({_source(store, run_id) for run_id in runs}), 'model')} of experiment {found.experiment}"
    if over.runs:
        return [finished_run(store, run_id) for run_id in runs], f"prediction {name}, {models}", []
    return [mean], f"prediction {name}, mean of {models}", []


def _source(store: Store, run_id: str) -> str:
    """The run whose weights made a run of a prediction; the run itself where that is gone."""
    try:
        return str(verified_run(store, run_id).get("source_run_id"))
    except StoreError:
        return run_id


def _named_run(store: Store, choice: Choice) -> Run:
    """The run that is named, whole or by a part; of several that fit, the one of the split and the seed."""
    given = {name: number for name in ("split", "seed") if (number := getattr(choice, name)) is not None}
    if not given:
        return finished_run(store, find_run_id(store, choice.run or ""))
    fitting = fitting_run_ids(choice.run or "", run_ids(store)) or [find_run_id(store, choice.run or "")]
    found = [
        run for each in fitting if all(getattr(run := finished_run(store, each), n) == v for n, v in given.items())
    ]
    if len(found) == 1:
        return found[0]
    words = " and ".join(f"{name} {number}" for name, number in given.items())
    if not found:
        raise UsageError(f"no run that {choice.run!r} fits is of {words}: it fits {named(fitting)}")
    raise UsageError(f"run {choice.run!r} of {words} is ambiguous: it may be {named(run.run_id for run in found)}")


def _of_split(runs: list[Run], choice: Choice, numbers: Numbers, *, over_runs: bool) -> list[Run]:
    """The run of a split of an experiment; for a question about runs, that of each seed, unless a seed is asked for."""
    first = [run for run in runs if run.split_set == first_set(runs, numbers)]
    if choice.seed is not None:
        chosen_seed(first, choice.seed, numbers)
    found = [run for run in first if run.split == choice.split and choice.seed in (None, run.seed)]
    if not found:
        there = sorted({run.split for run in first if choice.seed in (None, run.seed)}, key=number_order)
        what = "" if choice.seed is None else f", seed {choice.seed}"
        raise UsageError(
            f"{runs[0].experiment} has no finished run of split {choice.split}{what}: it has {named(there)}"
        )
    by_seed = {run.seed: run for run in sorted(found, key=lambda run: (run.finished_at, run.run_id))}
    usual = chosen_seed(first, choice.seed, numbers)
    seeds = sorted(by_seed, key=number_order)
    return [by_seed[seed] for seed in seeds] if over_runs else [by_seed[usual if usual in by_seed else seeds[0]]]


def _newest_complete(finished: list[Run], numbers: Numbers, newer: list[str]) -> str:
    """The newest experiment that is complete: that has every split of its first split set, by one seed.

    `newer` is given what to say of those that are newer. Where none is complete, the newest answers with what it has.
    """
    of_experiment: dict[str, list[Run]] = {}
    for run in sorted(finished, key=lambda run: (run.finished_at, run.run_id)):
        # The last of all is the one with the last run.
        of_experiment[run.experiment] = [*of_experiment.pop(run.experiment, []), run]
    newest_first = list(reversed(of_experiment))
    begun = {name: _begun(of_experiment[name], numbers) for name in newest_first}
    chosen = next((name for name in newest_first if not begun[name]), newest_first[0])
    unfinished = newest_first[: newest_first.index(chosen)]
    if unfinished:
        said = [f"{name} ({begun[name]})" for name in unfinished]
        are = "is newer and not complete" if len(said) == 1 else "are newer and not complete"
        newer.append(f"{named(said)} {are}: --experiment {unfinished[0]} asks of it")
    return chosen


def _begun(runs: list[Run], numbers: Numbers) -> str:
    """What an experiment has of its first split set, such as `2 of 5 splits`; nothing where it has all."""
    first = [run for run in runs if run.split_set == first_set(runs, numbers)]
    trained = [
        trained_splits([run for run in first if run.seed == seed], numbers) for seed in {run.seed for run in first}
    ]
    there, of = max(trained, key=lambda each: each[0] - each[1])
    return f"{there} of {of} splits" if there < of else ""
