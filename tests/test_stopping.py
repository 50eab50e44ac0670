"""What ends a training, and what does not: Ctrl-C, a pipe or a terminal that closes, and the death of who started workers."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from milstore.cli.main import main
from milstore.errors import Interrupted
from milstore.launching.states import states
from milstore.store import Store
from milstore.store.lease import process_start
from milstore.store.run_writer import list_drafts
from milstore.training.interruption import Interruption
from tests.forking import Child, fork
from tests.holding import Held
from tests.training_cohort import tiny_store
from tests.trainings import SHORT, command, finished
from tests.waiting import wait_for


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return tiny_store.anew(tmp_path / "store")


def closed_pipe(work: Callable[[], int], *streams: int) -> Callable[[], int]:
    """The same work, with some of its streams a pipe that nobody reads."""

    def deaf() -> int:
        reader, writer = os.pipe()
        os.close(reader)
        for stream in streams:
            os.dup2(writer, stream)
        return work()

    return deaf


def test_a_pipe_that_closes_ends_no_training(tmp_path: Path, store: Store) -> None:
    """`milstore train 2>&1 | head`: the training goes on without its words to the end, and is done, not failed."""
    child = fork(tmp_path, closed_pipe(command(store.root, "heard-by-none", config=SHORT), 1, 2))
    assert child.wait() == 0
    assert [(row.state, row.experiment) for row in states(store)] == [("done", "heard-by-none")]


def test_a_pipe_that_closes_on_the_way_ends_no_training(tmp_path: Path, store: Store) -> None:
    """Its reader, like head, reads four lines and goes: every epoch is trained all the same."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def work() -> int:
        os.dup2(os.open(pipe, os.O_WRONLY), 2)
        return command(store.root, "half-heard", config=SHORT)()

    child = fork(tmp_path, work)
    with pipe.open() as lines:
        said = [next(lines) for _ in range(4)]
    assert said[2].startswith("epoch   2/6  ")
    assert child.wait() == 0
    (row,) = states(store)
    assert (row.state, row.epochs) == ("done", 6)


def test_a_screen_that_nobody_sees_ends_no_training(tmp_path: Path, store: Store) -> None:
    """Where the bars go to a terminal that is gone, the training goes on too."""

    def work() -> int:
        ours, theirs = os.openpty()
        os.dup2(theirs, 2)
        os.close(theirs)
        os.close(ours)  # From here on, writing to it is an error of the disk's kind.
        return command(store.root, "unseen", config=SHORT)()

    assert fork(tmp_path, work).wait() == 0
    assert len(finished(store, "unseen")) == 1


def test_a_terminal_that_closes_stops_at_a_checkpoint(tmp_path: Path, store: Store) -> None:
    """SIGHUP stops like Ctrl-C, with 75 and a checkpoint; under nohup it stops nothing."""
    child = Held(tmp_path / "hung").begun(tmp_path, command(store.root, "hung", config=SHORT))
    child.send(signal.SIGHUP)
    assert child.wait() == 75
    assert child.text().splitlines()[-1].startswith("stopped in split 1 of tiny, epoch ")
    (draft,) = list_drafts(store)
    assert draft.checkpoint_path.exists()
    assert [row.state for row in states(store)] == ["interrupted"]
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            signal.raise_signal(signal.SIGHUP)
        assert not interruption.requested
    finally:
        signal.signal(signal.SIGHUP, before)


def test_ctrl_c_says_what_goes_on_and_is_no_error(tmp_path: Path, store: Store) -> None:
    """The last line says where it stopped and that the same command goes on, in 80 letters; a fresh one says how."""

    def pressed(experiment: str, *words: str) -> Child:
        """A training that Ctrl-C has stopped."""
        child = Held(tmp_path / experiment).begun(tmp_path, command(store.root, experiment, *words, config=SHORT))
        child.send(signal.SIGINT)
        assert child.wait() == 75
        return child

    child = pressed("stopped")
    last = child.text().splitlines()[-1]
    assert last.startswith("stopped in split 1 of tiny, epoch ")
    assert last.endswith(" of 6: the same command goes on")
    assert len(last) <= 80
    assert "error" not in child.text()
    assert pressed("fresh", "--fresh").text().splitlines()[-1].endswith(": the same command without --fresh goes on")


def test_a_second_ctrl_c_wherever_it_comes_is_an_interruption() -> None:
    """Outside the epochs too, while features are read or a run is stored, it ends with 75 and the signal."""
    with pytest.raises(Interrupted) as stopped, Interruption():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert (stopped.value.exit_code, stopped.value.signal) == (75, signal.SIGINT)
    assert str(stopped.value) == "stopped at once: the same command goes on after the last checkpoint"


def test_ctrl_c_elsewhere_is_a_word_and_no_error(
    three: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any other command says that it was stopped, and ends with 130."""

    def press(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def press_while_duckdb_works(*_: object, **__: object) -> None:
        threading.Timer(0.2, signal.raise_signal, [signal.SIGINT]).start()
        con = duckdb.connect()
        try:
            con.execute("select count(*) from range(100000000000) a(i) where i % 7 = 3").fetchall()
        finally:
            # Its threads go on, and to close it would wait for them.
            con.interrupt()
            con.close()

    for pressed in (press, press_while_duckdb_works):
        monkeypatch.setattr("milstore.store.summary.contents", pressed)
        assert main(["info", "--store", str(three.root)]) == 130
        assert capsys.readouterr().err == "stopped\n"


PARENT = """
import os, sys
from milstore.workers import Crew
from tests.naming import name_self

if __name__ == "__main__":
    with Crew(2, "tests.naming") as crew:
        for pid in crew.mapped(name_self, [0, 1, 2, 3]):
            print(pid, flush=True)
        print("all", flush=True)
        sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_worker_outlives_who_started_it(tmp_path: Path, number: int) -> None:
    """Killed by kill -9 too, a command such as encode leaves none of its processes alive."""
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    root = Path(__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as parent:
        assert parent.stdout is not None
        workers = {int(line) for line in iter(parent.stdout.readline, "all\n")}
        assert workers
        assert all(process_start(pid) is not None for pid in workers)
        parent.send_signal(number)
        parent.wait()
    wait_for(lambda: all(process_start(pid) is None for pid in workers), "the workers to end", 30)


def descendants(pid: int) -> set[int]:
    """The processes that a process has started, and theirs."""
    own = {int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    return own.union(*(descendants(child) for child in own if process_start(child) is not None))


def test_no_process_of_the_demo_outlives_it(tmp_path: Path) -> None:
    """`milstore demo` that is killed by kill -9 while its workers draw, encode or still begin leaves none of them."""
    for drawn in (0, 1):
        root = tmp_path / f"demo-{drawn}"
        with subprocess.Popen(
            [Path(sys.executable).with_name("milstore"), "demo", "--jobs", "2", "--store", str(root)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parents[1],
        ) as demo:
            wait_for(
                lambda demo=demo, root=root, drawn=drawn: (
                    len(descendants(demo.pid)) >= 2 and (not drawn or any(root.rglob("*.png")))
                ),
                "the workers",
                60,
            )
            workers = descendants(demo.pid)
            demo.kill()
            demo.wait()
        wait_for(lambda workers=workers: all(process_start(pid) is None for pid in workers), "the workers to end", 30)
