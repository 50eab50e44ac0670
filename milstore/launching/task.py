"""One split of a launch, trained in a process of its own: a job of SLURM or a child of the local launcher.

Whatever ends it, calling it again goes on where it was: the run's id is written down as soon as there is one, and the
rest is in the run's checkpoint.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from milstore.errors import ConflictError, Interrupted, MilstoreError, StoreError, UsageError, in_a_line
from milstore.launching.child import log, watch_launcher
from milstore.launching.records import Launch, Process, SplitRecord, read_launch
from milstore.store import Store, open_store
from milstore.store.run_reader import read_run, run_ids
from milstore.store.run_writer import list_drafts
from milstore.training.interruption import Interruption
from milstore.training.progress import Lines

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

    from milstore.training import RunResult

WARNINGS = tuple(getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name))
"""Signals by which a scheduler says that the time is nearly up. SIGTERM is none: it comes when a job is cancelled."""
_RESUMING = ("checkpoint_minutes", "memory")
"""What may be chosen again for a run that goes on; all else is as it began."""
PATIENCE = 60.0
"""Seconds for which a task waits for a process that trains the same to end: those of a launcher that was killed end with it,
after the case at hand."""
MOST_IDLE = 3
"""Starts in a row that may end before a case was trained on."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A split of a launch, as the job finds it: three plain values, which is all that submitit's pickle holds."""

    store: str
    folder: str
    split: int

    def __call__(self) -> str:
        """Train the split, or go on with it, and return the id of the finished run.

        Raises:
            Interrupted: it was stopped, and is to stay so until somebody continues it.
            MilstoreError: it cannot be trained.
            SystemExit: it was warned by the scheduler, and queued itself again.
        """
        launch = read_launch(Path(self.folder))
        record = launch.record(self.split)
        known = record.read()
        record.update(
            state="running",
            error=None,
            job_id=_job_id(),
            starts=known.get("starts", 0) + 1,
            idle=known.get("idle", 0) + 1,
            **Process.this().facts(),
        )
        try:
            run_id = self._train_or_queue_again(open_store(self.store), launch, record)
        except Interrupted as stop:
            record.update(state="interrupted", error=str(stop))
            raise
        except Exception as error:
            record.update(state="failed", error=in_a_line(error))
            raise
        record.update(state="done", run_id=run_id)
        return run_id

    def checkpoint(self) -> "DelayedSubmission":
        """What submitit submits after the scheduler's warning: the same task.

        The training has written its own checkpoint by then. If the warning came before the training began, there is
        none, and a limit that is too short even for that must not keep a node busy for ever.

        Raises:
            UsageError: that happened several times in a row.
        """
        from submitit.helpers import DelayedSubmission

        record = read_launch(Path(self.folder)).record(self.split)
        if record.read().get("idle", 0) >= MOST_IDLE:
            raise UsageError(
                f"the time limit came {MOST_IDLE} times before the training had begun: give more by --slurm-time"
            )
        record.update(state="requeued")
        return DelayedSubmission(self)

    def _train_or_queue_again(self, store: Store, launch: Launch, record: SplitRecord) -> str:
        try:
            return self._train(store, launch, record)
        except Interrupted as stop:
            if stop.signal in WARNINGS and os.environ.get("SUBMITIT_EXECUTOR") == "slurm":
                _queue_again()
            raise
        except subprocess.CalledProcessError as error:
            _leave_if_queued_again(error)
            raise

    def _train(self, store: Store, launch: Launch, record: SplitRecord) -> str:
        from milstore import training
        from milstore.training.stored_config import config_from_json

        facts, watcher, known = launch.facts, Recorder(record), record.read()
        run_id = known.get("run_id")
        if run_id in run_ids(store):
            # It died between the commit and writing that down.
            return str(run_id)
        result: RunResult
        options = {"threads": _given_threads(), **facts["options"]}
        if any(draft.run_id == run_id for draft in list_drafts(store)):
            kept = {name: value for name, value in options.items() if name in _RESUMING}
            result = training.resume(store, str(run_id), model=facts.get("model"), **kept, watcher=watcher)
        else:
            if known["starts"] > 1:
                # A run that it had begun, and died before it could write that down, goes on.
                options["fresh"] = False
            if done := self._finished_since(store, launch):
                watcher.note(f"run {done} of this training was finished by another process since it was launched")
                return done
            try:
                result = training.train(
                    store,
                    config_from_json(facts["config"], facts.get("model")),
                    self.split,
                    **{name: facts[name] for name in ("split_set", "encoder", "seed", "experiment")},
                    **options,
                    patience=PATIENCE,
                    watcher=watcher,
                )
            except ConflictError:
                if done := self._finished_since(store, launch):
                    return done
                raise
        watcher.note(f"run {result.run_id} is finished: best epoch {result.best_epoch} of {result.n_epochs}")
        return result.run_id

    def _finished_since(self, store: Store, launch: Launch) -> str | None:
        """The run of this training that was finished since the launch, unless --fresh was given; None if there is none.

        Of a launcher that was killed, the processes may have ended what the next launch is asked for.
        """
        from milstore.training.resumption import finished_since

        facts = launch.facts
        if facts["options"].get("fresh"):
            return None
        wanted = {**{name: facts[name] for name in ("experiment", "split_set", "seed", "config")}, "split": self.split}
        earlier = []
        for run_id in run_ids(store):
            with suppress(StoreError):
                if str(read_run(store, run_id)["finished_at"]) < facts["submitted_at"]:
                    earlier.append(run_id)
        return finished_since(store, wanted, earlier)


