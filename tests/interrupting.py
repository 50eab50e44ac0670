"""Interrupts, suspends and contends for trainings, in real processes: `python -m tests.interrupting FOLDER SCENARIO …`."""

import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from milstore.store import Store, lease, open_store
from milstore.store.lease import read_lease
from milstore.store.run_writer import list_drafts
from milstore.training.experiment import resume
from milstore.training.interruption import Interruption
from milstore.training.loop import Training
from tests.forking import Child, done, fork
from tests.killing import Struck
from tests.training_cohort import tiny_store
from tests.trainings import LONG, command, epochs_of, finished, same_numbers, train
from tests.waiting import PATIENCE, holds_within, take, wait_for

TWIN = "twin"


def slowly(work: Callable[[], Any], seconds: float) -> Callable[[], Any]:
    """The same work, with that much time for each case."""

    def slow() -> Any:
        step = Training._step

        def dawdle(*args: Any) -> None:
            step(*args)
            take(seconds)

        Training._step = dawdle  # type: ignore[method-assign]
        return work()

    return slow


def noting(work: Callable[[], Any], noted: Path) -> Callable[[], Any]:
    """The same work, which makes a file as soon as it has noted a signal."""

    def watched() -> Any:
        note = Interruption._note

        def note_and_say(*args: Any) -> None:
            note(*args)
            noted.touch()

        Interruption._note = note_and_say  # type: ignore[method-assign]
        return work()

    return watched


def ctrl_c_twice(child: Child, noted: Path) -> None:
    """Two Ctrl-C, the second when the first was noted: until then the system may take both for one."""
    child.send(signal.SIGINT)
    wait_for(noted.exists, "the first Ctrl-C to be noted")
    child.send(signal.SIGINT)


def elsewhere(work: Callable[[], Any]) -> Callable[[], Any]:
    """The same work on another host, from which a process here cannot be seen, and is given up soon."""

    def there() -> Any:
        socket.gethostname = lambda: "elsewhere"
        lease.STALE_AFTER = lease.WATCHED_FOR = 1.0
        return work()

    return there


def begun(folder: Path, store: Store, experiment: str, work: Callable[[], Any], epochs: int = 2) -> Child:
    """A training that has ended some epochs."""
    child = fork(folder, work)
    # Looking takes a while too, and from those who train.
    begun = holds_within(lambda: epochs_of(store, experiment) >= epochs or child.ended(), PATIENCE, every=0.02)
    assert begun and not child.ended(), f"waited in vain for epoch {epochs} of {experiment}: {child.text()}"
    return child


