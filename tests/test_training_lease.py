"""One lease a training: of all who are asked to train a split, one does, whatever the clocks say."""

import os
import shutil
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from milstore.errors import ConflictError, StoreError
from milstore.launching.planning import plan_launch
from milstore.launching.task import Task
from milstore.store import Store, lease
from milstore.store.doctor import check, repair
from milstore.store.lease import Lease, process_start, read_lease, write_lease
from milstore.store.run_reader import run_ids
from milstore.store.run_writer import begin_run, list_drafts
from milstore.store.training_lease import TrainingLease, lease_path, look, put_away
from milstore.training import train
from tests.forking import fork
from tests.holding import Held
from tests.launching import by_forks
from tests.test_survival_unfinished_runs import die_in
from tests.training_cohort import SMALL, tiny_store
from tests.trainings import SHORT, command, finished
from tests.waiting import wait_for

FACTS = {"experiment": "e", "split_set": "tiny", "split": 1, "seed": 0}
THEIRS = Lease(host="elsewhere", pid=7, started=1.0, token="theirs", heartbeat=0.0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return tiny_store(tmp_path / "store")


def claimed(store: Store, theirs: Lease = THEIRS, age: float = 0.0, facts: dict[str, Any] = FACTS) -> Path:
    """A lease that somebody else holds, renewed so many seconds ago."""
    path = lease_path(store, facts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(theirs.text())
    os.utime(path, (time.time() - age,) * 2)
    return path


class Clock:
    """Sleeps without taking time, and does something at the n-th second."""

    def __init__(self, at: int = 0, do: Any = lambda: None) -> None:
        self.slept, self.at, self.do = 0, at, do

    def __call__(self, seconds: float) -> None:
        """Sleep."""
        self.slept += round(seconds)
        if self.slept == self.at:
            self.do()


# --- who holds it -----------------------------------------------------------------------------------------------------


def test_one_training_has_one_holder(store: Store) -> None:
    """While it is held, nobody else gets it, and is told who holds it; another split, seed or experiment is free."""
    with TrainingLease(store, FACTS):
        with pytest.raises(
            ConflictError,
            match=rf"^split 1 of tiny, experiment e, seed 0 is being trained by process {os.getpid()} on .*: wait for it, or stop it$",
        ):
            TrainingLease(store, FACTS).__enter__()
        for other in ({"split": 2}, {"seed": 1}, {"experiment": "f"}, {"split_set": "other"}):
            with TrainingLease(store, {**FACTS, **other}):
                assert len(list((store.running / "leases").iterdir())) == 2
    assert list((store.running / "leases").iterdir()) == []


def test_of_many_at_the_same_moment_one_gets_it(store: Store) -> None:
    """Also where all of them take it over from one that died here."""
    for _ in range(20):
        claimed(store, replace(Lease.of_this_process("dead"), started=1.0))
        gate, won, lost = threading.Barrier(4), [], []

        def take(gate: threading.Barrier = gate, won: list[Any] = won, lost: list[Any] = lost) -> None:
            mine = TrainingLease(store, FACTS)
            gate.wait()
            try:
                won.append(mine.__enter__())
            except ConflictError as error:
                lost.append(error)

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(won), len(lost)) == (1, 3)
        assert not won[0].lost
        won[0].__exit__(None, None, None)


def test_what_was_taken_meanwhile_is_not_put_away(store: Store) -> None:
    """Who is late to remove a dead one's lease leaves that of who was sooner."""
    path = claimed(store)
    put_away(path, "another")
    seen = look(path)
    assert seen is not None
    assert seen.lease.token == "theirs"
    put_away(path, "theirs")
    assert not path.exists()


def test_a_holder_that_lost_it_writes_nothing_and_leaves_the_new_one(store: Store) -> None:
    """One that was suspended for long finds another's lease: it says so, and touches it no more."""
    with TrainingLease(store, FACTS) as held:
        held.check()
        held.path.unlink()
        path = claimed(store)
        assert held.lost
        with pytest.raises(
            StoreError, match="was taken over by process 7 on elsewhere: this process writes nothing more"
        ):
            held.check()
    assert path.read_text() == THEIRS.text()


def test_it_is_renewed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its mtime moves on while it is held, and its content does not change."""
    monkeypatch.setattr(lease, "RENEW_EVERY", 0.02)
    with TrainingLease(store, FACTS) as held:
        os.utime(held.path, (0, 0))
        before = held.path.read_text()
        wait_for(lambda: held.path.stat().st_mtime > 1e9, "a renewal")
        assert held.path.read_text() == before


# --- clocks -----------------------------------------------------------------------------------------------------------


def test_a_clock_that_is_ahead_takes_over_nobody(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a host's clock ten minutes ahead, or behind, a living trainer elsewhere is living: its disk's clock counts."""
    claimed(store, age=10)
    draft = begin_run(store, "r", {})
    write_lease(draft.folder, "t")
    theirs = draft.folder / "lease.json"
    theirs.write_text(replace(THEIRS, heartbeat=time.time()).text())
    real = time.time
    for shift in (600, -600):
        monkeypatch.setattr(time, "time", lambda shift=shift: real() + shift)
        with pytest.raises(ConflictError, match="process 7 on elsewhere"):
            TrainingLease(store, FACTS).__enter__()
        found = read_lease(draft.folder)
        assert found is not None
        assert not found.is_stale()


def test_where_the_disks_clock_jumped_a_change_is_waited_for(store: Store) -> None:
    """A lease that is past the limit is watched: one that is renewed while it is belongs to a living trainer."""
    path = claimed(store, age=600)
    clock = Clock(at=20, do=lambda: os.utime(path, (time.time() - 580,) * 2))
    with pytest.raises(ConflictError, match="process 7 on elsewhere"):
        TrainingLease(store, FACTS, sleep=clock).__enter__()
    assert clock.slept == 20


def test_one_that_does_not_change_is_taken_over(store: Store) -> None:
    """After half a minute in which it was not renewed; one within the limit is refused at once, or waited for."""
    claimed(store, age=lease.STALE_AFTER + 5)
    clock = Clock()
    with TrainingLease(store, FACTS, sleep=clock) as held:
        assert (clock.slept, held.lost) == (lease.WATCHED_FOR, False)
    path = claimed(store, age=lease.STALE_AFTER - 60)
    clock = Clock(at=40, do=lambda: os.utime(path, (0, 0)))
    with pytest.raises(ConflictError):
        TrainingLease(store, FACTS, sleep=clock).__enter__()
    assert clock.slept == 0


def test_a_dead_process_of_this_host_keeps_nobody_waiting(store: Store) -> None:
    """It would be seen: its lease is taken over at once, however young."""
    claimed(store, replace(Lease.of_this_process("dead"), pid=1 << 22))
    clock = Clock()
    with TrainingLease(store, FACTS, sleep=clock):
        assert clock.slept == 0


def test_a_job_that_is_queued_again_waits_for_nobody(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scheduler starts a job again when its first run is over: on another node it goes on at once, run and training."""
    before = replace(THEIRS, job="12_3", restart=0)
    claimed(store, before, age=3)
    draft = begin_run(store, "r", {})
    (draft.folder / "lease.json").write_text(replace(before, heartbeat=time.time()).text())
    for name, value in (("ARRAY_JOB_ID", "12"), ("ARRAY_TASK_ID", "3"), ("RESTART_COUNT", "0")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    with pytest.raises(ConflictError):
        TrainingLease(store, FACTS).__enter__()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    found = read_lease(draft.folder)
    assert found is not None
    assert found.is_gone()
    clock = Clock()
    with TrainingLease(store, FACTS, sleep=clock):
        assert clock.slept == 0


# --- trainings --------------------------------------------------------------------------------------------------------


def test_a_fresh_training_needs_it_too(store: Store) -> None:
    """While somebody trains a split, --fresh does not train it beside; afterwards it does."""
    wanted = {**FACTS, "experiment": "mine"}
    with TrainingLease(store, wanted):
        for fresh in (True, False):
            with pytest.raises(ConflictError, match="experiment mine, seed 0 is being trained by"):
                train(store, SMALL, 1, threads=1, experiment="mine", fresh=fresh)
        assert (run_ids(store), list_drafts(store)) == ([], [])
        train(store, SMALL, 2, threads=1, experiment="mine")
    train(store, SMALL, 1, threads=1, experiment="mine", fresh=True)
    assert len(run_ids(store)) == 2


def test_a_draft_of_before_goes_on(store: Store) -> None:
    """A run that was begun when there were no leases of trainings, and one in the hands of such a milstore."""
    draft = die_in(store)
    shutil.rmtree(store.running / "leases")
    write_lease(draft.folder, "t")
    with pytest.raises(ConflictError, match=f"run {draft.run_id} is being trained by"):
        train(store, SMALL, 1, threads=1)
    (draft.folder / "lease.json").unlink()
    assert train(store, SMALL, 1, threads=1).run_id == draft.run_id


def test_a_task_does_not_train_what_was_finished_since_it_was_launched(store: Store) -> None:
    """What the processes of a launcher that was killed have ended is the run of the next launch too."""
    launch = plan_launch(store, SMALL, None, launcher="local", threads=1, experiment="again")
    assert launch is not None
    run_id = train(store, SMALL, 1, threads=1, experiment="again").run_id
    task = Task(store=str(store.root), folder=str(launch.folder), split=1)
    assert task() == run_id
    assert run_ids(store) == [run_id]
    assert launch.record(1).read()["state"] == "done"


def test_a_launcher_that_is_killed_and_given_again_trains_each_split_once(store: Store, tmp_path: Path) -> None:
    """Its processes stop at a checkpoint and end with it, and the same command goes on with the runs that they began."""
    words = ("--split", "all", "--launcher", "local", "--jobs", "2")
    work, held = by_forks(command(store.root, "killed", *words, config=SHORT)), Held(tmp_path / "killed")
    first = held.begun(tmp_path, work)
    wait_for(lambda: len(list_drafts(store)) == 2, "both splits to begin")
    drafts = {draft.run_id for draft in list_drafts(store)}
    processes = {found.pid for draft in list_drafts(store) if (found := read_lease(draft.folder)) is not None}
    first.send(signal.SIGKILL)
    first.wait()
    held.let_go()
    again = fork(tmp_path, work)
    assert again.wait() == 0, again.text()
    assert set(finished(store, "killed")) == drafts
    assert (len(drafts), list_drafts(store)) == (2, [])
    wait_for(lambda: all(process_start(pid) is None for pid in processes), "the first ones to end", 30)
    assert check(store) == []


def test_two_at_once_train_a_split_once(store: Store, tmp_path: Path) -> None:
    """The same command twice at the same moment: one trains, the other is refused by its name."""
    held = Held(tmp_path / "twice")
    both = [fork(tmp_path, held.held(command(store.root, "twice", config=SHORT))) for _ in range(2)]
    wait_for(lambda: any(child.ended() for child in both), "one to be refused")
    held.let_go()
    codes = sorted(child.wait() for child in both)
    assert codes == [0, 2], "".join(child.text() for child in both)
    assert len(finished(store, "twice")) == 1


def test_the_lease_of_a_dead_training_is_left_over_and_removed(store: Store) -> None:
    """Where nothing is left to go on with, doctor --repair removes it; a living one, and one of an unfinished run, stay."""
    path = claimed(store, replace(Lease.of_this_process("dead"), started=1.0))
    half = path.with_name(f".{path.name}.x.tmp")
    half.write_text("{")
    with TrainingLease(store, {**FACTS, "seed": 5}) as held:
        found = check(store, young=0)
        assert {(each.kind, each.where) for each in found} == {
            ("leftover", f"running/leases/{each.name}") for each in (path, half)
        }
        assert repair(store, found) == found
        assert (path.exists(), half.exists(), held.lost) == (False, False, False)
    assert check(store, young=0) == []
