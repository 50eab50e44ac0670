"""Interrupts, suspends and contends for trainings, in real processes: `python -m tests.interrupting FOLDER SCENARIO …`."""

import json
import os
import shutil
import signal
import socket
import sys
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
from tests.forking import Child, done, fork
from tests.holding import Held
from tests.killing import Struck
from tests.launching import Launching, by_forks, by_interpreters
from tests.training_cohort import tiny_store
from tests.trainings import SHORT, command, epochs_of, finished, same_numbers, train
from tests.waiting import PATIENCE, holds_within, wait_for

TWIN = "twin"


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
    """The same work on another host, from which a process here cannot be seen, and is given up at once."""

    def there() -> Any:
        socket.gethostname = lambda: "elsewhere"
        lease.STALE_AFTER = lease.WATCHED_FOR = 0.0
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
    """Each of the five signals ends with exit 75, a word and a free run, and the same command goes on.

    One after another, each an epoch further; what all of them stopped ends in the bits of what nobody did.
    """
    work = command(store.root, "signals", config=SHORT)
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
    for epochs, number in enumerate(numbers, start=1):
        child = Held(folder / f"signal-{number}").begun(folder, work, epochs)
        child.send(number)
        assert child.wait() == 75, child.text()
        (draft,) = list_drafts(store)
        assert f"\nstopped in split 1 of tiny, epoch {epochs + 1} of 6: the same command goes on\n" in child.text()
        assert "error" not in child.text()
        assert read_lease(draft.folder) is None
        goes_on = f"note: unfinished run {draft.run_id} goes on; --fresh begins another"
        assert (goes_on in child.text()) == (epochs > 1)
    done(folder, work)
    assert finished(store, "signals") == [draft.run_id]
    done(folder, partial(same_numbers, store, "signals", TWIN))


def signals_to_all(
    folder: Path,
    store: Store,
    numbers: Sequence[int] = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2),
    launching: Launching = by_interpreters,
) -> None:
    """The same for --split all in one process, and side by side: each split that had begun is left free, and goes on."""
    both = {"none": ("--split", "all"), "local": ("--split", "all", "--launcher", "local", "--jobs", "2")}
    config = replace(SHORT, epochs=40, min_epochs=40) if launching is by_interpreters else SHORT
    done(folder, command(store.root, "twin-all", *both["none"], config=config))
    for launcher, words in both.items():
        for number in numbers:
            experiment = f"{launcher}-{number}"
            work = command(store.root, experiment, *words, config=config)
            child = begun(folder, store, experiment, Held(folder / experiment).held(launching(work)))
            child.send(number)
            assert child.wait() == 75, child.text()
            left = [each for each in list_drafts(store) if each.facts["experiment"] == experiment]
            assert left, child.text()
            assert all(read_lease(draft.folder) is None for draft in left)
        done(folder, launching(work))
        assert {draft.run_id for draft in left} <= set(finished(store, experiment))
        done(folder, partial(same_numbers, store, experiment, "twin-all"))


def twice_side_by_side(folder: Path, store: Store, launching: Launching = by_interpreters) -> None:
    """A second Ctrl-C to the launcher ends its processes at once, and the same command goes on after their epochs."""
    words = ("--split", "all", "--launcher", "local", "--jobs", "2")
    work = command(store.root, "twice-local", *words, config=replace(SHORT, epochs=5000, min_epochs=5000))
    held = Held(folder / "twice-local", stubborn=True).held(launching(work))
    child = begun(folder, store, "twice-local", noting(held, folder / "noted-local"))
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
    work = command(store.root, "twice", config=SHORT)
    child = Held(folder / "twice", stubborn=True).begun(folder, noting(work, folder / "noted"))
    ctrl_c_twice(child, folder / "noted")
    assert child.wait() == 75, child.text()
    assert "at once; what was trained since the last checkpoint is lost" in child.text()
    assert epochs_of(store, "twice") == 2
    done(folder, work)
    done(folder, partial(same_numbers, store, "twice", TWIN))


