"""Stores for tests, made by hand: small enough to hold in the head."""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from milstore.schema.arrow import arrow_schema
from milstore.store import Store, create_store, open_store
from milstore.store.catalog import refresh
from milstore.store.cohort_edit import edit_cohort
from milstore.store.commit import commit_run
from milstore.store.content_hash import with_case_order
from milstore.store.run_draft import RunDraft
from milstore.store.run_writer import begin_run
from tests import putting_off

Patch = tuple[str, str, int, int]
"""Case, stain, slice_idx, patch_idx."""

CLASSES = ("benign", "high-grade")


class MadeOnce:
    """Makes the same store again and again: once for real in each process, and after that as a copy of it.

    Making one takes a third of a second, and hundreds of tests want one of their own. It has a milstore.duckdb where that
    is not put off.
    """

    def __init__(self, make: Callable[..., Store]) -> None:
        self.anew = make
        """Makes the store itself: for a process that ends without leaving Python, and so would leave the pattern behind."""
        self._patterns: dict[str, tempfile.TemporaryDirectory[str]] = {}

    def __call__(self, folder: Path, /, **options: Any) -> Store:
        """The store in a folder of its own, which may be there already."""
        key = repr((putting_off.is_put_off(), sorted(options.items())))
        if key not in self._patterns:
            pattern = tempfile.TemporaryDirectory(prefix="milstore-pattern-")
            self.anew(Path(pattern.name) / "store", **options)
            self._patterns[key] = pattern
        shutil.copytree(Path(self._patterns[key].name) / "store", folder, dirs_exist_ok=True)
        store = open_store(folder)
        # Where milstore.duckdb goes by the store's place, the copy has to be told its own.
        refresh(store)
        return store


def make_store(
    folder: Path, labels: Mapping[str, int], patches: Sequence[Patch], classes: Sequence[str] = CLASSES
) -> Store:
    """A store with cases of these labels and these patches, but no splits, features or runs."""
    store = create_store(folder)
    with edit_cohort(store) as edit:
        edit.replace("classes", pa.table({"label": range(len(classes)), "class_name": list(classes)}))
        cases = pa.table(
            {
                "case_id": list(labels),
                "label": list(labels.values()),
                "class_name": [classes[label] for label in labels.values()],
                "source_label": [str(label) for label in labels.values()],
            }
        )
        edit.replace("cases", with_case_order(cases))
        slices: dict[tuple[str, str, int], int] = {}
        for case_id, stain, slice_idx, _ in patches:
            slices[case_id, stain, slice_idx] = slices.get((case_id, stain, slice_idx), 0) + 1
        rows = [
            {"case_id": c, "stain": s, "slice_idx": i, "slice_name": f"match_{i + 1}", "n_patches": n}
            for (c, s, i), n in slices.items()
        ]
        edit.replace("slices", pa.Table.from_pylist(rows))
        edit.replace("patches", _patch_table(patches))
    return store


