"""The cohort that training is timed on: a store with features, splits and no picture, made once and reused.

    python -m benchmarks.make_cohort FOLDER [--cases 86] [--features 4096]

Three stains, 1-5 slices a stain, 40-160 patches a slice and one slice in sixty of 500; features as float16, zero or
above as pooled activations are, with a weak sign of the class; five splits drawn by the command's own library call.
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from milstore.ingest.splits import make_splits
from milstore.store import Store, create_store, open_store
from milstore.store.cohort_edit import edit_cohort
from milstore.store.content_hash import with_case_order
from milstore.store.features import FeaturePack

STAINS = ("h&e", "melan", "sox10")
CLASSES = ("benign", "high-grade")
ENCODER = "bench"
MADE = "made.json"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What the cohort is made from; the same shape gives the same bytes."""

    cases: int = 86
    features: int = 4096
    slice_patches: tuple[int, int] = (40, 160)
    """Least and most patches of a slice."""
    large_slice: int = 500
    """Patches of one slice in sixty."""
    seed: int = 0


def make_cohort(folder: Path, shape: Shape | None = None) -> Store:
    """The store of that shape in the folder; what is there already is taken as it is."""
    shape = shape or Shape()
    facts = json.loads(json.dumps(asdict(shape)))
    if (folder / MADE).exists():
        if json.loads((folder / MADE).read_text()) != facts:
            sys.exit(f"{folder} holds a cohort of another shape: give another folder")
        return open_store(folder)
    rng = np.random.default_rng(shape.seed)
    store = create_store(folder)
    labels = {str(case): int(rng.random() < 0.7) for case in range(1, shape.cases + 1)}
    # Each class is in each subset of each split only if there are enough of it.
    labels.update({str(case): case % 2 for case in range(1, min(shape.cases, 20) + 1)})
    slices = _slices(list(labels), shape, rng)
    _write_tables(store, labels, slices)
    make_splits(store, folds=5, split_set="five")
    _write_features(store, labels, shape, rng)
    (folder / MADE).write_text(json.dumps(facts))
    return store


def _slices(case_ids: list[str], shape: Shape, rng: np.random.Generator) -> pa.Table:
    rows = []
    for case_id in case_ids:
        for stain in STAINS:
            for slice_idx in range(rng.integers(1, 6)):
                low, high = shape.slice_patches
                size = shape.large_slice if rng.random() < 1 / 60 else int(rng.integers(low, high + 1))
                rows.append({"case_id": case_id, "stain": stain, "slice_idx": slice_idx, "n_patches": size})
    return pa.Table.from_pylist(rows)


def _write_tables(store: Store, labels: dict[str, int], slices: pa.Table) -> None:
    label = list(labels.values())
    cases = {
        "case_id": list(labels),
        "label": label,
        "class_name": [CLASSES[each] for each in label],
        "source_label": [str(each) for each in label],
    }
    sizes = slices["n_patches"].to_numpy()
    of_slice = pa.array(np.repeat(np.arange(len(sizes)), sizes))
    patches = slices.select(["case_id", "stain", "slice_idx"]).take(of_slice)
    first = np.repeat(np.cumsum(sizes) - sizes, sizes)
    patches = patches.append_column("patch_idx", pa.array(np.arange(len(first)) - first))
    for name, kind in (("file", pa.string()), *((name, pa.int32()) for name in ("x", "y", "width", "height"))):
        patches = patches.append_column(name, pa.nulls(patches.num_rows, kind))
    names = pa.array([f"match_{idx + 1}" for idx in slices["slice_idx"].to_pylist()])
    with edit_cohort(store) as edit:
        edit.replace("classes", pa.table({"label": range(len(CLASSES)), "class_name": list(CLASSES)}))
        edit.replace("cases", with_case_order(pa.table(cases)))
        edit.replace("slices", slices.append_column("slice_name", names))
        edit.replace("patches", patches)


def _write_features(store: Store, labels: dict[str, int], shape: Shape, rng: np.random.Generator) -> None:
    with edit_cohort(store) as edit:
        patches = edit.table("patches").select(["case_id", "stain", "slice_idx", "patch_idx"])
        with FeaturePack(store, encoder=ENCODER, n_features=shape.features, dtype="float16", patches=patches) as pack:
            label_N = np.array([labels[case_id] for case_id in pack.patches["case_id"].to_pylist()])
            for first in range(0, len(label_N), 1000):
                pack.write(first, _vectors(label_N[first : first + 1000], shape.features, rng))
            pack.commit(edit, source="made for timing")


def _vectors(label_N: npt.NDArray[np.int64], features: int, rng: np.random.Generator) -> npt.NDArray[np.float16]:
    vectors = rng.standard_normal((len(label_N), features), dtype=np.float32)
    vectors[:, :64] += 0.05 * label_N[:, None].astype(np.float32)
    return np.maximum(vectors, 0, out=vectors).astype(np.float16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=Shape.cases)
    parser.add_argument("--features", type=int, default=Shape.features)
    options = parser.parse_args()
    store = make_cohort(options.folder, Shape(cases=options.cases, features=options.features))
    print(f"cohort of {options.cases} cases in {store.root}")


if __name__ == "__main__":
    main()
