"""What became of every run: waiting, running, interrupted, failed or done."""

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from milstore.cli.main import main
from milstore.errors import StoreError
from milstore.launching.queue import patient
from milstore.launching.records import Launch, Process, begin_launch, launches, read_launch
from milstore.launching.states import RunState, follow, states
from milstore.store import Store
from milstore.store.lease import write_lease
from milstore.store.run_draft import RunDraft
from milstore.store.run_writer import begin_run

FACTS = {
    "launcher": "slurm",
    "experiment": "new",
    "split_set": "three",
    "encoder": "e",
    "seed": 0,
    "splits": [1, 2],
    "pooling": "flat",
    "epochs": 30,
    "config": "{}",
    "options": {},
}
DEAD = {"host": os.uname().nodename, "pid": 1 << 22, "started": 1.0}


def no_queue(jobs: Iterable[str]) -> None:
    """SLURM cannot be asked."""


def queue(**jobs: str) -> Callable[[Iterable[str]], dict[str, str]]:
    """SLURM's answer: the state of job 7_0 is that of _7_0."""
    return lambda _: {name.removeprefix("_"): state for name, state in jobs.items()}


def launched(store: Store, *, jobs: bool = True, **facts: Any) -> Launch:
    """A launch of splits 1 and 2 as the jobs 7_0 and 7_1, by a process that has ended."""
    launch = begin_launch(store, {**FACTS, **facts}).update(submitter=DEAD)
    return launch.update(jobs={"1": "7_0", "2": "7_1"}) if jobs else launch


def draft(store: Store, run_id: str, **facts: Any) -> RunDraft:
    """A run that has trained two of its five epochs."""
    config = json.dumps({"epochs": 5})
    about = {"experiment": "new", "split_set": "three", "split": 1, "seed": 0, "pooling": "flat", "restarts": 1}
    begun = begin_run(
        store, run_id, {**about, "config": config, "config_version": 2, "started_at": "2026-01-02T03:04:05", **facts}
    )
    for epoch, loss in ((1, 0.5), (2, 0.75)):
        begun.append_epoch({"epoch": epoch, "val_loss": loss, "seconds": 10.0 * epoch})
    return begun


def unfinished(store: Store, ask: Any = no_queue) -> list[RunState]:
    return [row for row in states(store, ask=ask) if row.state != "done"]


def short(rows: list[RunState]) -> list[tuple[Any, ...]]:
    return [(row.state, row.run_id, row.split, row.job_id, row.note) for row in rows]


def test_finished_runs_are_done(three: Store) -> None:
    """A finished run says so, with its epochs, restarts and job; SLURM is not asked."""
    rows = states(three, ask=lambda _: pytest.fail("nothing is in the queue"))
    assert [(row.state, row.run_id, row.split, row.note, row.eta_seconds) for row in rows] == [
        ("done", "exp-s1-0", 1, "", None),
        ("done", "exp-s2-0", 2, "", None),
        ("done", "exp-s3-0", 3, "", None),
    ]
    assert all(row.epoch == row.epochs > 0 for row in rows)


def test_a_run_with_a_living_lease_is_running(three: Store) -> None:
    """How far it is, and how long the rest will take at most, at the pace of its last epochs."""
    begun = draft(three, "new-1")
    write_lease(begun.folder, "token")
    (row,) = unfinished(three)
    assert row == RunState(
        state="running",
        run_id="new-1",
        experiment="new",
        split_set="three",
        split=1,
        seed=0,
        pooling="flat",
        epoch=2,
        epochs=5,
        eta_seconds=45.0,
        best_epoch=1,
        seconds=30.0,
        restarts=1,
        job_id=None,
        since="2026-01-02T03:04:05",
        note=f"process {os.getpid()} on {os.uname().nodename}",
    )


