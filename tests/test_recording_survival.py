"""A recording that ends before its time: what was given is kept, shown, gone on with, or removed, and nothing else is there."""

import json
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import milstore
from milstore.cli.main import main
from milstore.errors import ConflictError, DataError, StoreError, UsageError
from milstore.store import Store
from milstore.store.doctor import check
from milstore.store.lease import read_lease
from milstore.store.run_reader import read_run, run_ids
from milstore.store.run_writer import claim_draft, list_drafts
from milstore.training import resume, train
from tests.forking import done, fork
from tests.recording import CHANCES, PATCHES_46, WHAT, recorded, rows, split_store
from tests.training_cohort import SMALL, tiny_store
from tests.waiting import wait_for


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return split_store(tmp_path / "store")


class BrokenError(Exception):
    """What a trainer may raise."""


def broken(store: Store, **changes: Any) -> str:
    """A recording in whose block something fails. Its id."""
    with pytest.raises(BrokenError), recorded(store, **changes) as run:
        run.epoch(1, train_loss=0.7)
        run.attention("46", PATCHES_46, [0.25, 0.5, 0.25])
        raise BrokenError("out of\nmemory")
    return run.run_id


def test_an_exception_leaves_an_unfinished_run(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """`runs list` and the doctor show it and say how to go on; no run is there, and `runs delete` removes it."""
    run_id = broken(store)
    assert (run_ids(store), [draft.run_id for draft in list_drafts(store)]) == ([], [run_id])
    where = ["--store", str(store.root)]
    assert main(["runs", "list", *where]) == 0
    said = capsys.readouterr()
    goes_on = "recorded by another trainer: record(…) of the same experiment, split and seed goes on"
    assert f"interrupted: {run_id}: BrokenError: out of memory; {goes_on}" in said.err
    assert "interrupted" in said.out
    (note,) = check(store)
    assert (note.kind, note.what) == ("note", "failed: BrokenError: out of memory")
    assert note.repair.startswith("record(…) of the same experiment, split and seed goes on with it, or remove it by")
    assert main(["runs", "delete", run_id, "--yes", *where]) == 0
    assert (list_drafts(store), check(store)) == ([], [])


def test_the_same_call_goes_on(store: Store) -> None:
    """What was given is still there, what is given again takes its place, and the run is one run."""
    run_id = broken(store)
    with milstore.open(store.root).record(**WHAT) as run:
        run.prediction("46", [0.5, 0.5])
        run.epoch(2, train_loss=0.6)
    assert run.run_id == run_id
    assert [(r["epoch"], r["train_loss"]) for r in rows(run, "epochs")] == [(1, 0.7), (2, 0.6)]
    assert {r["case_id"]: r["p_true"] for r in rows(run, "predictions")} == {"2": 0.9, "10": 0.3, "46": 0.5}
    assert [r["patch_idx"] for r in rows(run, "attention")] == [5, 1, 9]
    assert read_run(store, run_id)["restarts"] == 1
    assert (list_drafts(store), check(store)) == ([], [])


def recording(store: Store, calls: int = -1) -> None:
    """Record a run; killed, where that is said, after so many calls."""
    left = [calls]

    def call(what: Callable[..., Any], *args: Any, **options: Any) -> None:
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        what(*args, **options)

    with milstore.open(store.root).record(**WHAT) as run:
        for case_id, chances in CHANCES.items():
            call(run.prediction, case_id, chances)
        call(run.epoch, 1, train_loss=0.7)
        call(run.attention, "46", PATCHES_46, [0.25, 0.5, 0.25])
        call(run.scores, "46", PATCHES_46, {"cam": [1, 2, 3]})
        call(lambda: None)


@pytest.mark.parametrize("calls", [0, 2, 4, 6])
def test_a_killed_recording_goes_on(tmp_path: Path, store: Store, calls: int) -> None:
    """Killed between two calls, everything that was given before is there, and the same call finishes the run."""
    assert fork(tmp_path, partial(recording, store, calls)).wait() == -signal.SIGKILL
    (draft,) = list_drafts(store)
    kept = [len(list(draft.folder.glob(pattern))) for pattern in ("prediction-*", "attention-*", "scores-*")]
    assert kept == [min(calls, 3), int(calls > 4), int(calls > 5)]
    assert [finding.kind for finding in check(store)] == ["note"]
    done(tmp_path, partial(recording, store))
    assert run_ids(store) == [draft.run_id]
    assert len(milstore.open(store.root).sql("select * from predictions").rows()) == 3
    assert (list_drafts(store), check(store)) == ([], [])


def test_a_second_recorder_is_refused(store: Store, tmp_path: Path) -> None:
    """While one process records a run, another cannot; fresh=True begins one beside it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def hold() -> None:
        with milstore.open(store.root).record(**WHAT), pipe.open() as waited_for:
            waited_for.read()

    holding = fork(tmp_path, hold)
    wait_for(lambda: list_drafts(store) or holding.ended(), "the recording to begin")
    assert not holding.ended(), holding.text()
    held = pipe.open("w")
    ((run_id, lease),) = [(draft.run_id, read_lease(draft.folder)) for draft in list_drafts(store)]
    assert lease is not None and lease.pid == holding.pid
    with (
        pytest.raises(
            ConflictError, match=f"split 2 of s, experiment theirs, seed 0 is being trained by process {holding.pid} on"
        ),
        recorded(store),
    ):
        pass
    with recorded(store, fresh=True) as other:
        pass
    assert other.run_id != run_id
    held.close()
    # It gave nothing, which is refused at the end of its block.
    assert holding.wait() == 2
    assert [draft.run_id for draft in list_drafts(store)] == [run_id]


def test_who_lost_the_run_writes_nothing_more(store: Store) -> None:
    """A recorder whose run was taken over finds nothing to write to, and says who goes on."""
    with pytest.raises(StoreError, match="was taken over by process"), recorded(store) as run:
        (draft,) = list_drafts(store)
        # As if this process were found dead.
        (draft.folder / "lease.json").unlink()
        claim_draft(draft)
        run.epoch(1, train_loss=0.5)
    assert run_ids(store) == []


def test_a_finished_run_is_never_changed(store: Store) -> None:
    """The same call again is refused with what to do; fresh=True records another beside it."""
    with recorded(store) as run:
        pass
    said = rf"run {run.run_id} of split 2, seed 0, is finished, and a run is never changed: record another"
    with pytest.raises(ConflictError, match=said), recorded(store):
        pass
    with recorded(store, fresh=True) as other:
        pass
    with recorded(store, seed=1) as third:
        pass
    assert sorted(run_ids(store)) == sorted([run.run_id, other.run_id, third.run_id])
    with pytest.raises(UsageError, match="takes what is given within its block"):
        run.epoch(2, train_loss=1)


def test_an_experiment_stands_for_one_configuration(store: Store) -> None:
    """Another configuration under its name is refused, with the difference named, also while it is unfinished."""
    run_id = broken(store)
    said = rf"experiment theirs stands for another configuration \(lr 0.0001 there, 0.1 here; run {run_id}\)"
    for words in ({"config": {"lr": 0.1}}, {"config": {"lr": 0.1}, "split": 1, "fresh": True}):
        with pytest.raises(ConflictError, match=said), recorded(store, **words):
            pass
    with pytest.raises(ConflictError, match="encoder not set there, uni2 here"), recorded(store, encoder="uni2"):
        pass
    with recorded(store, split=1) as other:
        pass
    assert other.run_id != run_id


def test_training_keeps_away_from_recordings(tmp_path: Path) -> None:
    """`train --resume` of a recording says what it is, and an experiment that was recorded is not trained in."""
    store = tiny_store(tmp_path / "tiny")
    with pytest.raises(BrokenError), milstore.open(store.root).record(experiment="theirs", split=1) as run:
        run.prediction("9", [0.5, 0.5])
        raise BrokenError
    said = f"unfinished run {run.run_id} was recorded by another trainer: run that again, and record"
    with pytest.raises(UsageError, match=said):
        resume(store, run.run_id)
    with pytest.raises(
        ConflictError, match=f"experiment theirs holds what another trainer recorded \\(run {run.run_id}\\)"
    ):
        train(store, SMALL, 1, threads=1, experiment="theirs")


@pytest.mark.parametrize(
    ("less", "message"),
    [
        ({"2", "10", "46"}, "has no prediction, and nothing was committed: give run.prediction"),
        ({"46"}, r"there are attention of 1 case without a prediction \(46\), and nothing was committed"),
    ],
)
def test_what_is_missing_at_the_end_is_named(store: Store, less: set[str], message: str) -> None:
    """A run without a prediction, or attention without one, is not committed, and the same call goes on."""
    with pytest.raises(DataError, match=message), milstore.open(store.root).record(**WHAT) as run:
        for case_id in CHANCES.keys() - less:
            run.prediction(case_id, CHANCES[case_id])
        run.attention("46", PATCHES_46, [1, 0, 0])
    (draft,) = list_drafts(store)
    with recorded(store) as again:
        pass
    assert again.run_id == draft.run_id == run.run_id


def test_other_classes_are_refused(store: Store) -> None:
    """What was given in another order of classes cannot be gone on with."""
    broken(store)
    (draft,) = list_drafts(store)
    facts = {**draft.facts, "class_names": ["high-grade", "benign"]}
    (draft.folder / "draft.json").write_text(json.dumps(facts))
    with pytest.raises(ConflictError, match=r"began with other classes \(high-grade, benign\) than the store has now"):
        milstore.open(store.root).record(**WHAT)


def test_a_damaged_file_is_found(store: Store) -> None:
    """The doctor reads what was given."""
    broken(store)
    (draft,) = list_drafts(store)
    (path,) = draft.folder.glob("attention-*")
    path.chmod(0o644)
    path.write_bytes(b"PAR1")
    assert [finding.kind for finding in check(store)] == ["damage", "note"]


def test_the_lease_is_given_up(store: Store) -> None:
    """After the block, however it ended, nobody has to wait."""
    for _ in range(2):
        broken(store)
        (draft,) = list_drafts(store)
        assert read_lease(draft.folder) is None
    with recorded(store):
        pass
    assert [path.name for path in store.running.rglob("*")] == ["leases"]
