"""Measurements of training in a process of its own: when the first epoch starts, and what memory it takes."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milstore.store import Store

COMMAND = "import sys; from milstore.cli.main import main; sys.exit(main(sys.argv[1:]))"


@dataclass(frozen=True)
class Measured:
    """What a training within a limit took."""

    peak: int
    """Most bytes of anonymous memory above what the imports took."""
    limited: float
    """Seconds of an epoch within the limit."""
    in_memory: float
    """Seconds of an epoch without one."""


@contextmanager
def thrown_away(store: Store) -> Iterator[Path]:
    """A copy of a store whose runs nobody keeps. Features are links, so nothing large is copied."""
    with tempfile.TemporaryDirectory(dir=store.root.parent) as folder:
        copy = Path(folder) / "store"
        shutil.copytree(store.root, copy, copy_function=os.link, ignore=shutil.ignore_patterns("*.duckdb", "runs"))
        shutil.copytree(store.runs, copy / "runs")
        yield copy


def seconds_to_first_epoch(store: Store, threads: int) -> float:
    """From the start of `milstore train` until it says that its first epoch begins."""
    with thrown_away(store) as copy:
        words = ["train", "--store", str(copy), "--split", "1", "--threads", str(threads)]
        started = time.perf_counter()
        program = [sys.executable, "-c", COMMAND, *words]
        with subprocess.Popen(program, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
            assert process.stderr is not None
            said = []
            for line in process.stderr:
                said.append(line)
                if line.startswith("split ") and "training cases" in line:
                    seconds = time.perf_counter() - started
                    process.kill()
                    return seconds
    sys.exit(f"milstore train ended before its first epoch: {''.join(said)}")


def seconds_to_import(module: str = "torch") -> float:
    """What a process takes that imports a module and ends."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    return time.perf_counter() - started


def memory_and_speed(store: Store, threads: int, limit: int) -> Measured:
    """Train two epochs within a limit and two without, each in a fresh process; the second epoch is timed."""
    limited, free = (_trained(store, threads=threads, memory=memory, splits=[1]) for memory in (str(limit), None))
    return Measured(int(limited["peak"]), limited["seconds"], free["seconds"])


def splits_together(store: Store, threads: int) -> tuple[float, float]:
    """All splits in one process against the first split: bytes read, and most anonymous memory above the imports'."""
    every, first = (_trained(store, threads=threads, memory=None, splits=splits) for splits in (None, [1]))
    return every["read"] / first["read"], every["peak"] / first["peak"]


def _trained(store: Store, **asked: object) -> dict[str, float]:
    with thrown_away(store) as copy:
        program = [sys.executable, "-m", "benchmarks.launched", json.dumps({"store": str(copy), **asked})]
        root = Path(__file__).parents[1]
        done = subprocess.run(program, stdout=subprocess.PIPE, text=True, check=True, cwd=root)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _read() -> int:
    """Bytes that this process has asked the system for, from the disk or its cache."""
    lines = Path("/proc/self/io").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("rchar"))


def _anonymous() -> int:
    """RssAnon of this process in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def _measure(asked: dict[str, Any]) -> None:
    """The process of `_trained`: imports, then trains while a thread looks at the memory."""
    import threading

    from milstore.store import open_store
    from milstore.training import TrainingConfig, train_all
    from milstore.training.progress import EpochRow, Watcher

    class Seconds(Watcher):
        last = 0.0

        def epoch(self, row: EpochRow, *, best: bool) -> None:
            self.last = row["seconds"]

    floor, read = _anonymous(), _read()
    peak, ended = [floor], threading.Event()

    def watch() -> None:
        while not ended.wait(0.01):
            peak.append(max(peak.pop(), _anonymous()))

    watching, seconds = threading.Thread(target=watch, daemon=True), Seconds()
    watching.start()
    train_all(
        open_store(str(asked["store"])),
        TrainingConfig(epochs=2, min_epochs=1),
        asked["splits"],
        threads=asked["threads"],
        memory=asked["memory"],
        device="cpu",
        watcher=seconds,
    )
    ended.set()
    watching.join()
    print(json.dumps({"peak": peak[0] - floor, "seconds": seconds.last, "read": _read() - read}))


if __name__ == "__main__":
    _measure(json.loads(sys.argv[1]))