def signals(folder: Path, store: Store) -> None:
    """Each of the five signals ends with exit 75, a word and a free run, and the same command goes on to the same bits."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
        experiment = f"signal-{number}"
        work = command(store.root, experiment)
        child = begun(folder, store, experiment, slowly(work, 0.02))
        child.send(number)
        assert child.wait() == 75, child.text()
        (draft,) = [each for each in list_drafts(store) if each.facts["experiment"] == experiment]
        assert "\nstopped in split 1 of tiny, epoch " in child.text()
        assert "of 25: the same command goes on\n" in child.text()
        assert "error" not in child.text()
        assert read_lease(draft.folder) is None
        again = fork(folder, work)
        assert again.wait() == 0, again.text()
        assert f"note: unfinished run {draft.run_id} goes on; --fresh begins another" in again.text()
        assert finished(store, experiment) == [draft.run_id]
        done(folder, partial(same_numbers, store, experiment, TWIN))


def signals_to_all(
    folder: Path,
    store: Store,
    numbers: Sequence[int] = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2),
) -> None:
    """The same for --split all in one process, and side by side: each split that had begun is left free, and goes on."""
    both = {"none": ("--split", "all"), "local": ("--split", "all", "--launcher", "local", "--jobs", "2")}
    config = replace(LONG, epochs=40, min_epochs=40)
    done(folder, command(store.root, "twin-all", *both["none"], config=config))
    for launcher, words in both.items():
        for number in numbers:
            experiment = f"{launcher}-{number}"
            work = command(store.root, experiment, *words, config=config)
            child = begun(folder, store, experiment, slowly(work, 0.01))
            child.send(number)
            assert child.wait() == 75, child.text()
            left = [each for each in list_drafts(store) if each.facts["experiment"] == experiment]
            assert left, child.text()
            assert all(read_lease(draft.folder) is None for draft in left)
        done(folder, work)
        assert {draft.run_id for draft in left} <= set(finished(store, experiment))
        done(folder, partial(same_numbers, store, experiment, "twin-all"))


def twice_side_by_side(folder: Path, store: Store) -> None:
    """A second Ctrl-C to the launcher ends its processes at once, and the same command goes on after their epochs."""
    words = ("--split", "all", "--launcher", "local", "--jobs", "2")
    work = command(store.root, "twice-local", *words, config=replace(LONG, epochs=5000, min_epochs=5000))
    child = begun(folder, store, "twice-local", noting(work, folder / "noted-local"))
    ctrl_c_twice(child, folder / "noted-local")
    assert child.wait() == 75, child.text()
    assert "\nstopped " in child.text()
    assert "error" not in child.text()
    left = [each for each in list_drafts(store) if each.facts["experiment"] == "twice-local"]
    assert left
    for draft in left:
        lease = read_lease(draft.folder)
        assert lease is None or lease.is_stale()
        draft.remove()


def twice(folder: Path, store: Store) -> None:
    """A second Ctrl-C stops within a case, with exit 75, and nothing but the epoch is lost."""
    work = command(store.root, "twice")
    child = begun(folder, store, "twice", slowly(noting(work, folder / "noted"), 0.4))
    ctrl_c_twice(child, folder / "noted")
    sent = time.monotonic()
    assert child.wait() == 75, child.text()
    assert time.monotonic() - sent < 5
    if "at once; what was trained since the last checkpoint is lost" in child.text():
        assert epochs_of(store, "twice") == 2
    done(folder, work)
    done(folder, partial(same_numbers, store, "twice", TWIN))


def contended(folder: Path, store: Store) -> None:
    """While a process trains a split, the same command is refused with its name, and so is a fresh one: one trains it."""
    work = command(store.root, "contended")
    first = begun(folder, store, "contended", slowly(work, 0.05))
    (draft,) = list_drafts(store)
    owner = f"process {first.pid} on {socket.gethostname()}"
    for words in ((), ("--launcher", "none")):
        second = fork(folder, command(store.root, "contended", *words))
        assert second.wait() == 2, second.text()
        assert f"error: run {draft.run_id} is being trained by {owner}: wait for it, or stop it" in second.text()
    fresh = fork(folder, command(store.root, "contended", "--fresh"))
    assert fresh.wait() == 2, fresh.text()
    said = (
        f"error: split 1 of tiny, experiment contended, seed 0 is being trained by {owner}: wait for it, or stop it\n"
    )
    assert fresh.text().endswith(said)
    assert first.wait() == 0, first.text()
    assert finished(store, "contended") == [draft.run_id]
    done(folder, command(store.root, "contended", "--fresh"))
    assert len(finished(store, "contended")) == 2
    assert list_drafts(store) == []


def raced(folder: Path, store: Store, rounds: int = 3) -> None:
    """Of several that take over one run at the same moment, exactly one gets it, and the others say so in a line."""
    for number in range(rounds):
        experiment = f"raced-{number}"
        child = begun(folder, store, experiment, slowly(train(store.root, LONG, experiment), 0.02))
        child.send(signal.SIGKILL)
        child.wait()
        (draft,) = list_drafts(store)
        gate, opened = os.pipe()

        def take_over(run_id: str = draft.run_id, gate: int = gate, opened: int = opened) -> None:
            # Reading ends, for all at the same moment, when the last that could write has closed the pipe.
            os.close(opened)
            os.read(gate, 1)
            resume(open_store(store.root), run_id)

        takers = [fork(folder, take_over) for _ in range(3)]
        os.close(opened)
        codes = sorted(taker.wait() for taker in takers)
        assert codes == [0, 2, 2], "".join(taker.text() for taker in takers)
        assert all(taker.text().count("\n") == 1 for taker in takers if taker.code == 2)
        done(folder, partial(same_numbers, store, experiment, TWIN))
        assert list_drafts(store) == []
        os.close(gate)


def suspended(folder: Path, store: Store) -> None:
    """A trainer that was suspended, taken for dead, and wakes while another trains its run, ends without harm."""
    first = begun(folder, store, "suspended", slowly(train(store.root, LONG, "suspended"), 0.02))
    first.send(signal.SIGSTOP)
    wait_for(first.is_stopped, "the trainer to stop")
    (draft,) = list_drafts(store)
    taker = fork(folder, slowly(elsewhere(train(store.root, LONG, "suspended")), 0.02))
    wait_for(lambda: not draft.folder.exists() or taker.ended(), "the run to be taken over")
    wait_for(lambda: epochs_of(store, "suspended") > 5 or taker.ended(), "the taker to train")
    assert not taker.ended(), taker.text()
    first.send(signal.SIGCONT)
    assert first.wait() == 2, first.text()
    owner = f"process {taker.pid} on elsewhere"
    assert first.text() == (
        f"error: run {draft.run_id} was taken over by {owner} and goes on there: this process writes nothing more\n"
    )
    assert taker.wait() == 0, taker.text()
    done(folder, partial(same_numbers, store, "suspended", TWIN))


def suspended_at_commit(folder: Path, store: Store, step: int = 10) -> int:
    """The same for a trainer that is suspended at an operation of its commit. Returns at how many it was."""
    count, at = 0, 1
    while True:
        experiment = f"committing-{at}"

        def commit(at: int = at, experiment: str = experiment) -> None:
            Struck(at, signal.SIGSTOP).install_at_commit()
            train(store.root, LONG, experiment)()

        first = fork(folder, commit)
        wait_for(lambda first=first: first.is_stopped() or first.ended(), "the trainer to stop")  # type: ignore[misc]
        if first.ended():
            assert first.code == 0, first.text()
            return count
        before = finished(store, experiment)
        if not before:
            done(folder, elsewhere(train(store.root, LONG, experiment)))
        first.send(signal.SIGCONT)
        assert first.wait() == (0 if before else 2), first.text()
        if not before:
            assert "was taken over and finished by another process: this one writes nothing more" in first.text()
        done(folder, partial(same_numbers, store, experiment, TWIN))
        count, at = count + 1, at + step


SCENARIOS: dict[str, Callable[[Path, Store], Any]] = {
    "signals": signals,
    "signals-to-all": signals_to_all,
    "a-signal-to-all": partial(signals_to_all, numbers=(signal.SIGTERM,)),
    "twice-side-by-side": twice_side_by_side,
    "twice": twice,
    "contended": contended,
    "raced": raced,
    "suspended": suspended,
    "suspended-at-commit": suspended_at_commit,
    "suspended-at-every-operation": partial(suspended_at_commit, step=1),
}


def run(folder: Path, scenarios: Iterable[str]) -> dict[str, Any]:
    """Run scenarios, each in a store of its own. AssertionError if a promise is broken."""
    root = folder / "store"
    done(folder, lambda: tiny_store.anew(root) and None)
    done(folder, train(root, LONG, TWIN))
    made = {}
    for scenario in scenarios:
        own = shutil.copytree(root, folder / scenario / "store")
        made[scenario] = SCENARIOS[scenario](folder, open_store(own))
    return made


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(Path(sys.argv[1]), sys.argv[2:])) + "\n")
