"""The beginning of a recording: a new run, or the unfinished one of the same call."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from operator import index
from typing import Any

from milstore.errors import ConflictError, UsageError
from milstore.recording.recording import Recording
from milstore.schema import CONFIG_VERSION
from milstore.store.cohort import Cohort, read_cohort
from milstore.store.cohort_edit import migrate
from milstore.store.configuration import hash_of, plain, refuse_other_configuration, runs_of, sorted_json
from milstore.store.features import open_features
from milstore.store.fingerprints import features_of_split
from milstore.store.lease import read_lease
from milstore.store.names import check_name, clip, named
from milstore.store.paths import Store, store_option
from milstore.store.run_draft import RunDraft
from milstore.store.run_reader import RECORDED
from milstore.store.run_writer import begin_run, claim_draft, list_drafts, mint_run_id
from milstore.store.split_numbers import check_split, choose_split_set
from milstore.store.training_lease import TrainingLease
from milstore.store.write_run import told_by_store

_PLACE = ("experiment", "split_set", "split", "seed")
"""What makes a recording the same one."""


def record(
    store: Store,
    *,
    experiment: str,
    split: int | None = None,
    seed: int | None = 0,
    config: Mapping[str, Any] | None = None,
    split_set: str | None = None,
    encoder: str | None = None,
    model: str | None = None,
    fresh: bool = False,
) -> Recording:
    """Record a run that another trainer makes. See `milstore.api.OpenStore.record`."""
    split, seed = _whole("split", split), _whole("seed", seed)
    _check_words(experiment, encoder, model)
    migrate(store)
    cohort = read_cohort(store)
    split_set, n_splits = _split(cohort, split_set, split)
    told = told_by_store(cohort, split_set, split)
    settings = _settings(config, encoder, model)
    refuse_other_configuration(store, experiment, settings)
    has_features = encoder is not None and encoder in cohort.table("encoders")["encoder"].to_pylist()
    packed = open_features(store, cohort, encoder) if has_features else None
    facts = {
        "kind": RECORDED,
        **dict(zip(_PLACE, (experiment, split_set, split, seed), strict=True)),
        "n_splits": n_splits,
        "encoder": encoder,
        "model": model,
        "config": sorted_json(settings),
        "config_hash": hash_of(settings),
        "config_version": CONFIG_VERSION,
        "cohort_fingerprint": cohort.fingerprint,
        "features_fingerprint": None
        if packed is None
        else features_of_split(told.label_of, told.subset_of, packed.hash_of),
        "class_names": list(told.classes),
        "started_at": datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds"),
        "restarts": 0,
    }

    def found() -> RunDraft | None:
        unfinished = None if fresh else _unfinished(store, facts)
        if unfinished is not None:
            _refuse_other_classes(unfinished, facts)
        elif not fresh:
            _refuse_finished(store, facts)
        return unfinished

    def claim() -> tuple[RunDraft, str]:
        # Looked for once more, now that this process alone records this.
        unfinished = found()
        if unfinished is not None:
            draft, token = claim_draft(unfinished)
            return draft.update_facts(restarts=draft.facts.get("restarts", 0) + 1, error=None), token
        token = secrets.token_hex(4)
        return begin_run(store, mint_run_id(experiment, split, seed), facts, token=token), token

    found()
    # One that is to be recorded beside whatever there is shares it with nobody.
    return Recording(cohort, told, None if fresh else TrainingLease(store, facts), claim)


def _check_words(experiment: str, encoder: str | None, model: str | None) -> None:
    check_name(experiment, "experiment")
    if encoder is not None:
        check_name(encoder, "encoder")
    if model is not None and not (isinstance(model, str) and 0 < len(model) <= 200 and model.isprintable()):
        raise UsageError(f"model={clip(str(model))!r}: give a text of at most 200 characters, such as transmil")


def _whole(name: str, number: Any) -> int | None:
    """A split or a seed; a whole number of numpy is one too."""
    try:
        found = None if number is None else index(number)
    except TypeError:
        found = -1
    if isinstance(number, bool) or (found is not None and found < 0):
        raise UsageError(f"{name}={number!r}: give a whole number, 0 or more, or None")
    return found


def _split(cohort: Cohort, split_set: str | None, split: int | None) -> tuple[str | None, int | None]:
    """Name and size of the split set; None where the run has no split."""
    if split is None:
        if split_set is not None:
            raise UsageError(f"split_set={split_set!r}: say which of its splits by split=, or leave both out")
        return None, None
    name, n_splits = choose_split_set(cohort, split_set, "split_set=")
    check_split(cohort, name, split, "split")
    return name, n_splits


def _settings(config: Mapping[str, Any] | None, encoder: str | None, model: str | None) -> dict[str, Any]:
    """The configuration that the experiment stands for."""
    settings = plain(config or {})
    for name, value in (("encoder", encoder), ("model", model)):
        if value is not None and settings.setdefault(name, value) != value:
            raise UsageError(
                f"the configuration says {name} {clip(str(settings[name]))}, and {name}={value!r} is given"
            )
    return {**settings, RECORDED: True}


def _unfinished(store: Store, wanted: Mapping[str, Any]) -> RunDraft | None:
    """The recording that the same call began; the newest that nobody writes, where there are several."""
    same = [
        draft
        for draft in list_drafts(store)
        if draft.facts.get("kind") == RECORDED and all(draft.facts.get(name) == wanted[name] for name in _PLACE)
    ]
    same.sort(key=lambda draft: str(draft.facts.get("started_at")))
    free = [draft for draft in same if (lease := read_lease(draft.folder)) is None or lease.is_stale()]
    found = free or same
    return found[-1] if found else None


def _refuse_other_classes(draft: RunDraft, wanted: Mapping[str, Any]) -> None:
    began = draft.facts.get("class_names")
    if began != wanted["class_names"]:
        raise ConflictError(
            f"unfinished run {draft.run_id} began with other classes ({named(began or [])}) than the store has now "
            f"({named(wanted['class_names'])}): begin another by fresh=True, and remove it by "
            f"milstore runs delete {draft.run_id}{store_option(draft.store)}"
        )


def _refuse_finished(store: Store, wanted: Mapping[str, Any]) -> None:
    for run in runs_of(store, wanted["experiment"]):
        if run["finished"] and all(run[name] == wanted[name] for name in _PLACE):
            where = "" if wanted["split"] is None else f" of split {wanted['split']}"
            seed = "" if wanted["seed"] is None else f", seed {wanted['seed']},"
            raise ConflictError(
                f"run {run['run_id']}{where}{seed} is finished, and a run is never changed: record another beside it by "
                "fresh=True, or under another experiment"
            )
