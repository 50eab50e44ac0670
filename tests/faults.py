"""Fails the n-th write, fsync, rename … of a piece of work, one after another, and looks at what is left.

Run as a program: `python -m tests.faults FOLDER [STEP]` tries every STEP-th operation of every scenario, each in one
mode after another, or every operation in every mode, and prints how many faults it injected. Each try is a forked
process, so that a kill is a kill: no `finally` runs.
"""

import errno
import io
import os
import pickle
import shutil
import sys
import zipfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from milstore.errors import MilstoreError
from milstore.store import Store, doctor, open_store
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import edit_cohort
from milstore.store.commit import commit_run
from milstore.store.features import FeaturePack
from milstore.store.findings import DAMAGE, LEFTOVER
from milstore.store.run_reader import run_ids
from milstore.store.run_writer import begin_run, list_drafts
from tests.crossing import crossed
from tests.making import RUN_FACTS, THREE_LABELS, levels, three_case_store

ENOSPC, EIO, KILL = "disk full", "disk broken", "killed"
MODES = (ENOSPC, EIO, KILL)
_NOTHING_FAILED, _REFUSED, _PUT_OFF, _KILLED, _WRONG = 0, 3, 4, 137, 9
NEVER = 1 << 30


class Faults:
    """Counts the operations that change the disk, and lets the n-th one fail."""

    def __init__(self, at: int, mode: str) -> None:
        self.left = at
        self.mode = mode

    def install(self) -> None:
        """Put this in front of every operation that the store writes with."""
        for module, name in (
            (os, "fsync"),
            (os, "rename"),
            (os, "replace"),
            (os, "mkdir"),
            (os, "chmod"),
            (os, "unlink"),
        ):
            setattr(module, name, self._before(getattr(module, name)))
        # Writers that are not Python: half of what they write is there when they fail.
        Path.write_text = self._halfway(Path.write_text)  # type: ignore[method-assign]
        Path.write_bytes = self._halfway(Path.write_bytes)  # type: ignore[method-assign]
        pq.write_table = self._halfway(pq.write_table)
        np.lib.format.open_memmap = self._before(np.lib.format.open_memmap)  # type: ignore[assignment]

    def _due(self) -> bool:
        self.left -= 1
        return self.left == 0

    def _fail(self) -> None:
        if self.mode == KILL:
            os._exit(_KILLED)
        code = errno.ENOSPC if self.mode == ENOSPC else errno.EIO
        raise OSError(code, os.strerror(code))

    def _before(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def shim(*args: Any, **options: Any) -> Any:
            if self._due():
                self._fail()
            return real(*args, **options)

        return shim

    def _halfway(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def shim(*args: Any, **options: Any) -> Any:
            result = real(*args, **options)
            if self._due():
                written = next(arg for arg in args if isinstance(arg, Path))
                os.truncate(written, written.stat().st_size // 2)
                self._fail()
            return result

        return shim


def ingest(store: Store) -> None:
    """Change two tables of the cohort together."""
    with edit_cohort(store) as edit:
        edit.replace("classes", pa.table({"label": [0, 1], "class_name": ["benign", "melanoma"]}))
        patches = edit.table("patches")
        edit.replace("patches", patches.drop_columns(["file"]).append_column("file", pa.array(["new"] * len(patches))))


def features(store: Store) -> None:
    """Pack features."""
    with edit_cohort(store) as edit:
        patches = edit.table("patches")
        with FeaturePack(store, encoder="hed", n_features=2, dtype="float16", patches=patches) as pack:
            pack.write(0, np.ones((patches.num_rows, 2), np.float16))
            pack.commit(edit, source="faults")


def _archive() -> bytes:
    """An archive with checksums, as a checkpoint is."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("checkpoint", "after epoch 1")
    return made.getvalue()


def commit(store: Store) -> None:
    """Begin a run, end an epoch, write a checkpoint, commit the run."""
    draft = begin_run(store, "new", {})
    epoch = {
        "epoch": 1, "train_loss": 1.0, "train_accuracy": 1.0, "val_loss": 1.0, "val_accuracy": 1.0,
        "learning_rate": 1.0, "seconds": 1.0,
    }  # fmt: skip
    draft.append_epoch(epoch)
    draft.write_checkpoint(lambda path: path.write_bytes(_archive()) and None)
    place = {"case_id": ["2"], "stain": ["h&e"], "slice_idx": [0], "subset": ["test"]}
    commit_run(
        draft,
        dict(RUN_FACTS),
        epochs=pa.Table.from_pylist([epoch]),
        predictions=pa.table(
            {
                "case_id": ["2"],
                "subset": ["test"],
                "true_label": [1],
                "pred_label": [1],
                "p_true": [1.0],
                "error": [0.0],
            }
        ),
        probabilities=pa.table({"case_id": ["2", "2"], "label": [0, 1], "probability": [0.0, 1.0]}),
        attention=levels({("2", "h&e", 0, i): 1.0 for i in range(3)}),
        coverage=pa.table({**place, "existing": [3], "with_feature": [3], "trained": [0], "evaluated": [3]}),
        weights=lambda path: path.write_text("weights", encoding="utf-8") and None,
    )


SCENARIOS: dict[str, Callable[[Store], None]] = {"ingest": ingest, "features": features, "commit": commit}


def state(store: Store) -> dict[str, Any]:
    """What the store holds, as a reader sees it."""
    cohort = read_cohort(store)
    return {
        "runs": run_ids(store),
        "tables": {name: cohort.table(name).to_pydict() for name in cohort.names()},
        "labels": THREE_LABELS,
    }


def verify(store: Store, before: dict[str, Any], after: dict[str, Any], work: Callable[[Store], None]) -> None:
    """AssertionError unless the store is wholly as before or wholly as after, and can go on."""
    now = state(open_store(store.root))
    assert now in (before, after), "neither before nor after"
    found = doctor.check(store, young=0)
    assert not [finding for finding in found if finding.kind == DAMAGE], found
    doctor.repair(store, found)
    assert not [finding for finding in doctor.check(store, young=0) if finding.kind in (DAMAGE, LEFTOVER)]
    assert state(open_store(store.root)) == now, "repairing changed what is stored"
    for draft in list_drafts(store):
        shutil.rmtree(draft.folder)
    if now == before:
        work(store)
    assert state(open_store(store.root)) == after, "the work cannot be done any more"


def forked(work: Callable[[], int]) -> int:
    """Exit code of some work in a process of its own."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = _WRONG
        try:
            code = work()
        except BaseException as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def attempt(root: Path, work: Callable[[Store], None], at: int, mode: str) -> int:
    """Do the work with a fault at the n-th operation."""

    def run() -> int:
        store = open_store(root)
        faults = Faults(at, mode)
        faults.install()
        try:
            work(store)
        except (MilstoreError, OSError):
            return _REFUSED
        # A fault may be survived: a refresh of milstore.duckdb that fails is put off.
        return _NOTHING_FAILED if faults.left > 0 else _PUT_OFF

    return forked(run)


def torture(folder: Path, step: int) -> dict[str, int]:
    """Inject a fault at every `step`-th operation of every scenario. Returns how many, by scenario."""
    # Once, and not in each child.
    for name in ("duckdb", "pandas", "pyarrow.dataset", "milstore.store.catalog_build", "milstore.store.own_objects"):
        import_module(name)
    base = folder / "base"
    assert forked(lambda: three_case_store.anew(base) and 0) == 0
    return {name: _faults(folder, base, work, step) for name, work in SCENARIOS.items()}


def _faults(folder: Path, base: Path, work: Callable[[Store], None], step: int) -> int:
    root, before, after, operations = folder / "tried", *_without_fault(folder, base, work)
    tries = crossed(range(1, operations + 1, step), MODES, whole=step == 1)
    for at, mode in tries:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(base, root)
        code = attempt(root, work, at, mode)
        assert code in (_REFUSED, _PUT_OFF, _KILLED), f"operation {at} ({mode}): exit code {code}"
        look = forked(lambda: verify(open_store(root), before, after, work) or 0)
        assert look == 0, f"operation {at} ({mode}): the store is not what it should be"
    return len(tries)


def _without_fault(
    folder: Path, base: Path, work: Callable[[Store], None]
) -> tuple[dict[str, Any], dict[str, Any], int]:
    """What the store holds before and after the work, and how many operations that is."""
    root, said = folder / "whole", folder / "said.pickle"

    def run() -> int:
        shutil.copytree(base, root)
        before, faults = state(open_store(root)), Faults(NEVER, KILL)
        faults.install()
        work(open_store(root))
        count = NEVER - faults.left
        said.write_bytes(pickle.dumps((before, state(open_store(root)), count)))
        return 0

    assert forked(run) == 0
    shutil.rmtree(root)
    found: tuple[dict[str, Any], dict[str, Any], int] = pickle.loads(said.read_bytes())
    return found


if __name__ == "__main__":
    made = torture(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    sys.stdout.write(
        ", ".join(f"{name} {count}" for name, count in made.items()) + f", together {sum(made.values())} faults\n"
    )