def _patch_table(patches: Sequence[Patch]) -> pa.Table:
    rows = [
        {
            "case_id": c, "stain": s, "slice_idx": i, "patch_idx": p,
            "file": f"case_{c}_match_{i + 1}_{s}_patch{p}.png",
            "x": (p % 4) * 64, "y": (p // 4) * 64, "width": 64, "height": 64,
        }
        for c, s, i, p in patches
    ]  # fmt: skip
    return pa.Table.from_pylist(rows)


def make_splits(store: Store, name: str, splits: Sequence[Mapping[str, Sequence[str]]]) -> None:
    """A split set: for each split, the cases of its subsets."""
    rows = [
        {"split_set": name, "split": i, "case_id": case_id, "subset": subset}
        for i, split in enumerate(splits, start=1)
        for subset, cases in split.items()
        for case_id in cases
    ]
    with edit_cohort(store) as edit:
        edit.replace("split_sets", pa.table({"split_set": [name], "n_splits": [len(splits)], "source": ["by hand"]}))
        edit.replace("splits", pa.Table.from_pylist(rows))


def make_regions(store: Store, regions: Mapping[str, Sequence[Patch]]) -> None:
    """The patches of each annotated region; others go."""
    places = ("case_id", "stain", "slice_idx", "patch_idx")
    rows = [{**dict(zip(places, patch, strict=True)), "region": name} for name in regions for patch in regions[name]]
    with edit_cohort(store) as edit:
        edit.replace("patch_regions", pa.Table.from_pylist(rows, arrow_schema("patch_regions")))


def levels(weights: Mapping[Patch, float]) -> pa.Table:
    """Attention rows in which each patch has (in proportion) the effective attention that is given."""
    sums: dict[tuple[str | int, ...], float] = {}
    for patch, weight in weights.items():
        for level in (1, 2, 3):
            sums[patch[:level]] = sums.get(patch[:level], 0.0) + weight
    rows = []
    for (case_id, stain, slice_idx, patch_idx), weight in weights.items():
        of_case, of_stain, of_slice = sums[(case_id,)], sums[case_id, stain], sums[case_id, stain, slice_idx]
        rows.append(
            {
                "case_id": case_id,
                "stain": stain,
                "slice_idx": slice_idx,
                "patch_idx": patch_idx,
                "stain_attention": of_stain / of_case,
                "slice_attention": of_slice / of_stain,
                "patch_attention": weight / of_slice,
                "effective_attention": weight / of_case,
            }
        )
    return pa.Table.from_pylist(rows)


RUN_FACTS: dict[str, Any] = {
    "experiment": "exp", "split_set": "five", "split": 1, "n_splits": 1, "seed": 0, "encoder": "hed",
    "pooling": "hierarchical", "config": "{}", "config_hash": "c" * 64, "cohort_fingerprint": "d" * 64,
    "features_fingerprint": "e" * 64, "code_version": "0", "host": "node1", "cpu": "a cpu", "threads": 1,
    "device": "cpu", "slurm_job_id": None, "started_at": "2026-01-01T00:00:00", "finished_at": "2026-01-01T01:00:00",
    "seconds": 3600.0, "restarts": 0, "n_epochs": 2, "best_epoch": 1, "n_parameters": 10,
}  # fmt: skip


def make_run(
    store: Store,
    run_id: str,
    subsets: Mapping[str, str],
    truth: Mapping[str, int],
    probabilities: Mapping[str, Sequence[float]],
    attention: pa.Table,
    *,
    epochs: Sequence[Mapping[str, Any]] | None = None,
    trained: Mapping[tuple[str, str, int], int] | None = None,
    **facts: Any,
) -> Path:
    """A finished run. `subsets`, `truth` and `probabilities` (one number a class) are by case.

    `trained` is how many patches of a slice (case, stain, slice_idx) an epoch could see; all, where it does not say.
    """
    draft: RunDraft = begin_run(store, run_id, {})
    predictions, chances = [], []
    for case_id, subset in subsets.items():
        p = list(probabilities[case_id])
        p_true = p[truth[case_id]]
        predictions.append(
            {
                "case_id": case_id, "subset": subset, "true_label": truth[case_id],
                "pred_label": int(np.argmax(p)), "p_true": p_true, "error": 1 - p_true,
            }
        )  # fmt: skip
        chances += [{"case_id": case_id, "label": label, "probability": value} for label, value in enumerate(p)]
    counts: dict[tuple[str, str, int], int] = {}
    for row in attention.select(["case_id", "stain", "slice_idx"]).to_pylist():
        counts[tuple(row.values())] = counts.get(tuple(row.values()), 0) + 1
    coverage = [
        {
            "case_id": c, "stain": s, "slice_idx": i, "subset": subsets[c], "existing": n, "with_feature": n,
            "trained": (trained or {}).get((c, s, i), n) if subsets[c] == "train" else 0, "evaluated": n,
        }
        for (c, s, i), n in counts.items()
    ]  # fmt: skip
    epochs = epochs or [_epoch(1, 0.6), _epoch(2, 0.7)]
    run = {**RUN_FACTS, **facts}
    if isinstance(run["finished_at"], datetime):
        run["finished_at"] = run["finished_at"].isoformat()
    return commit_run(
        draft,
        run,
        epochs=pa.Table.from_pylist([dict(row) for row in epochs]),
        predictions=pa.Table.from_pylist(predictions),
        probabilities=pa.Table.from_pylist(chances),
        attention=attention,
        coverage=pa.Table.from_pylist(coverage),
    )


def _epoch(epoch: int, loss: float) -> dict[str, Any]:
    return {
        "epoch": epoch, "train_loss": loss, "train_accuracy": 0.5, "val_loss": loss, "val_accuracy": 0.5,
        "learning_rate": 3e-4, "seconds": 1.0,
    }  # fmt: skip


THREE_PATCHES: list[Patch] = [
    *(("2", "h&e", 0, i) for i in range(4)),
    *(("2", "melan", 0, i) for i in range(2)),
    *(("10", "h&e", 0, i) for i in range(3)),
    *(("10", "h&e", 1, i) for i in range(3)),
    *(("10", "sox10", 0, i) for i in range(4)),
    *(("46", "h&e", 0, i) for i in (1, 5, 9)),
]
"""Case 2: 6 patches in 2 slices; case 10: 10 patches in 3 slices; case 46: 3 patches in 1 slice."""
THREE_LABELS = {"2": 1, "10": 0, "46": 0}
_THREE_WEIGHTS: dict[Patch, float] = {
    **{("2", "h&e", 0, i): w for i, w in enumerate((4, 3, 2, 1))},
    **{("2", "melan", 0, i): w for i, w in enumerate((5, 5))},
    **{("10", "h&e", 0, i): w for i, w in enumerate((10, 1, 1))},
    **{("10", "h&e", 1, i): w for i, w in enumerate((2, 2, 2))},
    **{("10", "sox10", 0, i): w for i, w in enumerate((8, 7, 6, 1))},
    **{("46", "h&e", 0, i): w for i, w in zip((1, 5, 9), (1, 2, 1), strict=True)},
}
"""Effective attention in twentieths (case 2), fortieths (case 10) and quarters (case 46)."""
THREE_REGIONS: dict[str, list[Patch]] = {
    "tumour": [*(("2", "h&e", 0, i) for i in (0, 1)), ("10", "h&e", 0, 0), *(("10", "sox10", 0, i) for i in (0, 1))],
    "ulcer": [*(("10", "h&e", 0, i) for i in (0, 1)), ("46", "h&e", 0, 5)],
}
"""Case 2 has regions in one of its two slices, case 10 in two of three, case 46 in its one; a patch of case 10 is in both."""


@MadeOnce
def three_without_runs(folder: Path) -> Store:
    """The three cases alone."""
    return make_store(folder, THREE_LABELS, THREE_PATCHES)


@MadeOnce
def three_case_store(folder: Path) -> Store:
    """Three cases, three splits (2, 10 and 46 in test, in this order), and a run of each split in experiment `exp`.

    Case 2 (high-grade) is called right (0.9), case 10 (benign) wrong (0.3 for benign), case 46 (benign) right (0.8). Some
    patches lie in annotated regions.
    """
    store = make_store(folder, THREE_LABELS, THREE_PATCHES)
    order = ["2", "10", "46"]
    splits = [{"test": [order[i]], "val": [order[(i + 1) % 3]], "train": [order[(i + 2) % 3]]} for i in range(3)]
    make_splits(store, "three", splits)
    make_regions(store, THREE_REGIONS)
    chances = {"2": (0.1, 0.9), "10": (0.3, 0.7), "46": (0.8, 0.2)}
    for i, split in enumerate(splits, start=1):
        subsets = {cases[0]: subset for subset, cases in split.items()}
        make_run(
            store, f"exp-s{i}-0", subsets, THREE_LABELS, chances, levels(_THREE_WEIGHTS),
            split_set="three", split=i, n_splits=3, finished_at=f"2026-01-01T0{i}:00:00",
        )  # fmt: skip
    return store
