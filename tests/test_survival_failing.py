"""A training that ended by an error says so until it is continued, and a run that nobody wants can be deleted."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer

from milstore.cli import runs as runs_command
from milstore.cli.main import main
from milstore.errors import ConflictError, Interrupted, StoreError, UsageError
from milstore.launching.states import states
from milstore.store import Store, doctor
from milstore.store.findings import DAMAGE, LEFTOVER, NOTE
from milstore.store.lease import write_lease
from milstore.store.removal import delete_run, removable
from milstore.store.run_draft import RunDraft
from milstore.store.run_reader import run_ids
from milstore.store.run_writer import list_drafts
from milstore.training import resume, train
from milstore.training.interruption import Interruption
from milstore.training.loop import DivergedError, Training
from milstore.training.progress import Watcher
from tests.test_layout import ROOT
from tests.test_survival_unfinished_runs import die_in
from tests.test_training_runs import assert_same_numbers
from tests.training_cohort import SMALL, tiny_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return tiny_store(tmp_path / "store")


def fail_in(store: Store, monkeypatch: pytest.MonkeyPatch, error: Exception, **options: Any) -> RunDraft:
    """A training that ended by an error at the end of its second epoch."""
    inner = Training._end_epoch

    def end(self: Training, epoch: int, *losses: float) -> None:
        if epoch == 2:
            raise error
        inner(self, epoch, *losses)

    with monkeypatch.context() as patch, pytest.raises(type(error)):
        patch.setattr(Training, "_end_epoch", end)
        train(store, SMALL, 1, **{"threads": 1, **options})
    (draft,) = list_drafts(store)
    return draft


def told(store: Store) -> list[tuple[str, str]]:
    return [(row.state, row.note) for row in states(store)]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (StoreError("the disk is\nfull"), "the disk is full"),
        (RuntimeError("out of memory"), "RuntimeError: out of memory"),
    ],
)
def test_a_run_whose_training_failed_says_why(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, line: str
) -> None:
    """The list, the watcher and the doctor give the reason in a line, until the run is continued."""
    draft = fail_in(store, monkeypatch, error)
    assert told(store) == [("failed", line)]
    here = ["--store", str(store.root)]
    assert main(["runs", "list", *here]) == 0
    assert capsys.readouterr().err == f"failed: {draft.run_id}: {line}\n"
    assert main(["runs", "watch", *here]) == 0
    assert capsys.readouterr().out == f"failed: {draft.run_id}: {line}\n"
    (finding,) = (each for each in doctor.check(store) if each.where.startswith("running/"))
    assert (finding.kind, finding.what) == (NOTE, f"failed: {line}")
    this = f"{draft.run_id} --store {store.root}"
    assert (
        finding.repair
        == f"continue it with milstore train --resume {this}, or remove it by milstore runs delete {this}"
    )
    # Killed now, it is interrupted, and no longer failed.
    monkeypatch.setattr(RunDraft, "append_epoch", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        resume(store, draft.run_id)
    monkeypatch.undo()
    assert told(store) == [("interrupted", f"milstore train --resume {this}")]
    assert_same_numbers(train(store, SMALL, 1, threads=1), train(store, SMALL, 1, threads=1))
    assert [state for state, _ in told(store)] == ["done", "done"]


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_the_failures_of_a_run_that_goes_on_are_counted_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing the reason down keeps what is known of the run: how often it was continued, above all."""
    draft = fail_in(store, monkeypatch, OSError(28, "No space left on device"))
    again = fail_in(store, monkeypatch, StoreError("still full"))
    assert (again.run_id, again.facts["restarts"], again.error) == (draft.run_id, 1, "still full")
    assert {**again.facts, "restarts": 0, "error": draft.error} == draft.facts


def test_a_writer_that_lost_its_run_writes_no_reason(store: Store) -> None:
    """Nor does a disk that is still full turn one error into two."""
    draft = die_in(store)
    taken = draft.folder.with_name(f"{draft.run_id}~1234")
    draft.folder.rename(taken)
    draft.record_error("lost")
    assert (draft.folder.exists(), "error" in json.loads((taken / "draft.json").read_text())) == (False, False)