def test_a_run_that_nobody_trains_is_interrupted(three: Store) -> None:
    """Without a lease, or with a dead process's, a run is interrupted, and its note is the command that goes on."""
    draft(three, "new-1")
    begun = draft(three, "new-2", split=2)
    lease = write_lease(begun.folder, "token")
    (begun.folder / "lease.json").write_text(
        json.dumps({"host": lease.host, "token": "t", "heartbeat": lease.heartbeat, "pid": 1 << 22, "started": 1.0})
    )
    assert short(unfinished(three)) == [
        ("interrupted", "new-1", 1, None, f"milstore train --resume new-1 --store {three.root}"),
        ("interrupted", "new-2", 2, None, f"milstore train --resume new-2 --store {three.root}"),
    ]


def test_submitted_jobs_wait_until_they_begin(three: Store) -> None:
    """A job in the queue is waiting; one that runs without a run yet is beginning; one that is gone has failed."""
    launch = launched(three)
    before = f"it ended before its training began: see {launch.folder}"
    assert short(unfinished(three, queue(_7_0="PENDING", _7_1="RUNNING"))) == [
        ("waiting", None, 1, "7_0", "in SLURM's queue"),
        ("running", None, 2, "7_1", "job 7_1 begins"),
    ]
    assert short(unfinished(three, queue(_7_1="CONFIGURING"))) == [
        ("failed", None, 1, "7_0", before),
        ("running", None, 2, "7_1", "job 7_1 begins"),
    ]
    assert [row.state for row in unfinished(three)] == ["waiting", "waiting"]


def test_a_task_that_failed_says_why(three: Store) -> None:
    """The error that a task wrote down is the run's note, with a run or without."""
    launch = launched(three)
    draft(three, "new-1")
    launch.record(1).update(state="failed", error="the loss is nan", run_id="new-1")
    launch.record(2).update(state="failed", error="there is no GPU")
    assert short(unfinished(three, queue())) == [
        ("failed", "new-1", 1, "7_0", "the loss is nan"),
        ("failed", None, 2, "7_1", "there is no GPU"),
    ]


def test_a_job_that_was_queued_again_waits(three: Store) -> None:
    """Between two time limits a run waits, with its epochs; cancelled then, it is interrupted and can be continued."""
    launch = launched(three, splits=[1])
    draft(three, "new-1")
    launch.record(1).update(state="requeued", run_id="new-1")
    (row,) = unfinished(three, queue(_7_0="PENDING"))
    assert (row.state, row.epoch, row.job_id, row.note) == ("waiting", 2, "7_0", "queued again, goes on by itself")
    (row,) = unfinished(three, queue())
    assert (row.state, row.note) == ("interrupted", f"milstore train --resume new-1 --store {three.root}")


def test_processes_of_this_machine_are_asked_after(three: Store) -> None:
    """Without SLURM, a living process runs its split, and a living launcher keeps the others waiting."""
    launch = launched(three, jobs=False, launcher="local")
    launch.record(1).update(state="running", **Process.this().facts())
    me = f"process {os.getpid()} on {os.uname().nodename}"
    failed = f"it ended before its training began: see {launch.folder}"
    assert short(unfinished(three)) == [("running", None, 1, None, me), ("failed", None, 2, None, failed)]
    launch.update(submitter=Process.this().facts())
    launch.record(1).update(state="running", **DEAD)
    assert short(unfinished(three)) == [("failed", None, 1, None, failed), ("waiting", None, 2, None, f"for {me}")]


def test_a_split_that_was_trained_since_is_not_told_of(three: Store) -> None:
    """A launch that came to nothing is forgotten when its split was launched again, or trained in another way."""
    launched(three, experiment="exp").update(submitted_at="2000-01-01T00:00:00")
    assert unfinished(three, queue()) == []
    launched(three)
    again = launched(three, splits=[1]).update(jobs={"1": "8"}, submitted_at="9999-01-01T00:00:00")
    assert {(row.split, row.job_id) for row in unfinished(three, queue(_8="PENDING"))} == {(1, "8"), (2, "7_1")}
    assert again.jobs == {1: "8"}