def contended(folder: Path, store: Store) -> None:
    """While a process trains a split, the same command is refused with its name, and so is a fresh one: one trains it."""
    held = Held(folder / "contended")
    first = held.begun(folder, command(store.root, "contended", config=SHORT))
    (draft,) = list_drafts(store)
    owner = f"process {first.pid} on {socket.gethostname()}"
    for words in ((), ("--launcher", "none")):
        second = fork(folder, command(store.root, "contended", *words, config=SHORT))
        assert second.wait() == 2, second.text()
        assert f"error: run {draft.run_id} is being trained by {owner}: wait for it, or stop it" in second.text()
    fresh = fork(folder, command(store.root, "contended", "--fresh", config=SHORT))
    assert fresh.wait() == 2, fresh.text()
    said = (
        f"error: split 1 of tiny, experiment contended, seed 0 is being trained by {owner}: wait for it, or stop it\n"
    )
    assert fresh.text().endswith(said)
    held.let_go()
    assert first.wait() == 0, first.text()
    assert finished(store, "contended") == [draft.run_id]
    done(folder, command(store.root, "contended", "--fresh", config=SHORT))
    assert len(finished(store, "contended")) == 2
    assert list_drafts(store) == []


def raced(folder: Path, store: Store, rounds: int = 3) -> None:
    """Of several that take over one run at the same moment, exactly one gets it, and the others say so in a line."""
    for number in range(rounds):
        experiment = f"raced-{number}"
        child = Held(folder / experiment).begun(folder, train(store.root, SHORT, experiment))
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
    held, holding = Held(folder / "suspended"), Held(folder / "taking")
    first = held.begun(folder, train(store.root, SHORT, "suspended"))
    first.send(signal.SIGSTOP)
    wait_for(first.is_stopped, "the trainer to stop")
    (draft,) = list_drafts(store)
    taker = holding.begun(folder, elsewhere(train(store.root, SHORT, "suspended")), epochs=4)
    assert (draft.folder.exists(), epochs_of(store, "suspended")) == (False, 4)
    held.let_go()
    first.send(signal.SIGCONT)
    assert first.wait() == 2, first.text()
    owner = f"process {taker.pid} on elsewhere"
    assert first.text() == (
        f"error: run {draft.run_id} was taken over by {owner} and goes on there: this process writes nothing more\n"
    )
    holding.let_go()
    assert taker.wait() == 0, taker.text()
    done(folder, partial(same_numbers, store, "suspended", TWIN))


def suspended_at_commit(folder: Path, store: Store, step: int = 1, most: int | None = None) -> int:
    """The same for a trainer that is suspended at an operation of its commit: at every step-th, or some. Returns at how many it was."""
    count, at = 0, 1
    while count != most:
        experiment = f"committing-{at}"

        def commit(at: int = at, experiment: str = experiment) -> None:
            Struck(at, signal.SIGSTOP).install_at_commit()
            train(store.root, SHORT, experiment)()

        first = fork(folder, commit)
        wait_for(lambda first=first: first.is_stopped() or first.ended(), "the trainer to stop")  # type: ignore[misc]
        if first.ended():
            assert first.code == 0, first.text()
            return count
        before = finished(store, experiment)
        if not before:
            done(folder, elsewhere(train(store.root, SHORT, experiment)))
        first.send(signal.SIGCONT)
        assert first.wait() == (0 if before else 2), first.text()
        if not before:
            assert "was taken over and finished by another process: this one writes nothing more" in first.text()
        done(folder, partial(same_numbers, store, experiment, TWIN))
        count, at = count + 1, at + step
    return count


SCENARIOS: dict[str, Callable[[Path, Store], Any]] = {
    "signals": signals,
    "signals-to-all": signals_to_all,
    "a-signal-to-all": partial(signals_to_all, numbers=(signal.SIGTERM,), launching=by_forks),
    "twice-side-by-side": twice_side_by_side,
    "twice-by-forks": partial(twice_side_by_side, launching=by_forks),
    "twice": twice,
    "contended": contended,
    "raced": raced,
    "raced-once": partial(raced, rounds=1),
    "suspended": suspended,
    "suspended-at-commit-twice": partial(suspended_at_commit, step=15, most=2),
    "suspended-at-every-operation": suspended_at_commit,
}


def run(folder: Path, scenarios: Iterable[str]) -> dict[str, Any]:
    """Run scenarios, each in a store of its own. AssertionError if a promise is broken."""
    root = folder / "store"
    done(folder, lambda: tiny_store.anew(root) and None)
    done(folder, train(root, SHORT, TWIN))
    made = {}
    for scenario in scenarios:
        own = shutil.copytree(root, folder / scenario / "store")
        made[scenario] = SCENARIOS[scenario](folder, open_store(own))
    return made


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(Path(sys.argv[1]), sys.argv[2:])) + "\n")
