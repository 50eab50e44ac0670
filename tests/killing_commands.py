"""Kills every command that writes with SIGKILL: `python -m tests.killing_commands FOLDER [KILLS] [SEED]`, which prints JSON.

A kill comes at a random operation on the disk or at a random time. Afterwards the store holds wholly what it held before
or wholly what it holds after the command, `doctor` finds no damage and repairs what is left over, and the same command,
given again, comes to what it comes to where nobody kills it. Trainings are killed by `tests.killing`.
"""

import json
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from milstore.cli.main import main
from milstore.store import doctor, open_store
from milstore.store.cohort import read_cohort
from milstore.store.findings import DAMAGE, LEFTOVER
from milstore.store.run_reader import read_run, run_ids
from tests.broken import PATCHES, PREDICTED, SPLIT, writer
from tests.forking import done, fork
from tests.ingesting import NAMES, make_labels, make_vectors
from tests.killing import Struck
from tests.making import levels

Words = list[str]
NEVER = 1 << 40


@dataclass(frozen=True, kw_only=True)
class Killed:
    """A command to kill."""

    words: Words
    """Its words; STORE and IN stand for the store and the folder of files."""
    before: tuple[str, ...] = ()
    """Names of the commands that make the store ready."""
    writes: str | None = None
    """The file that it writes beside the store."""
    fresh: bool = False
    """Whether it makes the store."""


COMMANDS: dict[str, Killed] = {
    "init": Killed(words=["init"], fresh=True),
    "labels": Killed(
        words=["ingest", "labels", "IN/labels.csv", "--case-column", "Case", "--label-column", "Class", "--map", "1=benign,3=high-grade"],
        before=("init",),
    ),
    "patches": Killed(words=["ingest", "patches", "IN/images"], before=("init", "labels")),
    "features": Killed(words=["ingest", "features", "IN/vectors", "--encoder", "e"], before=("init", "labels", "patches")),
    "encode": Killed(words=["encode", "--jobs", "1"], before=("init", "labels", "patches")),
    "groups": Killed(words=["ingest", "groups", "IN/groups.csv"], before=("init", "labels")),
    "splits": Killed(words=["ingest", "splits", "IN/split_1.npz", "--split-set", "s"], before=("init", "labels")),
    "splits make": Killed(words=["splits", "make", "--split-set", "drawn", "--folds", "2"], before=("init", "labels", "more")),
    "splits delete": Killed(words=["splits", "delete", "s", "--yes"], before=("init", "labels", "splits")),
    "run": Killed(
        words=["ingest", "run", "IN/p.csv", "--attention", "IN/a.csv", "--experiment", "first", "--split", "1"],
        before=("init", "labels", "patches", "splits"),
    ),
    "runs delete": Killed(words=["runs", "delete", "first", "--yes"], before=("init", "labels", "patches", "splits", "run")),
    "report": Killed(
        words=["report", "-o", "IN/report.md", "--subset", "all"], before=("init", "labels", "patches", "splits", "run"), writes="report.md"
    ),
    "plot": Killed(
        words=["plot", "recall", "-o", "IN/recall.svg", "--subset", "all"], before=("init", "labels", "patches", "splits", "run"), writes="recall.svg"
    ),
    "doctor": Killed(words=["doctor", "--repair"], before=("init", "labels", "patches")),
}  # fmt: skip
"""By name, in an order in which each follows what it needs."""
READY: dict[str, Words] = {
    "more": ["ingest", "labels", "IN/more.csv", "--case-column", "Case", "--label-column", "Class", "--map", "1=benign,3=high-grade"],
}  # fmt: skip
"""Commands that only make a store ready."""


def make_inputs(folder: Path) -> None:
    """The files that the commands read."""
    (folder / "images").mkdir()
    noise = np.random.default_rng(0)
    for name in NAMES:
        Image.fromarray(noise.integers(0, 255, (32, 32, 3), np.uint8)).save(folder / "images" / f"{name}.png")
    make_vectors(folder / "vectors")
    make_labels(folder / "labels.csv")
    make_labels(folder / "more.csv", "Case,Class\n" + "".join(f"{100 + i},{1 + 2 * (i % 2)}\n" for i in range(12)))
    (folder / "groups.csv").write_text("case_id,group\n52,a\n7,b\n", encoding="utf-8")
    np.savez(folder / "split_1.npz", **SPLIT)
    writer(PREDICTED, ".csv")(folder / "p.csv")
    writer(levels(PATCHES), ".csv")(folder / "a.csv")


def held(root: Path) -> dict[str, Any] | None:
    """What a store holds, as a reader sees it; None where none was made yet."""
    if not (root / "cohort" / "manifest.json").is_file():
        return None
    store = open_store(root)
    cohort = read_cohort(store)
    runs = sorted(
        (read_run(store, run_id)["experiment"], read_run(store, run_id)["split"]) for run_id in run_ids(store)
    )
    return {"runs": runs, "tables": {name: cohort.table(name).to_pydict() for name in sorted(cohort.names())}}