def test_a_diverged_run_says_how_to_get_rid_of_it(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """A loss that is no number ends in one line; the run can be deleted, and its name is free for a lower --lr."""
    words = ["train", "--store", str(store.root), "--split", "1", "--experiment", "wild", "--threads", "1"]
    words += ["--hidden", "8", "--attention-dim", "4", "--epochs", "3", "--min-epochs", "1", "--lr"]
    assert main([*words, "1e30"]) == 2
    (draft,) = list_drafts(store)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    delete = f"milstore runs delete {draft.run_id} --store {store.root}"
    assert line.startswith("error: the loss is nan in epoch ")
    assert line.endswith(f": train with a lower --lr; {delete} removes this run")
    assert told(store) == [("failed", line.removeprefix("error: ").partition(";")[0])]
    assert main([*words, "0.01"]) == 2
    assert "experiment wild stands for another configuration (lr " in capsys.readouterr().err
    assert main([*delete.split()[1:], "--yes"]) == 0
    assert main([*words, "0.01"]) == 0
    assert (list_drafts(store), len(run_ids(store))) == ([], 1)


def test_divergence_is_a_line_wherever_it_is_trained(store: Store) -> None:
    """The error is the user's to correct, in the library too."""
    with pytest.raises(DivergedError, match=r"^the loss is nan in epoch .*; milstore runs delete mil-.* removes"):
        train(store, replace(SMALL, lr=1e30), 1, threads=1)


# --- a signal that comes early ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2", "SIGHUP"])
def test_a_signal_before_the_training_began_ends_with_75(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """While torch is imported a signal is noted too: nothing is begun, and a batch script queues itself again."""

    def strike(*_: object) -> Watcher:
        signal.raise_signal(getattr(signal, name))
        return Watcher()

    monkeypatch.setattr("milstore.training.progress.watcher", strike)
    assert main(["train", "--store", str(store.root), "--split", "1"]) == 75
    assert capsys.readouterr().err == "stopped before the training began: the same command begins it\n"
    assert list_drafts(store) == []


def test_what_was_asked_before_is_asked_within() -> None:
    """A signal that came before the training took the signals over stops it at its first case."""
    with Interruption() as outer:
        signal.raise_signal(signal.SIGUSR1)
        with pytest.raises(Interrupted) as stopped, Interruption() as inner:
            assert (outer.requested, inner.requested, inner.signal) == (True, True, signal.SIGUSR1)
            raise Interrupted("stopped")
    assert stopped.value.signal == signal.SIGUSR1


# --- deleting ---------------------------------------------------------------------------------------------------------


def test_deleting_says_what_goes_and_wants_a_yes(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a terminal only --yes deletes, and on one only the answer yes; then nothing is left of the run."""
    finished, draft = train(store, SMALL, 1, threads=1).run_id, die_in(store, split=2)
    words = ["runs", "delete", finished, draft.run_id, "--store", str(store.root)]
    capsys.readouterr()
    assert main(words) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"finished run {finished}: 7 files, ")
    assert said[1].startswith(f"unfinished run {draft.run_id}: ")
    assert said[2:] == ["error: nothing is deleted unasked: add --yes"]
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(runs_command.typer, "confirm", lambda *_, **__: False)
    assert main(words) == 0
    assert (run_ids(store), [each.run_id for each in list_drafts(store)]) == ([finished], [draft.run_id])
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: True)
    assert main(words) == 0
    assert capsys.readouterr().err.splitlines()[-2:] == [f"deleted {finished}", f"deleted {draft.run_id}"]
    left = [path.name for path in store.running.rglob("*")]
    assert (run_ids(store), list_drafts(store), left) == ([], [], ["leases"])
    assert [path.name for path in store.runs.iterdir()] == ["run_id=_none"]
    assert [each for each in doctor.check(store, young=0) if each.kind != NOTE] == []


def test_a_run_in_training_is_not_deleted(store: Store) -> None:
    """A living process is named, and keeps its run."""
    draft = die_in(store)
    write_lease(draft.folder, "t")
    with pytest.raises(ConflictError, match=f"run {draft.run_id} is being trained by process {os.getpid()} on"):
        delete_run(store, removable(store, draft.run_id))
    assert [each.run_id for each in list_drafts(store)] == [draft.run_id]


@pytest.mark.parametrize("spoil", [lambda text: "{", lambda text: "[]", lambda text: text[: len(text) // 2]])
def test_a_damaged_unfinished_run_is_named_and_can_be_deleted(store: Store, spoil: Callable[[str], str]) -> None:
    """What keeps others from training is found by the doctor, and goes by the command that it names."""
    draft = die_in(store)
    path = draft.folder / "draft.json"
    path.write_text(spoil(path.read_text()))
    (finding,) = (each for each in doctor.check(store, young=0) if each.where.startswith("running/"))
    assert (finding.kind, finding.where) == (DAMAGE, f"running/{draft.folder.name}/draft.json")
    delete = f"milstore runs delete {draft.run_id} --store {store.root}"
    assert finding.repair == f"remove it by {delete}, and train that split anew"
    with pytest.raises(StoreError, match=r"draft\.json cannot be read .*: run milstore doctor"):
        train(store, SMALL, 1, threads=1)
    delete_run(store, removable(store, draft.run_id))
    assert train(store, SMALL, 1, threads=1).run_id in run_ids(store)


def test_what_is_not_there_is_not_deleted(store: Store) -> None:
    """A run that is unknown, or a name that leads out of the store, is refused with what there is."""
    draft = die_in(store)
    for name in ("none", "", ".", "..", "../cohort", "_none", f"{draft.run_id[:-5]}x"):
        with pytest.raises(
            UsageError, match=f"there is no run '{name}': (.*{draft.run_id}|to delete one, give its id)"
        ):
            removable(store, name)


def test_a_death_while_deleting_leaves_what_mending_removes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deleted run is gone for every reader at once; files that are left of it are a leftover."""
    result = train(store, SMALL, 1, threads=1)

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("milstore.store.removal.shutil.rmtree", fail)
        with pytest.raises(StoreError, match=r"is deleted, but its files are still in .* \(Input/output error\)"):
            delete_run(store, removable(store, result.run_id))
    assert run_ids(store) == []
    findings = [each for each in doctor.check(store, young=0) if each.kind != NOTE]
    assert [(each.kind, each.what) for each in findings] == [(LEFTOVER, "half-written by a writer that died")]
    assert doctor.repair(store, findings) == findings
    assert [path.name for path in store.runs.iterdir()] == ["run_id=_none"]


@pytest.mark.skipif(os.geteuid() != 0, reason="trying as another user needs root")
def test_as_an_ordinary_user_one_deletes_ones_own_runs_alone() -> None:
    """Committed runs are read-only, and still their owner can delete them; a colleague is told whose they are."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        store = tiny_store(Path(folder) / "store")
        theirs, mine = (train(store, SMALL, split, threads=1).run_id for split in (1, 2))
        for path in [store.root, *store.root.rglob("*")]:
            if mine in str(path):
                os.chown(path, 65534, 65534)
            if "run_id=mil" not in str(path):
                path.chmod(0o777 if path.is_dir() else 0o666)
        program = (
            "import sys; from milstore.store.removal import *; from milstore.store import open_store\n"
            "store, theirs, mine = open_store(sys.argv[1]), *sys.argv[2:]; removable(store, mine)\n"
            "import pwd, uuid; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
            "delete_run(store, removable(store, mine))\n"
            "try: delete_run(store, removable(store, theirs)); raise SystemExit('it was deleted')\n"
            "except StoreError as error: print(error)\n"
        )
        words = [sys.executable, "-c", program, str(store.root), theirs, mine]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"run {theirs} is another user's (root): only its owner can delete it\n"
        assert run_ids(store) == [theirs]
