"""Predicting: every model of an experiment predicts new cases, and the store keeps the predictions under a name."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from milstore.errors import ConflictError, UsageError
from milstore.predicting.arrival import Arrival, Given, take_in
from milstore.predicting.calls import PredictReport, calls_of
from milstore.predicting.models import LoadedRun, load_run
from milstore.predicting.sources import Sources, check_features, find_sources
from milstore.predicting.storing import (
    attention_kind,
    cases_of,
    mean_tables,
    remove_begun,
    rows_of,
    store_run,
)
from milstore.predicting.warnings import related, strange_stains, told_cases, trained_on
from milstore.progress import Progress, silent
from milstore.schema.columns import NEW
from milstore.store import predicted
from milstore.store.cohort import Cohort, read_cohort
from milstore.store.cohort_edit import migrate
from milstore.store.features import PackedFeatures, open_features
from milstore.store.fingerprints import features_fingerprint
from milstore.store.names import check_name, named, natural_key
from milstore.store.paths import Store
from milstore.store.prediction_runs import Prediction, members, predictions
from milstore.store.run_reader import NO_ATTENTION, PREDICTED, read_run, run_ids
from milstore.store.training_lease import TrainingLease
from milstore.store.write_run import Told
from milstore.training.bags import coordinates
from milstore.training.data_loading import open_bags
from milstore.training.evaluation import attention_table, coverage_table, evaluate, score_table
from milstore.training.job import utc_now
from milstore.training.memory import parse_memory
from milstore.training.provenance import (
    code_version,
    cpu_model,
    device_name,
    find_device,
    repeatable_arithmetic,
    usable_threads,
)
from milstore.training.setup import patch_counts


@dataclass(frozen=True, kw_only=True)
class _Work:
    """Everything that is known before the models run."""

    store: Store
    name: str
    sources: Sources
    loaded: tuple[LoadedRun, ...]
    threads: int
    device: Any
    memory: str | None
    progress: Progress


def predict(
    store: Store,
    experiment: str,
    *,
    given: Given | None = None,
    name: str | None = None,
    model: str | None = None,
    also_trained_on: bool = False,
    threads: int | None = None,
    device: str = "auto",
    memory: str | None = None,
    progress: Progress = silent,
) -> PredictReport:
    """Predict new cases by every model of an experiment, and store the predictions under a name.

    What was computed before under this name is not computed again: further cases and further models add to it.

    Args:
        store: the store.
        experiment: its finished runs answer, of each split set, split and seed the newest.
        given: the cases; without any, those that the prediction of this name has already, for models that are new.
        name: the prediction's; the experiment's with `-new` behind it if left out.
        model: ./file.py:Class, where the runs' model is the user's own.
        also_trained_on: let models also speak of cases that they were trained on, which says nothing of new cases.
        threads: for torch; None for as many as this process may use.
        device: auto, cpu or cuda.
        memory: most that features may take of this machine's memory, as for a training.
        progress: is told how far it is.

    Raises:
        UsageError: there is no such experiment or case, nothing is asked for, or a case is one that a model was trained on.
        ConflictError: the name is taken, the store lacks features, or has others than the models were trained on.
        DataError: what is given cannot be read.
        StoreError: weights cannot be read, or the disk refuses.
    """
    given = given or Given()
    steps = [f"the store was brought from {step}" for step in migrate(store)]
    sources = find_sources(store, experiment)
    name = _free_name(store, name or f"{experiment}-new", experiment)
    if given.is_empty and name not in predictions(store):
        raise UsageError(f"say what {experiment} is to predict: --case, --features, --slides or --cohort")
    found_device = find_device(device)
    if memory is not None:
        parse_memory(memory)
    work = _Work(
        store=store,
        name=name,
        sources=sources,
        loaded=_load(store, sources, model, found_device),
        threads=threads or usable_threads(),
        device=found_device,
        memory=memory,
        progress=progress,
    )
    packed = _features(work, read_cohort(store))
    arrived = take_in(store, given, sources, packed, also_trained_on=also_trained_on, progress=progress)
    try:
        lease = TrainingLease(store, {"experiment": name})
        with lease:
            return _predict(work, arrived, steps)
    except ConflictError as error:
        if "is being trained by" in str(error):
            raise ConflictError(
                f"prediction {name} is being made by another process: wait for it, or stop it"
            ) from error
        raise


def _free_name(store: Store, name: str, experiment: str) -> str:
    """The name, if it is free or this experiment's. Raises ConflictError if another experiment has it."""
    check_name(name, "prediction")
    known = predictions(store)
    if name in known and known[name].experiment != experiment:
        raise ConflictError(f"prediction {name} is of experiment {known[name].experiment}: choose another --name")
    if name not in known and any(read_run(store, run_id)["experiment"] == name for run_id in run_ids(store)):
        raise ConflictError(f"{name} is the name of an experiment: choose another --name")
    return name


def _load(store: Store, sources: Sources, given: str | None, device: Any) -> tuple[LoadedRun, ...]:
    loaded = tuple(load_run(store, source, given, device) for source in sources.models)
    classes = {each.class_names for each in loaded}
    if len(classes) > 1:
        words = " and ".join(f"{named(names)}" for names in sorted(classes))
        raise ConflictError(
            f"the runs of {sources.experiment} know different classes ({words}): their mean says nothing"
        )
    return loaded


def _features(work: _Work, cohort: Cohort) -> PackedFeatures:
    """The features of the models' encoder, as they were trained on. ConflictError if there are none, or others."""
    packed = open_features(work.store, cohort, work.sources.encoder)
    check_features(work.sources, packed)
    wanted = work.loaded[0].n_features
    if packed.n_features != wanted:
        raise ConflictError(
            f"features of {packed.encoder} have {packed.n_features} numbers, and the models of {work.sources.experiment} "
            f"want {wanted}"
        )
    return packed