class Killing:
    """The commands, each with a store that is ready for it and what comes of it where nobody kills it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inputs = folder / "in"
        self.inputs.mkdir(parents=True)
        make_inputs(self.inputs)
        self.tried = folder / "tried"
        """The one place of the store that is tried: what it holds may name its own folder."""
        self.operations: dict[str, int] = {}
        self.seconds: dict[str, float] = {}
        self.after: dict[str, Any] = {}

    def work(self, words: Words) -> Callable[[], int]:
        """A command, to be forked."""
        line = [word.replace("IN", str(self.inputs), 1) if word.startswith("IN/") else word for word in words]
        return lambda: main([*line, "--store", str(self.tried)])

    def ready(self, *before: str) -> None:
        """Put the store into the state after some commands, each of which is given once."""
        shutil.rmtree(self.tried, ignore_errors=True)
        if not before:
            return
        base = self.folder / "ready" / "-".join(before).replace(" ", "-")
        if base.exists():
            shutil.copytree(base, self.tried)
        else:
            self.ready(*before[:-1])
            done(self.folder, self.work(READY.get(before[-1]) or COMMANDS[before[-1]].words))
            shutil.copytree(self.tried, base)

    def twin(self, name: str) -> None:
        """Do a command where nobody kills it, counting its operations on the disk."""
        self.ready(*COMMANDS[name].before)
        counted = self.folder / "count"

        def work() -> int:
            faults = Struck(NEVER)
            faults.install()
            code = self.work(COMMANDS[name].words)()
            counted.write_bytes(str(NEVER - faults.left).encode())
            return code

        began = time.monotonic()
        child = fork(self.folder, work)
        assert child.wait() == 0, f"{name}: {child.text()}"
        self.seconds[name] = time.monotonic() - began
        self.operations[name] = int(counted.read_bytes())
        self.after[name] = held(self.tried)

    def kill(self, name: str, chance: random.Random) -> bool:
        """Kill a command once, and look at what is left. False if it was done before the kill came. AssertionError if it is not whole."""
        if name not in self.after:
            self.twin(name)
        self.ready(*COMMANDS[name].before)
        command, before = COMMANDS[name], held(self.tried)
        output = None if command.writes is None else self.inputs / command.writes
        if output is not None:
            output.unlink(missing_ok=True)
        at = chance.randint(1, max(1, self.operations[name])) if chance.random() < 0.75 else None

        def work() -> int:
            if at is not None:
                Struck(at).install()
            return self.work(command.words)()

        child = fork(self.folder, work)
        if at is None:
            child.ends_within(chance.uniform(0, self.seconds[name]))
            child.send(signal.SIGKILL)
        code = child.wait()
        assert code in (0, -signal.SIGKILL), f"{name}: exit code {code}: {child.text()}"
        child.said.unlink(missing_ok=True)
        self._look(name, before, output)
        return code != 0

    def _look(self, name: str, before: Any, output: Path | None) -> None:
        """AssertionError unless a command that was killed left all whole, and comes to its end when it is given again."""
        now = held(self.tried)
        assert now in (before, self.after[name]), f"{name}: neither before nor after"
        assert output is None or not output.exists() or output.stat().st_size > 100, (
            f"{name}: {output} is a part of a file"
        )
        if now is not None:
            store = open_store(self.tried)
            found = doctor.check(store, young=0)
            assert not [finding for finding in found if finding.kind == DAMAGE], f"{name}: {found}"
            doctor.repair(store, found)
            assert not [each for each in doctor.check(store, young=0) if each.kind in (DAMAGE, LEFTOVER)], name
            assert held(self.tried) == now, f"{name}: repairing changed what is stored"
        again = fork(self.folder, self.work(COMMANDS[name].words))
        code = again.wait()
        # What was deleted cannot be deleted again.
        gone = now == self.after[name] and code == 2 and "delete" in name
        assert code == 0 or gone, f"{name}, given again: exit code {code}: {again.text()}"
        again.said.unlink(missing_ok=True)
        assert held(self.tried) == self.after[name], f"{name}, given again, comes to something else"
        assert output is None or output.exists(), f"{name}, given again, wrote nothing"


def kill_commands(
    folder: Path,
    kills: int,
    seed: int = 0,
    tell: Callable[[str], None] = print,
    names: Collection[str] = tuple(COMMANDS),
) -> dict[str, Any]:
    """Kill commands so many times in all, each in turn. AssertionError if one leaves what it should not."""
    chance, killing = random.Random(seed), Killing(folder)
    killed: Counter[str] = Counter()
    rounds = 0
    while killed.total() < kills:
        for name in names:
            if killed.total() < kills and killing.kill(name, chance):
                killed[name] += 1
        rounds += 1
        tell(f"{killed.total()} kills of commands in {rounds} rounds")
    return {"kills": killed.total(), "by": dict(killed)}


if __name__ == "__main__":
    place, *numbers = sys.argv[1:]
    made = kill_commands(Path(place), *map(int, numbers or ["20"]), tell=lambda text: sys.stderr.write(text + "\n"))
    sys.stdout.write(json.dumps(made) + "\n")
