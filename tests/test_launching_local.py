"""The local launcher: splits side by side in processes of this machine, through the task that a SLURM job runs."""

import json
import os
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from milstore.cli.main import main
from milstore.errors import Interrupted, UsageError
from milstore.launching import local, task
from milstore.launching.local import log_file, run_side_by_side, threads_each
from milstore.launching.planning import plan_launch
from milstore.launching.records import Launch, launches, logs_folder
from milstore.launching.states import states
from milstore.launching.task import Task
from milstore.store import Store
from milstore.store.run_reader import read_run, run_ids
from milstore.store.run_writer import list_drafts
from milstore.training import TrainingConfig, train
from tests.crossing import WHOLE
from tests.forking import fork
from tests.holding import Held
from tests.launching import by_forks, by_interpreters
from tests.test_training_runs import assert_same_numbers
from tests.training_cohort import SMALL, tiny_store
from tests.trainings import twin_of

WORDS = ["--hidden", "8", "--attention-dim", "4", "--epochs", "3", "--min-epochs", "1", "--lr", "0.01"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return tiny_store(tmp_path / "store")


@pytest.fixture(autouse=True)
def _outside_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SLURM_", "SUBMITIT_")):
            monkeypatch.delenv(name)


def planned(store: Store, config: TrainingConfig = SMALL, splits: list[int] | None = None, **options: Any) -> Launch:
    launch = plan_launch(store, config, splits, launcher="local", **{"threads": 1, **options})
    assert launch is not None
    return launch


def call(store: Store, launch: Launch, split: int = 1) -> str:
    return Task(store=str(store.root), folder=str(launch.folder), split=split)()


def test_splits_are_trained_side_by_side_with_the_numbers_of_one_after_another(store: Store, tmp_path: Path) -> None:
    """`--launcher local` commits a run for each split, and each has the numbers that training in this process gives.

    Its processes are forked here, and interpreters by `make torture`.
    """
    words = ["train", "--store", str(store.root), "--split", "all", "--launcher", "local", "--jobs", "2", *WORDS]
    work = partial(main, [*words, "--threads", "1", "--experiment", "side-by-side"])
    launcher = fork(tmp_path, by_interpreters(work) if WHOLE else by_forks(work))
    assert launcher.wait() == 0
    (launch,) = launches(store)
    runs = {read_run(store, run_id)["split"]: run_id for run_id in run_ids(store)}
    assert sorted(runs) == [1, 2]
    assert "side-by-side: 2 runs" in launcher.text() and "accuracy" in launcher.text()
    assert f"follow: milstore runs watch --store {store.root}" in launcher.text()
    assert f"logs:   {launch.folder}" in launcher.text()
    assert "next: milstore query recall --experiment side-by-side" in launcher.text()
    assert f"run {runs[1]} is finished: best epoch" in log_file(launch, 1).read_text()
    alone = train(store, SMALL, 2, threads=1, experiment="alone")
    there, here = (store.run_folder(run_id) / "run.json" for run_id in (runs[2], alone.run_id))
    assert json.loads(there.read_text())["weights_sha256"] == json.loads(here.read_text())["weights_sha256"]
    assert {row.state for row in states(store)} == {"done"}
    again = fork(tmp_path, work)
    assert again.wait() == 0
    assert "every split of tiny is finished: --fresh trains them again" in again.text()


def test_a_split_is_trained_by_an_interpreter_of_its_own(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finds the milstore that launched it, wherever that was, and commits the run."""
    monkeypatch.chdir(tmp_path)
    launch = planned(store, splits=[1])
    (run_id,) = run_side_by_side(store, launch, 1)
    assert (run_ids(store), launch.record(1).read()["state"]) == ([run_id], "done")
    assert f"run {run_id} is finished: best epoch" in log_file(launch, 1).read_text()


def test_a_signal_to_the_launcher_interrupts_every_split(store: Store, tmp_path: Path) -> None:
    """SIGTERM ends the launcher with 75; what was trained can be continued, what had not begun is left out."""
    launch = planned(store, replace(SMALL, epochs=6, min_epochs=6))
    launcher = Held(tmp_path / "signalled").begun(tmp_path, by_forks(lambda: run_side_by_side(store, launch, 1) and 0))
    launcher.send(signal.SIGTERM)
    assert launcher.wait() == 75
    assert launcher.text() == (
        "error: stopped with 2 of 2 splits unfinished: the same command goes on, "
        f"milstore runs list --store {store.root} names them\n"
    )
    (draft,) = list_drafts(store)
    assert draft.checkpoint_path.exists()
    assert [(row.state, row.split, row.run_id) for row in states(store)] == [
        ("interrupted", 2, None),
        ("interrupted", 1, draft.run_id),
    ]


def test_a_task_that_was_interrupted_goes_on_with_its_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Called again, a task continues the run that it had begun, to the numbers of an uninterrupted one."""
    config = replace(SMALL, epochs=6, min_epochs=6)
    launch = planned(store, config, [1])
    stop_after(monkeypatch, epochs=2)
    with pytest.raises(Interrupted):
        call(store, launch)
    known = launch.record(1).read()
    (draft,) = list_drafts(store)
    assert (known["state"], known["run_id"], known["starts"], known["idle"]) == ("interrupted", draft.run_id, 1, 0)
    monkeypatch.undo()
    assert call(store, launch) == draft.run_id
    assert launch.record(1).read()["state"] == "done"
    assert read_run(store, draft.run_id)["restarts"] == 1
    # A job that SLURM starts once more finds nothing to do.
    assert call(store, launch) == draft.run_id
    assert run_ids(store) == [draft.run_id]
    twin = twin_of(config)
    assert_same_numbers(twin, replace(twin, folder=store.run_folder(draft.run_id)))


def test_a_task_writes_down_why_it_failed(store: Store) -> None:
    """The error of a split is in its record and in the list of runs, and the launcher names it with its log."""
    launch = planned(store, splits=[1])
    launch.update(encoder="absent")
    with pytest.raises(UsageError):
        call(store, launch)
    known = launch.record(1).read()
    assert (known["state"], known["error"]) == (
        "failed",
        "the store has no features of encoder 'absent': there is noise",
    )
    with pytest.raises(UsageError, match=r"split 1 failed, failed: .*; its log is .*split-1\.log"):
        local._result(store, launch)


def test_a_limit_that_comes_before_the_training_ends_in_a_failure(store: Store) -> None:
    """A job that is warned again and again before its training began does not queue itself for ever."""
    launch = planned(store, splits=[1])
    the_task = Task(store=str(store.root), folder=str(launch.folder), split=1)
    launch.record(1).update(idle=2)
    assert the_task.checkpoint().function == the_task
    assert launch.record(1).read()["state"] == "requeued"
    launch.record(1).update(idle=3)
    with pytest.raises(UsageError, match="the time limit came 3 times before the training had begun"):
        the_task.checkpoint()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--launcher", "moon"], "--launcher 'moon': give none, local, slurm"),
        (["--jobs", "2"], "--jobs goes with --launcher local or slurm"),
        (["--slurm-time", "1"], "--slurm-time goes with --launcher slurm"),
        (["--slurm-cpus-per-task", "1", "--launcher", "local"], "--slurm-cpus-per-task goes with --launcher slurm"),
        (["--launcher", "slurm", "--slurm-time", "soon"], "--slurm-time 'soon': give a time such as 4:00:00"),
        (["--launcher", "slurm", "--slurm-opt", "array=1"], "--slurm-opt array=1: milstore sets array itself"),
        (["--launcher", "local", "--split", "9"], "--split 9: split set tiny has the splits 1, 2"),
        (["--launcher", "local", "--seed", "-1"], "--seed -1: give 0 or more"),
        (["--launcher", "local", "--encoder", "absent"], "absent"),
        (["--launcher", "local", "--device", "tpu"], "--device 'tpu': give auto, cpu, cuda"),
        (["--launcher", "local", "--checkpoint-minutes", "0"], "--checkpoint-minutes 0.0: give more than 0"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_launched(
    store: Store, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    """A wrong option is a line and exit 2, and leaves no folder behind."""
    assert main(["train", "--store", str(store.root), "--split", "1", *words]) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert (out, err.count("\n"), logs_folder(store).exists()) == ("", 1, False)


def test_resume_takes_no_launcher(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """An interrupted run is continued in this process."""
    assert main(["train", "--store", str(store.root), "--resume", "x", "--launcher", "local"]) == 2
    assert "leave --launcher out" in capsys.readouterr().err


def test_jobs_share_the_threads() -> None:
    """Trainings side by side compute with an equal share of the CPUs, and with one at least."""
    cpus = len(os.sched_getaffinity(0))
    assert (threads_each(1), threads_each(cpus), threads_each(10 * cpus)) == (cpus, 1, 1)


def test_less_than_one_job_is_refused(store: Store) -> None:
    """At least one split is trained at a time."""
    with pytest.raises(UsageError, match="--jobs 0: give 1 or more"):
        run_side_by_side(store, planned(store), 0)


def stop_after(monkeypatch: pytest.MonkeyPatch, *, epochs: int) -> None:
    """Have this process ask itself to stop, as SLURM would, after some epochs."""
    inner = task.Recorder.epoch

    def epoch(self: Any, row: Any, *, best: bool) -> None:
        inner(self, row, best=best)
        if row["epoch"] == epochs:
            os.kill(os.getpid(), signal.SIGUSR2)

    monkeypatch.setattr(task.Recorder, "epoch", epoch)
