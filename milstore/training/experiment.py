"""Entry points of training: a split, all splits, or an interrupted run, each of which becomes a run in the store."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from milstore.errors import ConflictError, Interrupted, StoreError, UsageError
from milstore.schema import CONFIG_VERSION
from milstore.store.cohort import Cohort, read_cohort
from milstore.store.cohort_edit import NO_LOCKS, migrate
from milstore.store.features import PackedFeatures, open_features
from milstore.store.locks import held, refuses_locks
from milstore.store.names import named
from milstore.store.paths import Store
from milstore.store.run_reader import run_ids
from milstore.store.run_writer import open_draft
from milstore.store.split_numbers import choose_split_sets, place_words
from milstore.store.write_run import class_names
from milstore.training import resumption, setup
from milstore.training.bags import BagSource, coordinates
from milstore.training.config import TrainingConfig
from milstore.training.data_loading import open_bags
from milstore.training.interruption import Interruption
from milstore.training.job import Job, utc_now
from milstore.training.memory import parse_memory
from milstore.training.model_choice import choose_model, model_of_run
from milstore.training.progress import Watcher
from milstore.training.provenance import find_device, usable_threads
from milstore.training.setup import Place, SplitPlan
from milstore.training.stored_config import canonical_json, config_from_json, config_hash
from milstore.training.summary import RunResult

__all__ = ["CHECKPOINT_MINUTES", "resume", "train", "train_all"]

CHECKPOINT_MINUTES = 10.0
"""How old the last checkpoint may become within an epoch, unless told otherwise."""


def train(store: Store, config: TrainingConfig, split: int, **options: Any) -> RunResult:
    """Train on one split and commit the run; options as for `train_all`."""
    (result,) = train_all(store, config, [split], **options)
    return result


def train_all(
    store: Store,
    config: TrainingConfig,
    splits: Iterable[int] | None = None,
    *,
    split_set: str | None = None,
    encoder: str | None = None,
    seed: int = 0,
    experiment: str | None = None,
    threads: int | None = None,
    device: str = "auto",
    fresh: bool = False,
    checkpoint_minutes: float = CHECKPOINT_MINUTES,
    memory: str | None = None,
    watcher: Watcher | None = None,
    committed: Callable[[RunResult], None] | None = None,
    patience: float = 0.0,
) -> list[RunResult]:
    """Train on several splits, one after another over the same loaded features, and commit a run for each.

    Over several split sets these are the runs of one experiment.

    An unfinished run of the same experiment, split and seed goes on, with the threads and the device that it began with.

    Args:
        store: the store.
        config: how to train.
        splits: numbers of the splits, as the split sets have them; None for all that have no finished run on the same data.
        split_set: its name, or a pattern such as `fox-r*` for several; may be left out while the store has only one.
        encoder: whose features; may be left out while the store has only one.
        seed: of weights, order and dropout, 0 or more.
        experiment: name for runs of this configuration; its default comes from the configuration.
        threads: for torch; None for as many as this process may use.
        device: auto, cpu or cuda.
        fresh: begin new runs, whatever is there.
        checkpoint_minutes: within an epoch, write a checkpoint when the last one is older; above 0.
        memory: most that features may take of this machine's memory, such as 1GB; more are read from the disk again
            each epoch, ahead of their use. The numbers stay the same. None for as much as they need.
        watcher: hears how it goes on; None for silence.
        committed: called with each run as soon as it is in the store.
        patience: seconds to wait for a living process that trains the same to end.

    Raises:
        UsageError: an option that does not fit the store, or as `choose_model`.
        ConflictError: the store lacks something, the experiment stands for another configuration, the unfinished run is
            in training by a living process or began with other data; a living process trains the same split with the same
            seed (also with `fresh`), or has just finished it.
        DataError: subsets that cannot be trained on.
        StoreError: the disk refuses, or another process has taken the run over.
        Interrupted: a signal asked to stop; the same call goes on.
    """
    watcher = watcher or Watcher()
    check_numbers(seed, threads, checkpoint_minutes)
    with Interruption() as interruption, _alone_without_locks(store, watcher):
        tell_migration(store, watcher)
        chosen_model = choose_model(config)
        config = chosen_model.config
        cohort = read_cohort(store)
        names = class_names(cohort)
        packed = open_features(store, cohort, encoder)
        sets = choose_split_sets(cohort, split_set)
        config_json = canonical_json(config, encoder=packed.encoder)
        experiment = setup.experiment_name(store, experiment, config_json, next(iter(sets)))
        found_device = find_device(device)
        common = {
            "experiment": experiment,
            "seed": seed,
            "encoder": packed.encoder,
            "pooling": setup.pooling_of(config),
            **chosen_model.facts(),
            "config": config_json,
            "config_hash": config_hash(config_json),
            "config_version": CONFIG_VERSION,
            "cohort_fingerprint": cohort.fingerprint,
            "class_names": names,
            "stains": setup.stain_names(cohort),
            "threads": threads or usable_threads(),
            "device": found_device.type,
            "restarts": 0,
        }
        before = run_ids(store)
        known = [run for run in setup.known_runs(store, experiment) if run["seed"] == seed]
        chosen = [Place(name, split) for name in sets for split in setup.choose_splits(cohort, name, splits)]
        data = setup.data_fingerprints(cohort, packed, chosen)
        if splits is None and not fresh:
            chosen = resumption.without_finished(known, data, watcher)
        plans = {place: setup.plan_split(cohort, packed, *place) for place in chosen}
        for note in setup.missing_features(cohort, packed, plans.values()):
            watcher.note(note)
        facts = {
            place: {
                **common,
                **plan.facts(),
                "split_set": place.split_set,
                "n_splits": sets[place.split_set],
                "split": place.split,
                "data_fingerprint": data[place],
                "features_fingerprint": plan.features_fingerprint(packed),
            }
            for place, plan in plans.items()
        }
        for wanted in facts.values() if patience else ():
            with resumption.lease_of_training(store, wanted, watcher, interruption, patience=patience):
                pass  # Whoever trained it has ended by now.
        drafts = {} if fresh else resumption.unfinished(store, facts, watcher, interruption)
        asked = {"threads": threads, "device": None if device == "auto" else device}
        for draft in drafts.values():
            resumption.tell_going_on(draft, asked, watcher)
        resumption.tell_beside(known, facts.keys() - drafts.keys(), watcher)
        if drafts:
            found_device = find_device(next(iter(drafts.values())).facts["device"])
        job = Job(
            store=store,
            cohort=cohort,
            chosen=chosen_model,
            bags=_open(cohort, packed, plans.values(), found_device, memory),
            interruption=interruption,
            watcher=watcher,
            checkpoint_seconds=60 * checkpoint_minutes,
            fresh=fresh,
        )
        results: list[RunResult] = []
        for number, place in enumerate(chosen, start=1):
            if interruption.requested:
                left = named(each.words(len(sets)) for each in chosen[number - 1 :])
                raise Interrupted(f"stopped between two splits: {left} still to be trained, {_again(fresh)}")
            watcher.turn(place_words(cohort, *place, with_set=len(sets) > 1), number, len(chosen))
            earlier = {*before, *(each.run_id for each in results)}
            result = _train_alone(job, facts[place], earlier, patience, skip=splits is None)
            if result is None:
                continue
            results.append(result)
            if committed is not None:
                committed(results[-1])
    return results


def _train_alone(
    job: Job, facts: Mapping[str, Any], earlier: Collection[str], patience: float, *, skip: bool
) -> RunResult | None:
    """Train a split under its lease: begin a run, or continue an unfinished one.

    None, with a note, where another process has finished one that was not there `earlier`, and it is to be skipped.
    """
    with resumption.lease_of_training(job.store, facts, job.watcher, job.interruption, patience=patience) as lease:
        # Looked for once more: until now another might have trained this.
        done = None if job.fresh else resumption.finished_since(job.store, facts, earlier)
        if done is not None:
            if not skip:
                raise ConflictError(f"run {done} of this training was finished by another process meanwhile")
            job.watcher.note(f"note: run {done} was finished by another process meanwhile")
            return None
        place = Place(facts["split_set"], facts["split"])
        drafts = {} if job.fresh else resumption.unfinished(job.store, {place: facts}, job.watcher, job.interruption)
        if place in drafts:
            return job.go_on(drafts[place], lease)
        return job.begin({**facts, "started_at": utc_now()}, lease)


def resume(
    store: Store,
    run_id: str,
    *,
    model: str | None = None,
    checkpoint_minutes: float = CHECKPOINT_MINUTES,
    memory: str | None = None,
    watcher: Watcher | None = None,
) -> RunResult:
    """Continue an interrupted run from its last checkpoint, with the threads and the device that it began with.

    Args:
        store: the store.
        run_id: the run.
        model: ./file.py:Class, where the run's model is the user's own: a file is never executed because a store says so.
        checkpoint_minutes: as for `train_all`.
        memory: as for `train_all`.
        watcher: as for `train_all`.

    Raises:
        UsageError: there is no such unfinished run, its device is not here, or `model` is missing or of another run.
        DataError: the model's files are not those that the run began with.
        ConflictError: a living process trains it, or the features are not those that it began with.
        StoreError: its files cannot be read or written, or another process has taken it over.
        Interrupted: a signal asked to stop again.
    """
    watcher = watcher or Watcher()
    check_numbers(0, None, checkpoint_minutes)
    with Interruption() as interruption, _alone_without_locks(store, watcher):
        draft = open_draft(store, run_id)
        run_id = draft.run_id
        resumption.refuse_recorded(draft)
        resumption.refuse_living(draft, watcher, interruption)
        resumption.refuse_earlier(draft)
        try:
            facts = draft.facts
            plan = SplitPlan.of(facts)
            file = model_of_run(run_id, facts, model)
            config = config_from_json(facts["config"], file)
            encoder, begun_with, device = (facts[name] for name in ("encoder", "features_fingerprint", "device"))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreError(
                f"{draft.folder / 'draft.json'} does not say how run {run_id} began: train it again"
            ) from error
        chosen_model = choose_model(config)
        cohort = read_cohort(store)
        packed = open_features(store, cohort, encoder)
        if plan.features_fingerprint(packed) != begun_with:
            raise ConflictError(
                f"the features of {encoder} are not those that run {run_id} began with: train that split again"
            )
        job = Job(
            store=store,
            cohort=cohort,
            chosen=chosen_model,
            bags=_open(cohort, packed, [plan], find_device(device), memory),
            interruption=interruption,
            watcher=watcher,
            checkpoint_seconds=60 * checkpoint_minutes,
        )
        with resumption.lease_of_training(store, facts, watcher, interruption) as lease:
            return job.go_on(draft, lease)


@contextmanager
def _alone_without_locks(store: Store, watcher: Watcher) -> Iterator[None]:
    """On a disk that refuses locks, no other process trains on the store in this block. ConflictError if one does."""
    if not refuses_locks(store.manifest_path.parent):
        yield
        return
    watcher.note(f"note: {NO_LOCKS}")
    with held(store.manifest_path.parent / ".training-held", wait=False, what="trains"):
        yield


def _again(fresh: bool) -> str:
    """The advice on how to continue a call that was stopped."""
    return "name them by --split: --fresh begins all again" if fresh else "the same command goes on"


def tell_migration(store: Store, watcher: Watcher) -> None:
    """Bring a store of an earlier version to this one, as every command does that writes, and say so."""
    for step in migrate(store):
        watcher.note(f"note: the store was brought from {step}")


def check_numbers(seed: int, threads: int | None, checkpoint_minutes: float) -> None:
    """Raises UsageError for an option of `train_all` that is out of range."""
    if seed < 0:
        raise UsageError(f"--seed {seed}: give 0 or more")
    if threads is not None and threads < 1:
        raise UsageError(f"--threads {threads}: give 1 or more")
    if not checkpoint_minutes > 0:
        raise UsageError(f"--checkpoint-minutes {checkpoint_minutes}: give more than 0")


def _open(
    cohort: Cohort, packed: PackedFeatures, plans: Iterable[SplitPlan], device: torch.device, memory: str | None
) -> BagSource:
    """The bags of every case of the splits."""
    cases = {case_id for plan in plans for case_id in plan.cases.subset_of}
    most = None if memory is None else parse_memory(memory)
    return open_bags(packed, cases, device, most, coordinates(cohort, packed))
