"""One run, from its first epoch or its last checkpoint to its commit."""

import os
import platform
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from milstore.analysis.learning import sentence
from milstore.errors import Interrupted, in_a_line
from milstore.schema.arrow import arrow_schema
from milstore.store.cohort import Cohort
from milstore.store.lease import Hold
from milstore.store.paths import Store, store_option
from milstore.store.run_draft import RunDraft
from milstore.store.run_reader import LEARNING
from milstore.store.run_writer import begin_run, claim_draft, mint_run_id
from milstore.store.training_lease import TrainingLease
from milstore.store.write_run import Told, write_run
from milstore.training import setup
from milstore.training.bags import BagSource
from milstore.training.checkpoint import go_on_from_checkpoint, write_checkpoint, write_weights
from milstore.training.config import TrainingConfig
from milstore.training.evaluation import (
    attention_table,
    coverage_table,
    evaluate,
    judge_training,
    prediction_tables,
    score_table,
)
from milstore.training.interruption import Interruption
from milstore.training.loop import DivergedError, Training
from milstore.training.model_choice import ChosenModel
from milstore.training.progress import Watcher
from milstore.training.provenance import code_version, cpu_model, device_name, find_device, repeatable_arithmetic
from milstore.training.setup import SplitPlan
from milstore.training.summary import RunResult, summarise


