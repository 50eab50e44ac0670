"""The models of an experiment: its finished runs with weights, and the cases that each was trained on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from milstore.errors import ConflictError, UsageError
from milstore.store.cohort import Cohort
from milstore.store.features import PackedFeatures
from milstore.store.fingerprints import features_fingerprint
from milstore.store.names import clip, counted, named, natural_key, nearest
from milstore.store.paths import Store
from milstore.store.prediction_runs import predictions
from milstore.store.run_reader import PREDICTION, WEIGHTS, run_ids
from milstore.store.verified import verified_run
from milstore.store.views import connect_bare, rows_of_runs

TRAINED_ON = ("train", "val")
"""The subsets whose cases a model knows: on those of validation its best epoch was chosen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A finished run whose weights can predict new cases."""

    run_id: str
    facts: Mapping[str, Any]
    """What its `run.json` says."""
    subset_of: Mapping[str, str]
    """Subset of each case that it predicted."""

    @property
    def trained_on(self) -> set[str]:
        """The cases that it was trained or chosen on."""
        return {case_id for case_id, subset in self.subset_of.items() if subset in TRAINED_ON}


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """The models of an experiment."""

    experiment: str
    models: tuple[Source, ...]
    encoder: str
    """Whose features they were trained on."""
    notes: tuple[str, ...] = ()

    @property
    def first(self) -> Mapping[str, Any]:
        """What the first run says: the configuration is that of all."""
        return self.models[0].facts


def find_sources(store: Store, experiment: str) -> Sources:
    """The models of an experiment: of each split set, split and seed the newest finished run, in this order.

    Raises:
        UsageError: there is no experiment of this name with a finished run.
        ConflictError: none of its runs was trained by milstore, or they are not of one encoder.
        StoreError: a run's own description cannot be read.
    """
    every = [verified_run(store, run_id) for run_id in run_ids(store)]
    runs = [facts for facts in every if facts["experiment"] == experiment]
    if runs and runs[0]["kind"] == PREDICTION:
        of = predictions(store)[experiment].experiment
        raise UsageError(f"{experiment} is a prediction, and has no models of its own: name the experiment, {of}")
    if not runs:
        known = {facts["experiment"] for facts in every if facts["kind"] != PREDICTION}
        hint = nearest(experiment, known) if known else "train one with milstore train --split all"
        raise UsageError(f"there is no experiment {clip(experiment)!r} with a finished run: {hint}")
    trained = [facts for facts in runs if facts["kind"] == "training" and WEIGHTS in facts["files"]]
    if not trained:
        raise ConflictError(
            f"no run of experiment {experiment} was trained by milstore ({named(facts['run_id'] for facts in runs)}), and "
            "only such have weights that answer for new cases: train one with milstore train"
        )
    newest: dict[Any, dict[str, Any]] = {}
    for facts in sorted(trained, key=lambda facts: (facts["finished_at"], facts["run_id"])):
        newest[facts["split_set"], facts["split"], facts["seed"]] = facts
    chosen = [newest[key] for key in sorted(newest, key=lambda key: (natural_key(key[0]), key[1], key[2]))]
    encoders = sorted({str(facts["encoder"]) for facts in chosen})
    if len(encoders) > 1:
        raise ConflictError(f"the runs of experiment {experiment} are of the encoders {named(encoders)}: one is needed")
    left = len(runs) - len(trained)
    notes = [f"{counted(left, 'run')} of {experiment} without weights of milstore's own: not asked"] if left else []
    subsets = _subsets(store, [facts["run_id"] for facts in chosen])
    models = [Source(run_id=facts["run_id"], facts=facts, subset_of=subsets[facts["run_id"]]) for facts in chosen]
    return Sources(experiment=experiment, models=tuple(models), encoder=encoders[0], notes=tuple(notes))


def _subsets(store: Store, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Subset of each case of each run."""
    found: dict[str, dict[str, str]] = {run_id: {} for run_id in ids}
    con = connect_bare()
    try:
        sql = f"select run_id, case_id, subset from {rows_of_runs(store, ids, 'predictions')}"
        for run_id, case_id, subset in con.execute(sql).fetchall():
            found[run_id][case_id] = subset
    finally:
        con.close()
    return found


def check_features(sources: Sources, packed: PackedFeatures) -> None:
    """ConflictError if the store's features are not those that the models were trained on: another encoder made them.

    What a run of schema 1 says of its features is of the whole encoder as it was then, and cannot be compared.
    """
    for source in sources.models:
        stored = source.facts.get("features_fingerprint")
        if stored is None or source.facts["schema_version"] < 2:
            continue
        if features_fingerprint(source.subset_of, packed.hash_of) != stored:
            raise ConflictError(
                f"the features of {sources.encoder} in the store are not those that run {source.run_id} was trained on: "
                "they were replaced since, and its weights say nothing of others; take those in again, or train again"
            )


def known_cases(sources: Sources, case_ids: Iterable[str]) -> dict[str, list[str]]:
    """Of these cases those that a model was trained on, with the runs that were."""
    trained = {source.run_id: source.trained_on for source in sources.models}
    found = {case_id: [run_id for run_id, cases in trained.items() if case_id in cases] for case_id in case_ids}
    return {case_id: runs for case_id, runs in found.items() if runs}


def refuse_trained_on(sources: Sources, cases: Iterable[str]) -> None:
    """UsageError, with the cases, if a model was trained or validated on one of these."""
    if known := known_cases(sources, cases):
        raise UsageError(
            f"models of {sources.experiment} were trained or validated on {counted(len(known), 'case')} of these: "
            f"{named(in_words(sources, known))}; what they say of them is no test (--also-trained-on asks all the same)"
        )


def in_words(sources: Sources, known: Mapping[str, Sequence[str]]) -> list[str]:
    """Cases that models know, each with how many of them do."""
    return [f"{case} ({len(runs)} of {counted(len(sources.models), 'model')})" for case, runs in known.items()]


def related_cases(sources: Sources, cohort: Cohort, case_ids: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Of these cases those that share a group (a patient) with a case that a model was trained on: the group and that case."""
    groups = cohort.table("case_groups").to_pylist()
    group_of = {row["case_id"]: row["group_id"] for row in groups}
    trained = set().union(*(source.trained_on for source in sources.models))
    others = {
        group_of[case_id]: case_id for case_id in sorted(trained, key=natural_key, reverse=True) if case_id in group_of
    }
    return {
        case_id: (group_of[case_id], others[group_of[case_id]])
        for case_id in case_ids
        if case_id not in trained and group_of.get(case_id) in others
    }