def test_a_broken_launch_is_passed_over(three: Store) -> None:
    """A launch whose description is broken hides no run; asked for by itself it is named."""
    launch = launched(three)
    (launch.folder / "launch.json").write_text("{")
    assert (list(launches(three)), unfinished(three)) == ([], [])
    with pytest.raises(StoreError, match=r"launch\.json cannot be read"):
        read_launch(launch.folder)


def test_nobody_else_can_put_a_pickle_into_a_launch(three: Store) -> None:
    """Whatever the group's umask, the folder of a launch is its owner's to write, and cannot be swapped for another."""
    before = os.umask(0o002)
    try:
        launch = launched(three)
    finally:
        os.umask(before)
    assert launch.folder.stat().st_mode & 0o022 == 0
    assert launch.folder.parent.stat().st_mode & 0o1000


def test_following_ends_when_nothing_goes_on(three: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Snapshots come until the last waiting or running run has ended; a run finished on the way is among them."""
    begun = draft(three, "new-1")
    write_lease(begun.folder, "token")
    monkeypatch.setattr("milstore.launching.states.time.sleep", lambda _: (begun.folder / "lease.json").unlink())
    assert [[(row.state, row.run_id) for row in rows] for rows in follow(three, interval=0.1)] == [
        [("running", "new-1")],
        [("interrupted", "new-1")],
    ]


def test_slurm_is_asked_after_the_same_jobs_once_in_a_while() -> None:
    """A watcher with a short interval does not burden the cluster; other jobs are asked after at once."""
    asked: list[list[str]] = []
    ask = patient(lambda jobs: asked.append(sorted(jobs)) or {}, seconds=60)  # type: ignore[func-returns-value]
    for jobs in (["1"], ["1"], ["1", "2"], ["1", "2"]):
        assert ask(jobs) == {}
    assert asked == [["1"], ["1", "2"]]


def test_list_tells_every_state(three: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """The command shows them all, in every format, and says how an interrupted run goes on."""
    draft(three, "new-1")
    store = ["--store", str(three.root)]
    assert main(["runs", "list", *store]) == 0
    out, err = capsys.readouterr()
    last = out.splitlines()[-1].split()
    assert (last[0], last[-7:]) == ("new-1", ["interrupted,", "epoch", "2", "of", "5,", "45", "s", "left"][-7:])
    assert err == f"interrupted: new-1: milstore train --resume new-1 --store {three.root}\n"
    assert main(["runs", "list", "-f", "csv", *store]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].startswith("state,run_id,experiment,split_set,split,seed,pooling,epoch,epochs,eta_seconds,")
    assert [row.split(",")[0] for row in rows[1:]] == ["done", "done", "done", "interrupted"]


def test_parquet_of_the_states(three: Store, tmp_path: Path) -> None:
    """The list goes into a Parquet file, as every answer does."""
    import pyarrow.parquet as pq

    path = tmp_path / "runs.parquet"
    assert main(["runs", "list", "-f", "parquet", "-o", str(path), "--store", str(three.root)]) == 0
    assert pq.read_table(path)["run_id"].to_pylist() == ["exp-s1-0", "exp-s2-0", "exp-s3-0"]


def test_watch_prints_lines_where_there_is_no_terminal(
    three: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line for each change of a run, and the command ends with the last one."""
    begun = draft(three, "new-1")
    write_lease(begun.folder, "token")
    looks = iter([lambda: None, (begun.folder / "lease.json").unlink])
    monkeypatch.setattr("milstore.launching.states.time.sleep", lambda _: next(looks)())
    assert main(["runs", "watch", "--store", str(three.root), "--interval", "0.1"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "running: new-1: epoch 2 of 5, 45 s left at most",
        f"interrupted: new-1: milstore train --resume new-1 --store {three.root}",
    ]