def utc_now() -> str:
    """The time as the table `runs` writes it."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a run needs besides its own facts."""

    store: Store
    cohort: Cohort
    chosen: ChosenModel
    """The model, and how to train."""
    bags: BagSource
    interruption: Interruption
    watcher: Watcher
    checkpoint_seconds: float
    """Within an epoch, a checkpoint is written when the last one is older."""
    fresh: bool = False
    """Whether the command that asked for it would begin again if it were given once more."""

    @property
    def config(self) -> TrainingConfig:
        """How to train."""
        return self.chosen.config

    def begin(self, facts: dict[str, Any], lease: TrainingLease) -> RunResult:
        """Train and commit a new run. The caller holds the lease of that training."""

        def claim() -> tuple[RunDraft, str]:
            run_id, token = mint_run_id(facts["experiment"], facts["split"], facts["seed"]), secrets.token_hex(4)
            return begin_run(self.store, run_id, facts, token=token), token

        return self._run(facts, claim, lease)

    def go_on(self, draft: RunDraft, lease: TrainingLease) -> RunResult:
        """Train and commit an unfinished run. The caller holds the lease of that training.

        Raises:
            ConflictError: a living process trains it.
        """
        return self._run(draft.facts, lambda: claim_draft(draft, watched=True), lease)

    def _run(self, facts: dict[str, Any], claim: Callable[[], tuple[RunDraft, str]], lease: TrainingLease) -> RunResult:
        cases, device = SplitPlan.of(facts).cases, find_device(facts["device"])
        allow = self.config.allow_nondeterministic
        with repeatable_arithmetic(facts["threads"], allow_nondeterministic=allow), self.watcher:
            training = Training(
                self.bags,
                cases,
                self.config,
                n_classes=len(facts["class_names"]),
                seed=facts["seed"],
                device=device,
                chosen=self.chosen,
                # As they were when it began: a model may have made weights for each.
                stains=facts.get("stains", ()),
            )
            if self.chosen.loaded.files:
                # What a user's own model cannot do is told before anything is written.
                training.try_out()
            draft, token = claim()
            with Hold(draft.folder, token) as hold:
                try:
                    return self._hold(training, draft, hold, lease)
                except KeyboardInterrupt:
                    if not self.interruption.requested:
                        raise
                    raise self._interrupted("at once; what was trained since the last checkpoint is lost") from None
                except DivergedError as error:
                    draft.record_error(in_a_line(error))
                    raise DivergedError(
                        f"{error}; milstore runs delete {draft.run_id}{store_option(self.store)} removes this run"
                    ) from error
                except Interrupted:
                    raise
                except Exception as error:
                    draft.record_error(in_a_line(error))
                    raise

    def _hold(self, training: Training, draft: RunDraft, hold: Hold, lease: TrainingLease) -> RunResult:
        if draft.is_taken_over:
            go_on_from_checkpoint(draft, training)
            draft = draft.update_facts(restarts=draft.facts["restarts"] + 1, error=None)
        self._fit(training, draft, hold, lease)
        return self._commit(training, draft, lease)

    def _fit(self, training: Training, draft: RunDraft, hold: Hold, lease: TrainingLease) -> None:
        self.watcher.begin(
            draft.run_id,
            epoch=len(training.history),
            epochs=self.config.epochs,
            cases=len(training.cases.of("train")),
        )
        due = 0.0

        def stop() -> bool:
            return self.interruption.requested or hold.lost or time.monotonic() > due

        while not training.finished:
            due = time.monotonic() + self.checkpoint_seconds
            ended = training.train_epoch(self.watcher, stop)
            if hold.lost or lease.lost:
                draft.check_own()
                lease.check()
            if ended:
                draft.append_epoch(training.history[-1])
            write_checkpoint(draft, training)
            if self.interruption.requested and not training.finished:
                self.watcher.end()
                place = f"split {draft.facts['split']} of {draft.facts['split_set']}"
                raise self._interrupted(f"in {place}, epoch {len(training.history) + 1} of {self.config.epochs}")

    def _interrupted(self, how: str) -> Interrupted:
        self.interruption.settle()
        command = "the same command without --fresh" if self.fresh else "the same command"
        return Interrupted(f"stopped {how}: {command} goes on")

    def _commit(self, training: Training, draft: RunDraft, lease: TrainingLease) -> RunResult:
        started = time.perf_counter()
        training.restore_best()
        with self.chosen.calling():
            results = evaluate(training.model, self.bags, training.cases.all, training.device)
        predictions, probabilities = prediction_tables(results, training.cases)
        subset_of = {**training.cases.subset_of, **draft.facts["left_out"]}
        existing = setup.patch_counts(self.cohort, draft.facts["encoder"], subset_of)
        seconds = sum(row["seconds"] for row in training.history) + time.perf_counter() - started
        weights_facts = {name: draft.facts.get(name, []) for name in ("config", "class_names", "stains")}
        weights_facts |= {**self.chosen.facts(), "n_features": self.bags.n_features}
        learning = judge_training(training, results)
        if lease.lost:
            draft.check_own()
            lease.check()
        folder = write_run(
            draft,
            {
                "epochs": pa.Table.from_pylist(training.history, arrow_schema("epochs")),
                "predictions": predictions,
                "probabilities": probabilities,
                "attention": attention_table(results),
                "coverage": coverage_table(existing, results, subset_of, self.config.max_patches_per_slice),
                "scores": score_table(results),
            },
            {**_run_row(training, draft.facts, seconds), **self.chosen.facts(), LEARNING: learning.facts()},
            # As it began: what was corrected in the store since, this training never saw.
            told=Told(
                classes=draft.facts["class_names"],
                label_of=training.cases.label_of,
                subset_of=training.cases.subset_of,
            ),
            weights=lambda path: write_weights(path, training, weights_facts),
        )
        if said := sentence(learning.facts()):
            self.watcher.note(f"warning: run {draft.run_id}: {said}")
        return RunResult(
            run_id=draft.run_id,
            folder=Path(folder),
            **{name: draft.facts[name] for name in ("experiment", "split_set", "split", "seed")},
            model=self.chosen.name,
            attention=self.chosen.attends,
            n_epochs=len(training.history),
            best_epoch=training.best_epoch,
            kept="chosen" if self.config.evaluate_epoch else self.config.keep,
            seconds=seconds,
            learning=learning,
            subsets=summarise(results, training.cases, draft.facts["class_names"]),
        )


_OF_DRAFT = {"cases", "left_out", "class_names", "stains"}
"""Facts that a draft needs to go on, and that a finished run says in its tables."""


def _run_row(training: Training, facts: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The columns of the table `runs` that the store cannot determine itself."""
    return {
        **{key: value for key, value in facts.items() if key not in _OF_DRAFT},
        "code_version": code_version(),
        "host": platform.node(),
        "cpu": cpu_model(),
        "device": device_name(training.device),
        "slurm_job_id": os.environ.get("SLURM_JOB_ID"),
        "finished_at": utc_now(),
        "seconds": seconds,
        "n_epochs": len(training.history),
        "best_epoch": training.best_epoch,
        "n_parameters": sum(each.numel() for each in training.model.parameters() if each.requires_grad),
    }
