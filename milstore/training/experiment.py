"""Training as people ask for it: a split, all splits, or an interrupted run, each ending as a run in the store."""

import os
import platform
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from milstore.errors import ConflictError, Interrupted, StoreError, UsageError
from milstore.schema.arrow import arrow_schema
from milstore.store.cohort import Cohort, read_cohort
from milstore.store.features import PackedFeatures, open_features
from milstore.store.folder import Store, default_root
from milstore.store.names import named
from milstore.store.runs import RunDraft, begin_run, mint_run_id, open_draft
from milstore.training import preparation
from milstore.training.bags import BagsInMemory, load_bags
from milstore.training.checkpoint import read_checkpoint, write_checkpoint, write_weights
from milstore.training.config import TrainingConfig, canonical_json, config_from_json, config_hash
from milstore.training.evaluation import attention_table, coverage_table, evaluate, prediction_tables
from milstore.training.interruption import Interruption
from milstore.training.loop import SplitCases, Training
from milstore.training.preparation import SplitPlan
from milstore.training.progress import Watcher
from milstore.training.provenance import (
    code_version,
    cpu_model,
    device_name,
    find_device,
    repeatable_arithmetic,
    usable_threads,
)
from milstore.training.summary import RunResult, summarise


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
    watcher: Watcher | None = None,
    committed: Callable[[RunResult], None] | None = None,
) -> list[RunResult]:
    """Train on several splits, one after another over the same loaded features, and commit a run for each.

    Args:
        store: the store.
        config: how to train.
        splits: numbers of the splits, from 1; None for all of the split set.
        split_set: may be left out while the store has only one.
        encoder: whose features; may be left out while the store has only one.
        seed: of weights, order and dropout, 0 or more.
        experiment: name for runs of this configuration; its default comes from the configuration.
        threads: for torch; None for as many as this process may use.
        device: auto, cpu or cuda.
        watcher: hears how it goes on; None for silence.
        committed: called with each run as soon as it is in the store.

    Raises:
        UsageError: an option that does not fit the store.
        ConflictError: the store lacks something, or the experiment stands for another configuration.
        DataError: subsets that cannot be trained on.
        Interrupted: a signal asked to stop; the run can be continued by `resume`.
    """
    watcher = watcher or Watcher()
    if seed < 0:
        raise UsageError(f"--seed {seed}: give 0 or more")
    if threads is not None and threads < 1:
        raise UsageError(f"--threads {threads}: give 1 or more")
    cohort = read_cohort(store)
    names = preparation.class_names(cohort)
    packed = open_features(store, cohort, encoder)
    split_set, n_splits = preparation.choose_split_set(cohort, split_set)
    chosen = preparation.choose_splits(split_set, n_splits, splits)
    config_json = canonical_json(config, split_set=split_set, encoder=packed.encoder)
    experiment = preparation.experiment_name(store, experiment, config_json)
    plans = {split: preparation.plan_split(cohort, packed, split_set, split) for split in chosen}
    for note in preparation.missing_features(cohort, packed, plans.values()):
        watcher.note(note)
    for known in preparation.known_runs(store, experiment):
        if known["split"] in plans and known["seed"] == seed:
            state = "finished" if known["finished"] else "unfinished"
            watcher.note(f"note: {state} run {known['run_id']} is of this split and seed; another is trained beside it")
    found_device = find_device(device)
    common = {
        "experiment": experiment,
        "split_set": split_set,
        "n_splits": n_splits,
        "seed": seed,
        "encoder": packed.encoder,
        "pooling": config.pooling,
        "config": config_json,
        "config_hash": config_hash(config_json),
        "cohort_fingerprint": cohort.fingerprint,
        "features_fingerprint": packed.fingerprint,
        "class_names": names,
        "threads": threads or usable_threads(),
        "device": found_device.type,
        "restarts": 0,
    }
    bags = _load(packed, plans.values(), found_device)
    results: list[RunResult] = []
    with Interruption() as interruption:
        for split, plan in plans.items():
            if interruption.requested:
                left = named(each for each in chosen if each not in {result.split for result in results})
                raise Interrupted(f"stopped between two splits: {left} still to be trained, go on with --split {split}")
            facts = {**common, **_plan_facts(plan), "split": split, "started_at": _now()}
            results.append(_Job(store, cohort, config, facts, bags, interruption, watcher).run())
            if committed is not None:
                committed(results[-1])
    return results


