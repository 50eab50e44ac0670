"""A disk that refuses locks: read and asked of without any, changed and trained on by one process at a time."""

import errno
import fcntl
import json
import os
import socket
from pathlib import Path

import pytest

from milstore.asking.ask import ask
from milstore.cli.main import main
from milstore.errors import ConflictError
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import NO_LOCKS, edit_cohort, held_file
from milstore.store.locks import held, refuses_locks
from milstore.training.experiment import train, train_all
from milstore.training.progress import Watcher
from tests.forking import fork
from tests.test_repeats import put_splits
from tests.training_cohort import LABELS, SMALL, subset, tiny_store
from tests.trainings import finished

pytestmark = pytest.mark.database


class Notes(Watcher):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return tiny_store(tmp_path / "store")


def refuse_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(fcntl, "lockf", refuse)


@pytest.fixture
def refusing(three: Store, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every lock that Python asks for is refused, as by an NFS without its lock daemon. The stores were made before."""
    refuse_locks(monkeypatch)


@pytest.mark.usefixtures("refusing")
def test_it_is_read_and_asked_of_without_any(three: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Questions answer without a word of locks, also where milstore.duckdb is behind the store."""
    before = {path: path.read_bytes() for path in three.root.rglob("*") if path.is_file()}
    (three.manifest_path.parent / "catalog.json").unlink()
    for words in (["info"], ["query", "recall"], ["sql", "select count(*) from runs"], ["runs", "list"]):
        assert main([*words, "--store", str(three.root)]) == 0, words
    assert "lock" not in capsys.readouterr().err
    assert ask(three, "recall").rows()
    del before[three.manifest_path.parent / "catalog.json"]
    assert {path: path.read_bytes() for path in three.root.rglob("*") if path.is_file()} == before


@pytest.mark.usefixtures("refusing")
def test_it_is_changed_and_that_is_said(store: Store) -> None:
    """An edit of the cohort is committed, says once what the disk lacks, and leaves no file that stands for a lock."""
    with edit_cohort(store) as edit:
        assert held_file(store).exists()
        edit.replace("split_sets", edit.table("split_sets").slice(0, 0))
        edit.replace("splits", edit.table("splits").slice(0, 0))
    assert edit.notes == [NO_LOCKS]
    assert read_cohort(store).table("splits").num_rows == 0
    assert not held_file(store).exists()


@pytest.mark.usefixtures("refusing")
def test_it_is_trained_on_by_one_process_at_a_time_which_is_said_once(store: Store) -> None:
    """Two splits are one note. While another process trains, the training is refused with its name."""
    notes = Notes()
    assert len(train_all(store, SMALL, threads=1, watcher=notes)) == 2
    assert [note for note in notes.notes if "lock" in note] == [f"note: {NO_LOCKS}"]
    path = store.manifest_path.parent / ".training-held"
    assert not path.exists()
    with held(path, wait=False, what="trains"), pytest.raises(ConflictError) as refused:
        train(store, SMALL, 1, threads=1)
    assert str(refused.value) == (
        f"the disk of this store refuses locks, so one process at a time trains, and process {os.getpid()} on "
        f"{socket.gethostname()} does: wait for it, or remove {path} if it runs no more"
    )


@pytest.mark.usefixtures("refusing")
def test_what_a_dead_process_left_is_taken_over(store: Store, tmp_path: Path) -> None:
    """A training that was killed stands in nobody's way on its own host; of another host's nobody can tell."""
    path = store.manifest_path.parent / ".training-held"

    def die() -> None:
        refuse_locks(pytest.MonkeyPatch())
        with held(path, wait=False, what="trains"):
            os._exit(9)

    assert fork(tmp_path, die).wait() == 9
    assert path.exists()
    assert train(store, SMALL, 1, threads=1, experiment="after").run_id in finished(store, "after")
    path.write_text(json.dumps({"host": "elsewhere", "pid": 7, "started": 1.0, "namespace": "there"}))
    with pytest.raises(
        ConflictError, match=r"process 7 on elsewhere does: wait for it, or remove .*training-held if it"
    ):
        train(store, SMALL, 1, threads=1)


@pytest.mark.usefixtures("refusing")
def test_splits_are_launched_one_at_a_time(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """--launcher local --jobs 2 trains one after another there, and says why."""
    asked: list[int] = []
    monkeypatch.setattr("milstore.launching.local.run_side_by_side", lambda _, __, jobs, ___: asked.append(jobs))
    monkeypatch.setattr("milstore.cli.launching.show_experiment", lambda *_: None)
    words = ["--split", "all", "--launcher", "local", "--jobs", "2"]
    assert main(["train", *words, "--store", str(store.root)]) == 0
    assert asked == [1]
    assert capsys.readouterr().err.count(NO_LOCKS) == 1


def test_a_disk_with_locks_is_told_from_one_without(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the lock is only somebody else's, the disk has locks; nothing is left of looking."""
    before = sorted(store.root.rglob("*"))
    assert not refuses_locks(store.root)

    def busy(*_: object) -> None:
        raise BlockingIOError(errno.EWOULDBLOCK, "busy")

    monkeypatch.setattr(fcntl, "flock", busy)
    assert not refuses_locks(store.root)
    assert sorted(store.root.rglob("*")) == before


def test_two_that_hold_take_turns(tmp_path: Path) -> None:
    """Of many processes that count in a file while they hold another, none loses a step."""
    count, path = tmp_path / "count", tmp_path / ".held"
    count.write_text("0")

    def add() -> None:
        for _ in range(10):
            with held(path, wait=True, what="counts"):
                count.write_text(str(int(count.read_text()) + 1))

    children = [fork(tmp_path, add) for _ in range(3)]
    assert [child.wait() for child in children] == [0, 0, 0]
    assert count.read_text() == "30"
    assert not path.exists()


def test_several_split_sets_are_launched_together(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A launcher, too, takes a pattern of split sets: a launch for each, and one table at the end."""
    splits = [{case_id: subset(case_id, split) for case_id in LABELS} for split in (1, 2)]
    put_splits(store, {"fox-r2": splits, "fox-r1": splits})
    launched, shown = list[str](), list[str]()
    monkeypatch.setattr(
        "milstore.launching.local.run_side_by_side", lambda _, launch, *__: launched.append(launch.facts["split_set"])
    )
    monkeypatch.setattr("milstore.cli.launching.show_experiment", lambda _, experiment: shown.append(experiment))
    words = ["--split", "all", "--split-set", "fox", "--launcher", "local"]
    assert main(["train", *words, "--store", str(store.root)]) == 0
    assert (launched, len(shown)) == (["fox-r1", "fox-r2"], 1)