class Recorder(Lines):
    """Writes down which run it is as soon as that is known, and tells the log a line an epoch."""

    def __init__(self, record: SplitRecord) -> None:
        super().__init__(log)
        self._record = record

    def begin(self, run_id: str, *, epoch: int, epochs: int, cases: int) -> None:
        """Keeps the run's id."""
        self._record.update(run_id=run_id, idle=0)
        super().begin(run_id, epoch=epoch, epochs=epochs, cases=cases)


def _queue_again() -> None:
    """Requeue as submitit would have done, since the training itself handled the signal to save its state.

    Its handler calls `checkpoint`, asks SLURM to queue the job again and leaves by SystemExit.
    """
    from submitit import JobEnvironment

    try:
        signal.raise_signal(getattr(signal, f"SIG{JobEnvironment.USR_SIG}"))
    except subprocess.CalledProcessError as error:
        _leave_if_queued_again(error)
        raise
    raise StoreError("submitit did not queue the job again")


def _leave_if_queued_again(error: subprocess.CalledProcessError) -> None:
    """SystemExit if `scontrol requeue` was ended by SIGTERM: it is part of the job that SLURM ends to queue it again."""
    if "requeue" in error.cmd and error.returncode == -signal.SIGTERM:
        raise SystemExit(1) from error


def _job_id() -> str | None:
    """Id of the SLURM job as squeue shows it, such as 12_3; None outside SLURM."""
    array, index = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{index}" if array and index else os.environ.get("SLURM_JOB_ID")


def _given_threads() -> int | None:
    """The CPUs that SLURM gave to the task. It need not bind the process to them, so torch would take all there are."""
    given = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return int(given) if given.isdigit() else None


def main(words: list[str]) -> int:
    """The program of a child of the local launcher: trains a split and returns what `milstore train` would."""
    store, folder, split, *further = words
    # Stops at a checkpoint.
    watch_launcher(further, lambda: os.kill(os.getpid(), signal.SIGTERM))
    try:
        # A warning may come while torch is imported, too.
        with Interruption():
            Task(store=store, folder=folder, split=int(split))()
    except Interrupted as stop:
        log(str(stop))
        return stop.exit_code
    except MilstoreError as error:
        log(f"error: {error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