def resume(store: Store, run_id: str, *, watcher: Watcher | None = None) -> RunResult:
    """Continue an interrupted run from its last checkpoint, with the threads and the device that it began with.

    Raises:
        UsageError: there is no such unfinished run, or its device is not here.
        ConflictError: the features are not those that it began with.
        StoreError: its files cannot be read.
        Interrupted: a signal asked to stop again.
    """
    watcher = watcher or Watcher()
    draft = open_draft(store, run_id)
    try:
        facts = draft.facts
        plan = SplitPlan(
            SplitCases(
                {case_id: subset for case_id, (subset, _) in facts["cases"].items()},
                {case_id: label for case_id, (_, label) in facts["cases"].items()},
            ),
            facts["left_out"],
        )
        config = config_from_json(facts["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{draft.folder / 'draft.json'} does not say how run {run_id} began: train it anew") from error
    cohort = read_cohort(store)
    packed = open_features(store, cohort, facts["encoder"])
    if packed.fingerprint != facts["features_fingerprint"]:
        raise ConflictError(
            f"the features of {packed.encoder} are not those that run {run_id} began with: train that split anew"
        )
    bags = _load(packed, [plan], find_device(facts["device"]))
    with Interruption() as interruption:
        draft = draft.update_facts(restarts=facts["restarts"] + 1)
        return _Job(store, cohort, config, draft.facts, bags, interruption, watcher).run(draft)


def store_option(store: Store) -> str:
    """The option that a command needs to find the store, with a space before it; nothing if it finds it by itself."""
    return "" if store.root == default_root().resolve() else f" --store {store.root}"


@dataclass(frozen=True)
class _Job:
    """One run, from its first epoch or its checkpoint to its commit."""

    store: Store
    cohort: Cohort
    config: TrainingConfig
    facts: dict[str, Any]
    bags: BagsInMemory
    interruption: Interruption
    watcher: Watcher

    def run(self, draft: RunDraft | None = None) -> RunResult:
        """Train and commit. Without a draft the run is a new one."""
        facts = self.facts
        cases = SplitCases(
            {case_id: subset for case_id, (subset, _) in facts["cases"].items()},
            {case_id: label for case_id, (_, label) in facts["cases"].items()},
        )
        device = find_device(facts["device"])
        with repeatable_arithmetic(facts["threads"]), self.watcher:
            training = Training(
                self.bags, cases, self.config, n_classes=len(facts["class_names"]), seed=facts["seed"], device=device
            )
            if draft is None:
                run_id = mint_run_id(facts["experiment"], facts["split"], facts["seed"])
                draft = begin_run(self.store, run_id, facts)
            elif (state := read_checkpoint(draft, device)) is not None:
                training.load(state)
            self._fit(training, draft)
            return self._commit(training, draft)

    def _fit(self, training: Training, draft: RunDraft) -> None:
        self.watcher.begin(
            draft.run_id,
            epoch=len(training.history),
            epochs=self.config.epochs,
            cases=len(training.cases.of("train")),
        )
        while not training.finished:
            if training.train_epoch(self.watcher, lambda: self.interruption.requested):
                draft.append_epoch(training.history[-1])
            write_checkpoint(draft, training)
            if self.interruption.requested and not training.finished:
                self.watcher.end()
                raise Interrupted(
                    f"run {draft.run_id} was stopped in epoch {len(training.history) + 1} of {self.config.epochs}: "
                    f"go on with milstore train --resume {draft.run_id}{store_option(self.store)}"
                )

    def _commit(self, training: Training, draft: RunDraft) -> RunResult:
        started = time.perf_counter()
        training.restore_best()
        results = evaluate(training.model, self.bags, training.cases.all, training.device)
        predictions, probabilities = prediction_tables(results, training.cases)
        subset_of = {**training.cases.subset_of, **self.facts["left_out"]}
        existing = preparation.patch_counts(self.cohort, subset_of)
        seconds = sum(row["seconds"] for row in training.history) + time.perf_counter() - started
        folder = draft.commit(
            self._run_row(training, seconds),
            epochs=pa.Table.from_pylist(training.history, arrow_schema("epochs")),
            predictions=predictions,
            probabilities=probabilities,
            attention=attention_table(results),
            coverage=coverage_table(existing, results, subset_of, self.config.max_patches_per_slice),
            weights=self._weights_writer(training),
        )
        return RunResult(
            run_id=draft.run_id,
            folder=Path(folder),
            **{name: self.facts[name] for name in ("experiment", "split_set", "split", "seed")},
            n_epochs=len(training.history),
            best_epoch=training.best_epoch,
            seconds=seconds,
            subsets=summarise(results, training.cases, self.facts["class_names"]),
        )

    def _run_row(self, training: Training, seconds: float) -> dict[str, Any]:
        """The columns of the table `runs` that the store does not find out itself."""
        return {
            **{key: value for key, value in self.facts.items() if key not in {"cases", "left_out", "class_names"}},
            "code_version": code_version(),
            "host": platform.node(),
            "cpu": cpu_model(),
            "device": device_name(training.device),
            "slurm_job_id": os.environ.get("SLURM_JOB_ID"),
            "finished_at": _now(),
            "seconds": seconds,
            "n_epochs": len(training.history),
            "best_epoch": training.best_epoch,
            "n_parameters": sum(each.numel() for each in training.model.parameters()),
        }

    def _weights_writer(self, training: Training) -> Any:
        facts = {
            "config": self.facts["config"],
            "class_names": self.facts["class_names"],
            "n_features": self.bags.n_features,
        }
        return lambda path: write_weights(path, training, facts)


def _load(packed: PackedFeatures, plans: Iterable[SplitPlan], device: torch.device) -> BagsInMemory:
    """The bags of every case of the splits, on the device if its memory has room for them."""
    bags = load_bags(packed, {case_id for plan in plans for case_id in plan.cases.subset_of})
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # Else they stay in the host's memory, and each goes over as its case comes.
        if bags.n_bytes < 0.7 * free:
            return bags.to(device)
    return bags


def _plan_facts(plan: SplitPlan) -> dict[str, Any]:
    cases = {case_id: [subset, plan.cases.label_of[case_id]] for case_id, subset in plan.cases.subset_of.items()}
    return {"cases": cases, "left_out": plan.left_out}


def _now() -> str:
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
