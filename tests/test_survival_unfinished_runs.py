"""Who may write to an unfinished run, what another training finds, and what is left of a death."""

import json
import os
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from torch import Tensor

from milstore.errors import ConflictError, Interrupted, StoreError, UsageError
from milstore.store import Store, doctor, lease
from milstore.store.cohort_edit import edit_cohort
from milstore.store.commit import commit_run
from milstore.store.findings import DAMAGE, LEFTOVER, NOTE
from milstore.store.lease import Hold, Lease, lease_file, read_lease, refuse_if_alive, write_lease
from milstore.store.run_draft import RunDraft
from milstore.store.run_reader import run_ids
from milstore.store.run_writer import begin_run, claim_draft, list_drafts, open_draft
from milstore.training import resume, train, train_all
from milstore.training.checkpoint import read_checkpoint
from milstore.training.loop import CHECKPOINT_FORMAT
from tests.making import RUN_FACTS, levels
from tests.spoiling import PICKLE, tensor
from tests.test_training_runs import Killed, Notes, Strike, assert_same_numbers, die, facts, strike
from tests.training_cohort import SMALL, tiny_store
from tests.trainings import twin_of
from tests.waiting import wait_for

EPOCH = {
    "epoch": 1, "train_loss": 1.0, "train_accuracy": 1.0, "val_loss": 1.0, "val_accuracy": 1.0,
    "learning_rate": 1.0, "seconds": 1.0,
}  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return tiny_store(tmp_path / "store")


def commit(draft: RunDraft) -> None:
    """Commit a run of one case."""
    prediction = {"case_id": "2", "subset": "test", "true_label": 0, "pred_label": 0, "p_true": 1.0, "error": 0.0}
    place = {"case_id": "2", "stain": "h&e", "slice_idx": 0, "subset": "test"}
    commit_run(
        draft,
        dict(RUN_FACTS),
        epochs=pa.Table.from_pylist([EPOCH]),
        predictions=pa.Table.from_pylist([prediction]),
        probabilities=pa.table({"case_id": ["2", "2"], "label": [0, 1], "probability": [1.0, 0.0]}),
        attention=levels({("2", "h&e", 0, 3): 1.0}),
        coverage=pa.Table.from_pylist([{**place, "existing": 4, "with_feature": 1, "trained": 0, "evaluated": 1}]),
        weights=lambda path: path.write_bytes(b"weights") and None,
    )


def elsewhere(draft: RunDraft, age: float = 0.0) -> Lease:
    """Let a trainer on another host claim a draft."""
    theirs = Lease(host="elsewhere", pid=7, started=1.0, token="t", heartbeat=time.time() - age)
    lease_file(draft.folder).write_text(theirs.text())
    os.utime(lease_file(draft.folder), (time.time() - age,) * 2)
    return theirs


def die_in(store: Store, after: int = 8, split: int = 1, **options: Any) -> RunDraft:
    """A training that died after some cases."""
    with pytest.raises(Killed):
        train(store, SMALL, split, **{"threads": 1, **options}, watcher=Strike(after, die))
    (draft,) = list_drafts(store)
    return draft


# --- the lease --------------------------------------------------------------------------------------------------------


def test_whoever_lost_a_run_can_write_to_it_no_more(store: Store) -> None:
    """After a takeover the old writer's epoch, checkpoint, facts and commit are refused in one line that names the owner."""
    old = begin_run(store, "r", {"a": 1})
    new, token = claim_draft(old)
    assert new.folder.name == f"r~{token}"
    assert (open_draft(store, "r"), new.facts) == (new, {"a": 1})
    attempts = [
        lambda: old.append_epoch(EPOCH),
        lambda: old.write_checkpoint(lambda path: path.write_bytes(b"x") and None),
        lambda: old.update_facts(a=2),
        lambda: commit(old),
    ]
    for attempt in attempts:
        with pytest.raises(StoreError) as lost:
            attempt()
        assert str(lost.value) == (
            f"run r was taken over by process {os.getpid()} on {os.uname().nodename} and goes on there: "
            "this process writes nothing more"
        )
    assert sorted(path.name for path in new.folder.iterdir()) == ["draft.json", f"lease~{token}.json"]
    commit(new)
    for attempt in attempts:
        with pytest.raises(StoreError, match="was taken over and finished by another process"):
            attempt()
    assert (run_ids(store), list_drafts(store)) == (["r"], [])


def test_a_run_is_taken_over_once(store: Store) -> None:
    """Of two that found the same stale run, the second to rename is told that it is gone."""
    begin_run(store, "r", {})
    first, second = open_draft(store, "r"), open_draft(store, "r")
    claim_draft(first)
    with pytest.raises(ConflictError, match="run r was taken over by another process a moment ago: leave it that"):
        claim_draft(second)