def _predict(work: _Work, arrived: Arrival, notes: list[str]) -> PredictReport:
    store = work.store
    remove_begun(store, work.name)
    cohort = read_cohort(store)
    packed = _features(work, cohort)
    known = predictions(store).get(work.name) or Prediction(name=work.name, experiment=work.sources.experiment)
    done = cases_of(store, [run_id for own in known.of_model.values() for run_id in own])
    spoken_of = sorted({case for cases in done.values() for case in cases}, key=natural_key)
    asked = list(arrived.cases) or spoken_of
    notes = [*notes, *work.sources.notes, *arrived.notes, *trained_on(work.sources, asked)]
    notes += related(work.sources, cohort, asked)
    wanted = sorted({*asked, *(case for case in spoken_of if case in packed.case_rows)}, key=natural_key)
    told, said = told_cases(cohort, work.loaded[0].class_names, wanted)
    notes += [*said, *strange_stains(work.loaded, cohort, asked)]
    computed = 0
    for number, loaded in enumerate(work.loaded):
        work.progress(f"models of {work.sources.experiment}", number, len(work.loaded))
        own = {case for run_id in known.of_model.get(loaded.source.run_id, ()) for case in done[run_id]}
        missing = [case for case in wanted if case not in own]
        if missing:
            _ask_model(work, cohort, packed, loaded, missing, told)
            computed += len(missing)
    work.progress(f"models of {work.sources.experiment}", len(work.loaded), len(work.loaded))
    run_id = _settle_mean(work, cohort, wanted, told)
    calls = calls_of(store, run_id, told, asked)
    return PredictReport(
        name=work.name,
        experiment=work.sources.experiment,
        run_id=run_id,
        computed=computed,
        models=len(work.loaded),
        attends=attention_kind(work.sources) != NO_ATTENTION,
        calls=calls,
        notes=tuple(notes),
    )


def _ask_model(
    work: _Work, cohort: Cohort, packed: PackedFeatures, loaded: LoadedRun, cases: Sequence[str], told: Told
) -> None:
    """Predict cases by one model, and store its predictions."""
    began, started = time.perf_counter(), utc_now()
    most = None if work.memory is None else parse_memory(work.memory)
    allow = loaded.chosen.config.allow_nondeterministic
    with repeatable_arithmetic(work.threads, allow_nondeterministic=allow), loaded.chosen.calling():
        bags = open_bags(packed, cases, work.device, most, coordinates(cohort, packed))
        results = evaluate(loaded.model, bags, cases, work.device)
    subset_of = dict.fromkeys(cases, NEW)
    predictions_, probabilities = predicted.prediction_tables(
        cases,
        [NEW] * len(cases),
        [told.label_of[case] for case in cases],
        np.array([result.probability_C for result in results]),
    )
    facts = loaded.source.facts
    store_run(
        work.store,
        work.name,
        work.sources,
        {
            "predictions": predictions_,
            "probabilities": probabilities,
            "attention": attention_table(results),
            "coverage": coverage_table(patch_counts(cohort, packed.encoder, cases), results, subset_of, 0),
            "scores": score_table(results),
        },
        told,
        {
            **{key: facts.get(key) for key in ("split_set", "split", "n_splits", "seed", "attention")},
            **_computed_by(work, cohort, packed, cases),
            "started_at": started,
            "finished_at": utc_now(),
            "seconds": time.perf_counter() - began,
            "source_run_id": loaded.source.run_id,
            PREDICTED: {"weights_sha256": facts["weights_sha256"]},
        },
    )


def _computed_by(work: _Work, cohort: Cohort, packed: PackedFeatures, cases: Sequence[str]) -> dict[str, Any]:
    return {
        "cohort_fingerprint": cohort.fingerprint,
        "features_fingerprint": features_fingerprint(cases, packed.hash_of),
        "code_version": code_version(),
        "cpu": cpu_model(),
        "threads": work.threads,
        "device": device_name(work.device),
    }


def _settle_mean(work: _Work, cohort: Cohort, cases: Sequence[str], told: Told) -> str:
    """The run that is the mean of all present models and cases: the existing one, or a new one."""
    store = work.store
    whole = predictions(store)[work.name]
    of_model = {each.source.run_id: whole.of_model[each.source.run_id] for each in work.loaded}
    runs = [run_id for own in of_model.values() for run_id in own]
    spoken = cases_of(store, runs)
    common = set(cases).intersection(*({case for run in own for case in spoken[run]} for own in of_model.values()))
    chosen = [case for case in cases if case in common]
    if whole.means and set(members(store, whole.means[-1])) == set(runs) and _same_labels(store, whole.means[-1], told):
        return whole.means[-1]
    tables = mean_tables(store, of_model, chosen, told, attends=attention_kind(work.sources) != NO_ATTENTION)
    packed = open_features(store, cohort, work.sources.encoder)
    return store_run(
        store,
        work.name,
        work.sources,
        tables,
        told,
        {
            "attention": attention_kind(work.sources),
            **_computed_by(work, cohort, packed, chosen),
            "finished_at": utc_now(),
            PREDICTED: {"runs": runs},
        },
    )


def _same_labels(store: Store, mean: str, told: Told) -> bool:
    """Whether a mean has the labels that the store has now: they may have been ingested after the prediction."""
    return _labels_of(store, mean) == dict(told.label_of)


def _labels_of(store: Store, run_id: str) -> dict[str, int | None]:
    return dict(rows_of(store, [run_id], "predictions", "case_id, true_label"))
