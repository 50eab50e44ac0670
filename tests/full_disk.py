"""Fills a real disk under a training and an ingest: `python -m tests.full_disk FOLDER [FILLINGS]`, which prints JSON.

FOLDER must be a small disk of its own, such as a tmpfs. A file beside the store takes all that is left of it while the
work goes on, and is removed afterwards.
"""

import ctypes
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from milstore.store import Store, doctor, open_store
from milstore.store.findings import DAMAGE
from milstore.training.config import TrainingConfig
from milstore.training.loop import Training
from tests.forking import done, fork
from tests.training_cohort import tiny_store
from tests.trainings import LONG, command, finished, same_numbers, train

_CLONE_NEWNS = 0x20000
FULL = "No space left on device"


def fill(folder: Path) -> Path:
    """Take all that is left of the disk that a folder is on."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as stream:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    stream.write(b"\0" * size)
            except OSError:
                continue
    return path


def filled_at(step: int, folder: Path, work: Callable[[], int]) -> Callable[[], int]:
    """The same training, on a disk that is full from its n-th case on."""

    def run() -> int:
        taken, real = [0], Training._step

        def step_and_fill(*args: object) -> None:
            real(*args)  # type: ignore[arg-type]
            taken[0] += 1
            if taken[0] == step:
                fill(folder)

        Training._step = step_and_fill  # type: ignore[method-assign]
        return work()

    return run


def try_training(folder: Path, store: Store, step: int, config: TrainingConfig) -> str:
    """Fill the disk in a training; its last word. Afterwards the same command ends in the bits of one that had room."""
    experiment = f"full-{step}"
    words = ("--checkpoint-minutes", "1e-9")
    work = command(store.root, experiment, *words, config=config)
    child = fork(folder.parent, filled_at(step, folder, work))
    code, said = child.wait(), child.text()
    assert (code, FULL in said or "disk is full" in said) == (2, True), (step, code, said)
    assert "Traceback" not in said
    assert "fault of milstore" not in said, said
    (folder / "filler").unlink()
    assert not [found for found in doctor.check(open_store(store.root), young=0) if found.kind == DAMAGE]
    done(folder.parent, work)
    assert len(finished(store, experiment)) == 1
    same_numbers(store, experiment, "twin")
    return next(line for line in said.splitlines() if line.startswith("error"))


STEPS = (1, 6, 7, 20, 60)
"""Cases of a training after which the disk is filled."""


def fill_the_disk(folder: Path, most: int, config: TrainingConfig = LONG) -> dict[str, object]:
    """Fill it at several steps of a training, at most so many. AssertionError if one loses something or is told as something else."""
    store = tiny_store.anew(folder / "store")
    done(folder.parent, train(store.root, config, "twin"))
    said = [try_training(folder, store, step, config) for step in STEPS[:most]]
    return {"fillings": len(said), "said": sorted(set(said))}


def with_disk(folder: Path, work: Callable[[], int | None]) -> Callable[[], int | None]:
    """The same work, with a disk of six megabytes in a folder, which others do not see."""

    def mounted() -> int | None:
        if ctypes.CDLL(None).unshare(_CLONE_NEWNS):
            raise PermissionError
        for words in (("--make-rprivate", "/"), ("-t", "tmpfs", "-o", "size=6m", "none", str(folder))):
            subprocess.run(["mount", *words], check=True)
        return work()

    return mounted


if __name__ == "__main__":
    most = int(sys.argv[2]) if len(sys.argv) > 2 else len(STEPS)
    sys.stdout.write(json.dumps(fill_the_disk(Path(sys.argv[1]), most)) + "\n")