def test_a_living_trainer_is_not_disturbed(store: Store) -> None:
    """A claim of a process that lives on this host is refused, however old its heartbeat is."""
    draft = begin_run(store, "r", {}, token="t")
    before = lease_file(draft.folder).read_text()
    lease_file(draft.folder).write_text(json.dumps({**json.loads(before), "heartbeat": 0.0, "unknown": "field"}))
    with pytest.raises(ConflictError, match=f"run r is being trained by process {os.getpid()} on .*: wait for it"):
        claim_draft(draft)
    lease_file(draft.folder).write_text(json.dumps({**json.loads(before), "started": 1.0}))
    assert claim_draft(draft)[0].is_taken_over


def test_a_host_of_the_same_name_is_another_host(store: Store) -> None:
    """A process of another boot, or of a container of the same name, cannot be looked for here: its heartbeat counts."""
    draft = begin_run(store, "r", {}, token="t")
    of = json.loads(lease_file(draft.folder).read_text())
    assert not Lease(**{**of, "namespace": "other", "pid": 2**22}).is_stale()
    assert Lease(**{**of, "namespace": "other", "age": lease.STALE_AFTER + 1}).is_stale()
    assert Lease(**{**of, "pid": 2**22}).is_stale()


def test_a_trainer_elsewhere_is_watched_until_it_renews_or_is_stale(store: Store) -> None:
    """A renewed lease refuses; one that is not renewed gives way when it is stale; without patience it refuses at once."""
    draft = begin_run(store, "r", {})
    elsewhere(draft, age=30)
    with pytest.raises(ConflictError, match="run r is being trained by process 7 on elsewhere"):
        refuse_if_alive(draft.folder)
    slept: list[float] = []

    def renew(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 5:
            elsewhere(draft)

    with pytest.raises(ConflictError, match="process 7 on elsewhere"):
        refuse_if_alive(draft.folder, wait=lambda _: True, sleep=renew)
    assert len(slept) == 5

    aged: list[float] = []

    def grow_old(seconds: float) -> None:
        aged.append(seconds)
        os.utime(lease_file(draft.folder), (time.time() - lease.STALE_AFTER - 1,) * 2)

    elsewhere(draft, age=30)
    refuse_if_alive(draft.folder, wait=lambda _: True, sleep=grow_old)
    assert sum(aged) == lease.WATCHED_FOR


def test_a_hold_renews_and_gives_up(store: Store) -> None:
    """While it is held, the heartbeat moves on; afterwards nobody claims the run."""
    draft = begin_run(store, "r", {}, token="t")
    first = read_lease(draft.folder)
    assert first is not None
    with Hold(draft.folder, "t", every=0.02) as hold:
        wait_for(lambda: read_lease(draft.folder) not in (first, None), "a heartbeat")
        renewed = read_lease(draft.folder)
        assert renewed is not None
        assert replace(renewed, heartbeat=first.heartbeat) == first
        assert (renewed.heartbeat > first.heartbeat, hold.lost) == (True, False)
    assert read_lease(draft.folder) is None
    assert "lease" not in [thread.name for thread in threading.enumerate()]


def test_a_hold_notices_a_takeover(store: Store) -> None:
    """Whoever holds a run that was taken over knows it after the next heartbeat, and its end leaves the new lease alone."""
    draft = begin_run(store, "r", {})
    taken = draft.folder.with_name("r~1234")
    with Hold(draft.folder, "t", every=0.02) as hold:
        draft.folder.rename(taken)
        write_lease(taken, "1234")
        wait_for(lambda: hold.lost, "the hold to notice")
        assert hold.lost
    theirs = read_lease(taken)
    assert theirs is not None
    assert (theirs.token, draft.folder.exists()) == ("1234", False)


def test_a_renewal_is_cheap(store: Store) -> None:
    """A renewal, three of which come a minute, takes milliseconds: it waits for no disk."""
    draft = begin_run(store, "r", {})
    seconds = []
    for _ in range(20):
        started = time.perf_counter()
        write_lease(draft.folder, "t")
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.01


# --- what another training finds --------------------------------------------------------------------------------------


def test_the_same_call_continues_its_own_unfinished_run(store: Store) -> None:
    """A training finds its unfinished run by configuration, split and seed, says so, and ends as its twin."""
    twin = twin_of(SMALL)
    draft, notes = die_in(store), Notes()
    for other in ({"seed": 1}, {"config": replace(SMALL, lr=0.5)}, {"experiment": "other"}):
        assert train(store, **{"config": SMALL, "split": 1, "threads": 1, **other}).run_id != draft.run_id
    result = train(store, SMALL, 1, threads=3, watcher=notes)
    assert (result.run_id, facts(result)["restarts"], facts(result)["threads"]) == (draft.run_id, 1, 1)
    assert (
        f"note: unfinished run {draft.run_id} goes on, with threads 1 as it began; --fresh begins another"
        in notes.notes
    )
    assert_same_numbers(result, twin)


def test_fresh_begins_another_run(store: Store) -> None:
    """--fresh leaves the unfinished run where it is, and says so."""
    draft, notes = die_in(store), Notes()
    result = train(store, SMALL, 1, threads=1, fresh=True, watcher=notes)
    assert result.run_id != draft.run_id
    assert [each.run_id for each in list_drafts(store)] == [draft.run_id]
    assert notes.notes == [
        f"note: unfinished run {draft.run_id} is of this split and seed; another is trained beside it"
    ]
    assert_same_numbers(train(store, SMALL, 1, threads=1), result)


def test_the_newest_free_run_is_continued(store: Store) -> None:
    """With one run in training and an interrupted one, the interrupted one goes on; with the first alone it is refused."""
    first = die_in(store)
    write_lease(first.folder, "t")
    with pytest.raises(ConflictError, match=f"run {first.run_id} is being trained by .*: wait for it, or stop it"):
        train(store, SMALL, 1, threads=1)
    with pytest.raises(Killed):
        train(store, SMALL, 1, threads=1, fresh=True, watcher=Strike(3, die))
    (second,) = (draft for draft in list_drafts(store) if draft.run_id != first.run_id)
    assert train(store, SMALL, 1, threads=1).run_id == second.run_id


def test_a_wait_for_another_host_can_be_interrupted(store: Store) -> None:
    """A signal ends the wait for a trainer that may be dead, with exit 75."""
    draft = die_in(store)
    elsewhere(draft)

    class Impatient(Notes):
        def note(self, text: str) -> None:
            super().note(text)
            if "waiting to see" in text:
                strike(15)()

    notes = Impatient()
    with pytest.raises(Interrupted, match="stopped while waiting for process 7 on elsewhere"):
        train(store, SMALL, 1, threads=1, watcher=notes)
    assert f"note: waiting to see whether process 7 on elsewhere still trains run {draft.run_id}" in notes.notes


def test_other_data_is_not_trained_on_unasked(store: Store) -> None:
    """After labels were corrected, an unfinished run is neither continued nor passed over in silence."""
    draft = die_in(store)
    with edit_cohort(store) as edit:
        rows = edit.table("cases").to_pylist()
        rows[8] |= {"label": 1 - rows[8]["label"]}
        names = {0: "benign", 1: "high-grade"}
        edit.replace("cases", pa.Table.from_pylist([{**row, "class_name": names[row["label"]]} for row in rows]))
    with pytest.raises(ConflictError) as refused:
        train(store, SMALL, 1, threads=1)
    assert str(refused.value) == (
        f"unfinished run {draft.run_id} began with other cases or labels than the store has now: "
        f"continue it as it began by --resume {draft.run_id}, or begin another run by --fresh"
    )
    assert resume(store, draft.run_id).run_id == draft.run_id


def test_all_splits_are_completed_not_repeated(store: Store) -> None:
    """--split all, called again after it was stopped, trains what is missing; --fresh trains all again."""
    with pytest.raises(Interrupted, match="stopped between two splits: 2 still to be trained"):
        train_all(store, SMALL, threads=1, watcher=Strike(18, strike(2)))
    notes = Notes()
    (second,) = train_all(store, SMALL, threads=1, watcher=notes)
    (first,) = (run_id for run_id in run_ids(store) if run_id != second.run_id)
    assert second.split == 2
    assert notes.notes == [f"note: split 1 is finished, run {first}; --fresh trains it again"]
    assert train_all(store, SMALL, threads=1) == []
    assert [result.split for result in train_all(store, SMALL, threads=1, fresh=True)] == [1, 2]


# --- checkpoints ------------------------------------------------------------------------------------------------------


def test_checkpoints_within_an_epoch(store: Store) -> None:
    """With --checkpoint-minutes nearly 0 a death costs one case; by default it costs the epoch."""
    positions = []
    for minutes in (1e-9, 10.0):
        draft = die_in(store, after=10, checkpoint_minutes=minutes)
        state = read_checkpoint(draft, torch.device("cpu"))
        assert state is not None
        positions.append((len(state["history"]), state["position"]))
        draft.remove()
    assert positions == [(1, 3), (1, 0)]
    twin = twin_of(SMALL)
    die_in(store, after=10, checkpoint_minutes=1e-9)
    assert_same_numbers(train(store, SMALL, 1, threads=1), twin)
    with pytest.raises(UsageError, match="--checkpoint-minutes 0: give more than 0"):
        train(store, SMALL, 1, checkpoint_minutes=0)


def test_a_checkpoint_holds_plain_values_and_tensors(store: Store) -> None:
    """Everything that going on depends on, in types that a file from a stranger may be loaded with."""
    state = read_checkpoint(die_in(store), torch.device("cpu"))
    assert state is not None
    assert set(state) == {
        "format", "model", "optimizer", "scheduler", "position", "gradients", "logits", "epoch_seconds", "history",
        "best_epoch", "best_weights",
    }  # fmt: skip

    def kinds(value: Any) -> set[type]:
        if isinstance(value, dict):
            return set().union(*(kinds(each) for each in (*value.keys(), *value.values())))
        if isinstance(value, list | tuple):
            return set().union(*(kinds(each) for each in value))
        return {type(value)}

    assert kinds(state) <= {str, int, float, bool, type(None), Tensor}


@pytest.mark.parametrize("damage", ["a pickle", "empty", "a bit", "cut", "other", "no state"])
def test_a_damaged_checkpoint_is_named_and_not_gone_on_from(store: Store, damage: str) -> None:
    """Whatever stands in a checkpoint, it is never run, never taken for right, and the doctor says what to do."""
    draft = die_in(store)
    path = draft.checkpoint_path
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        largest = archive.read(max(archive.infolist(), key=lambda entry: entry.file_size))
    # Within what is stored: between the entries are bytes that stand for nothing.
    data[data.find(largest) + len(largest) // 2] ^= 1
    made = {
        "a pickle": PICKLE,
        "empty": b"",
        "a bit": bytes(data),
        "cut": bytes(data[: len(data) // 2]),
        "other": tensor({"format": CHECKPOINT_FORMAT, "model": {}}),
        "no state": tensor([1, 2]),
    }
    path.write_bytes(made[damage])
    found = [(each.kind, each.where) for each in doctor.check(store)]
    assert ((DAMAGE, f"running/{draft.folder.name}/checkpoint.pt") in found) == (damage not in ("other", "no state"))
    with pytest.raises(StoreError, match=r"checkpoint\.pt cannot be read \(.*\): train that split anew by --fresh$"):
        train(store, SMALL, 1, threads=1)
    assert train(store, SMALL, 1, threads=1, fresh=True).run_id in run_ids(store)


def test_a_full_disk_is_one_line_and_keeps_the_last_checkpoint(store: Store) -> None:
    """What torch says of a disk that is full is the disk's own word, and the run can go on later."""
    twin = twin_of(SMALL)
    real, left = torch.save, [2]

    def full(state: Any, stream: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            with Path("/dev/full").open("wb") as stream:
                real(state, stream)
        real(state, stream)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(StoreError) as refused:
        patch.setattr(torch, "save", full)
        train(store, SMALL, 1, threads=1)
    (draft,) = list_drafts(store)
    assert str(refused.value) == (
        f"run {draft.run_id}: the checkpoint cannot be written (No space left on device); what was written before is kept"
    )
    assert_same_numbers(train(store, SMALL, 1, threads=1), twin)


# --- what is left of a death ------------------------------------------------------------------------------------------


def test_a_run_killed_after_its_commit_is_finished(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies in running/ of a run that was committed is no unfinished run: resume says so, the doctor names it."""
    monkeypatch.setattr(RunDraft, "remove", lambda _: None)
    result = train(store, SMALL, 1, threads=1)
    monkeypatch.undo()
    left = store.running / result.run_id
    assert left.is_dir()
    assert list_drafts(store) == []
    with pytest.raises(UsageError, match=f"run {result.run_id} is finished: there is nothing to continue"):
        resume(store, result.run_id)
    found = [(each.kind, each.where) for each in doctor.check(store)]
    assert (LEFTOVER, f"running/{result.run_id}") in found
    doctor.repair(store, doctor.check(store))
    assert (left.exists(), run_ids(store)) == (False, [result.run_id])


def test_the_doctor_names_unfinished_runs_by_their_id(store: Store) -> None:
    """A run that was taken over and died keeps its id in the doctor's mouth; unfinished runs are never leftovers."""
    draft = die_in(store)
    with pytest.raises(Killed):
        resume(store, draft.run_id, watcher=Strike(2, die))
    (again,) = list_drafts(store)
    assert again.is_taken_over
    (finding,) = (each for each in doctor.check(store, young=0) if each.where.startswith("running/"))
    assert (finding.kind, finding.where) == (NOTE, f"running/{again.folder.name}")
    this = f"{draft.run_id} --store {store.root}"
    assert (
        finding.repair
        == f"continue it with milstore train --resume {this}, or remove it by milstore runs delete {this}"
    )
    doctor.repair(store, doctor.check(store, young=0))
    assert list_drafts(store) == [again]
    (again.folder / "draft.json").write_text("{")
    assert (DAMAGE, f"running/{again.folder.name}/draft.json") in [
        (each.kind, each.where) for each in doctor.check(store, young=0)
    ]
