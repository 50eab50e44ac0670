"""The runs that asking and storing are timed on: stores of many runs, made once and reused.

    python -m benchmarks.make_runs [FOLDER] [--runs 100] [--patches 1000000] [--cases 1000] [--small 2000]

FOLDER/large holds `--runs` runs (five splits, as many seeds as it takes), each with attention for every patch of a
cohort of `--patches` patches: 100 million rows, 1 GB. FOLDER/small holds `--small` runs of 20 cases. Every run is
committed as a training commits it. The default folder is below the system's folder for temporary files.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from milstore.ingest.splits import make_splits
from milstore.store import Store, create_store, open_store
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import edit_cohort
from milstore.store.commit import commit_run
from milstore.store.content_hash import with_case_order
from milstore.store.run_reader import run_ids
from milstore.store.run_writer import begin_run

STAINS = ("h&e", "melan", "sox10")
CLASSES = ("benign", "high-grade")
EXPERIMENT = "bench"
SPLITS = 5
MADE = "made.json"
FOLDER = Path(tempfile.gettempdir()) / "milstore-bench-runs"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a store of runs is made from; the same shape gives the same weights."""

    runs: int = 100
    cases: int = 1000
    patches: int = 1_000_000
    """Patches of all cases together."""
    seed: int = 0


SMALL = Shape(runs=2000, cases=20, patches=1000)


def make_runs(folder: Path, shape: Shape | None = None) -> Store:
    """The store of that shape in the folder; runs that are there already are kept, and those that lack are made."""
    shape = shape or Shape()
    facts = {name: value for name, value in asdict(shape).items() if name != "runs"}
    if (folder / MADE).exists():
        if json.loads((folder / MADE).read_text()) != facts:
            sys.exit(f"{folder} holds runs of another shape: give another folder")
        store = open_store(folder)
    else:
        store = create_store(folder)
        _put_cohort(store, shape)
        make_splits(store, folds=SPLITS, split_set="five")
        (folder / MADE).write_text(json.dumps(facts))
    there = set(run_ids(store))
    maker = _Maker(store, shape)
    for number in range(shape.runs):
        if run_id(number) not in there:
            maker.commit(number)
    return store


def run_id(number: int) -> str:
    """Run of a number: its split and its seed follow from it."""
    return f"{EXPERIMENT}-s{number % SPLITS + 1}-{number // SPLITS}-20260101t{number:06d}-{number:04x}"


def _put_cohort(store: Store, shape: Shape) -> None:
    """Cases of equally many patches, each in three stains of one to five slices."""
    rng = np.random.default_rng(shape.seed)
    of_case = shape.patches // shape.cases
    slices = []
    for case in range(1, shape.cases + 1):
        places = [(stain, idx) for stain in STAINS for idx in range(rng.integers(1, 6))]
        sizes = 1 + rng.multinomial(of_case - len(places), rng.dirichlet(np.full(len(places), 5.0)))
        slices += [(str(case), stain, idx, int(size)) for (stain, idx), size in zip(places, sizes, strict=True)]
    slices.sort()
    case_id, stain, slice_idx, size = (list(column) for column in zip(*slices, strict=True))
    table = pa.table(
        {"case_id": case_id, "stain": stain, "slice_idx": pa.array(slice_idx, pa.int32()), "n_patches": size}
    )
    patches = table.select(["case_id", "stain", "slice_idx"]).take(pa.array(np.repeat(np.arange(len(size)), size)))
    first = np.repeat(np.cumsum(size) - size, size)
    patches = patches.append_column("patch_idx", pa.array((np.arange(len(first)) - first).astype(np.int32)))
    for name, kind in (("file", pa.string()), *((name, pa.int32()) for name in ("x", "y", "width", "height"))):
        patches = patches.append_column(name, pa.nulls(patches.num_rows, kind))
    label = [case % 2 for case in range(1, shape.cases + 1)]
    cases = {
        "case_id": [str(case) for case in range(1, shape.cases + 1)],
        "label": label,
        "class_name": [CLASSES[each] for each in label],
        "source_label": [str(each) for each in label],
    }
    with edit_cohort(store) as edit:
        edit.replace("classes", pa.table({"label": range(len(CLASSES)), "class_name": list(CLASSES)}))
        edit.replace("cases", with_case_order(pa.table(cases)))
        edit.replace("slices", table.append_column("slice_name", pa.array([f"match_{idx + 1}" for idx in slice_idx])))
        edit.replace("patches", patches)


class _Maker:
    """Commits runs over one cohort."""

    def __init__(self, store: Store, shape: Shape) -> None:
        self._store = store
        self._seed = shape.seed
        cohort = read_cohort(store)
        self._patches = cohort.table("patches").select(["case_id", "stain", "slice_idx", "patch_idx"])
        slices = cohort.table("slices")
        self._slices = slices
        # The slice of each patch, the stain of each slice, the case of each stain, all in the order of the tables.
        self._slice_of = np.repeat(np.arange(slices.num_rows), slices["n_patches"].to_numpy())
        pairs = slices["case_id"].to_numpy(), slices["stain"].to_numpy()
        self._stain_of = np.cumsum(np.append(False, (pairs[0][1:] != pairs[0][:-1]) | (pairs[1][1:] != pairs[1][:-1])))
        first = np.searchsorted(self._stain_of, np.arange(self._stain_of[-1] + 1))
        cases = pairs[0][first]
        self._case_of = np.cumsum(np.append(False, cases[1:] != cases[:-1]))
        self._cases = cohort.table("cases").sort_by("case_id")
        self._subset_of = {
            split: {
                row["case_id"]: row["subset"] for row in cohort.table("splits").to_pylist() if row["split"] == split
            }
            for split in range(1, SPLITS + 1)
        }

    def attention(self, number: int) -> pa.Table:
        """Attention of a run, without ranks: three levels of softmax over normal scores, another draw for each run."""
        rng = np.random.default_rng((self._seed, number))
        stain = _softmax(rng.standard_normal(len(self._case_of)), self._case_of)
        slice_ = _softmax(rng.standard_normal(len(self._stain_of)), self._stain_of)
        patch = _softmax(2 * rng.standard_normal(len(self._slice_of)), self._slice_of)
        stain_N, slice_N = stain[self._stain_of][self._slice_of], slice_[self._slice_of]
        weights = {"stain": stain_N, "slice": slice_N, "patch": patch, "effective": stain_N * slice_N * patch}
        table = self._patches
        for level, weights_N in weights.items():
            table = table.append_column(f"{level}_attention", pa.array(weights_N.astype(np.float32)))
        return table

    def tables(self, number: int) -> dict[str, pa.Table]:
        """Everything that `commit` of a draft takes."""
        rng = np.random.default_rng((self._seed, number, 1))
        case_id, label = self._cases["case_id"].to_pylist(), self._cases["label"].to_numpy()
        subset_of = self._subset_of[number % SPLITS + 1]
        high = np.clip(rng.normal(0.3 + 0.4 * label, 0.2), 0.01, 0.99)
        p_true = np.where(label == 1, high, 1 - high)
        subsets = [subset_of[case] for case in case_id]
        coverage = {
            **{name: self._slices[name] for name in ("case_id", "stain", "slice_idx")},
            "subset": [subset_of[case] for case in self._slices["case_id"].to_pylist()],
        }
        for name in ("existing", "with_feature", "trained", "evaluated"):
            coverage[name] = self._slices["n_patches"]
        return {
            "epochs": pa.Table.from_pylist([_epoch(epoch) for epoch in (1, 2)]),
            "predictions": pa.table(
                {
                    "case_id": case_id, "subset": subsets, "true_label": label,
                    "pred_label": (high > 0.5).astype(np.int32), "p_true": p_true, "error": 1 - p_true,
                }
            ),
            "probabilities": pa.table(
                {
                    "case_id": np.repeat(case_id, 2), "label": np.tile([0, 1], len(case_id)),
                    "probability": np.column_stack([1 - high, high]).ravel(),
                }
            ),
            "coverage": pa.table(coverage),
            "attention": self.attention(number),
        }  # fmt: skip

    def commit(self, number: int) -> Path:
        """The run of a number, committed."""
        return commit_run(begin_run(self._store, run_id(number), {}), run_facts(number), **self.tables(number))


def maker_of(store: Store, shape: Shape) -> _Maker:
    """What makes further runs over the cohort of a store that was made here."""
    return _Maker(store, shape)


def _softmax(score: Floats, parent: npt.NDArray[np.int64]) -> Floats:
    weights = np.exp(score)
    return weights / np.bincount(parent, weights)[parent]


def run_facts(number: int) -> dict[str, Any]:
    """The columns of `runs`, but for the id."""
    finished = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(1_767_225_600 + 60 * number))
    return {
        "experiment": EXPERIMENT, "split_set": "five", "split": number % SPLITS + 1, "n_splits": SPLITS,
        "seed": number // SPLITS, "encoder": "bench", "pooling": "hierarchical", "config": "{}", "config_hash": "c" * 64,
        "cohort_fingerprint": "d" * 64, "features_fingerprint": "e" * 64, "code_version": "0", "host": "node1",
        "cpu": "a cpu", "threads": 1, "device": "cpu", "slurm_job_id": None, "started_at": finished,
        "finished_at": finished, "seconds": 60.0, "restarts": 0, "n_epochs": 2, "best_epoch": 1, "n_parameters": 10,
    }  # fmt: skip


def _epoch(epoch: int) -> dict[str, Any]:
    return {
        "epoch": epoch, "train_loss": 0.6, "train_accuracy": 0.5, "val_loss": 0.6, "val_accuracy": 0.5,
        "learning_rate": 3e-4, "seconds": 1.0,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    parser.add_argument("--runs", type=int, default=Shape.runs)
    parser.add_argument("--patches", type=int, default=Shape.patches)
    parser.add_argument("--cases", type=int, default=Shape.cases)
    parser.add_argument("--small", type=int, default=SMALL.runs, help="small runs")
    options = parser.parse_args()
    started = time.perf_counter()
    shape = Shape(runs=options.runs, cases=options.cases, patches=options.patches)
    for name, each in (("large", shape), ("small", replace(SMALL, runs=options.small))):
        store = make_runs(options.folder / name, each)
        print(f"{each.runs} runs x {each.patches} patches in {store.root}")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
