"""Runs in the forms that the study's trainers write, tiny: their arithmetic by loops, and their folders by hand.

Three test cases and one of training. What makes them hard is all there: slices whose order as text is another than by
number (match_10 before match_2), patches likewise, a patch without a vector that shifts those after it, and a stain
that one case lacks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, floor, tanh
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from milstore.ingest.features import ingest_features
from milstore.ingest.label_map import parse_map
from milstore.ingest.labels import ingest_labels
from milstore.ingest.patches import ingest_patches
from milstore.store import Store, create_store
from tests.making import MadeOnce

Array = npt.NDArray[np.float64]
SLICES = {
    ("5", "h&e", "match_1"): (1, 2, 3),
    ("5", "melan", "unmatched_2"): (1, 2),
    ("38", "h&e", "match_2"): (1, 2, 10, 11),
    ("38", "h&e", "match_10"): (3, 4),
    ("38", "sox10", "match_2"): (0, 5),
    ("46", "h&e", "match_3"): (1, 2, 3, 4, 5),
    ("7", "h&e", "match_1"): (1, 2),
}
"""The patches of each slice, by the numbers in their names."""
WITHOUT_VECTOR = ("38", "h&e", "match_2", 10)
CLASSES = {"5": 3, "38": 4, "46": 1, "7": 1}
TEST, TRAIN = ("5", "38", "46"), ("7",)
LABELS = {case: int(grade > 1) for case, grade in CLASSES.items()}
Patch = tuple[str, str, str, int]
"""Case, stain, slice, and the number in the name."""
PATCHES: list[Patch] = [(*key, number) for key, numbers in SLICES.items() for number in numbers]
SEEN = [patch for patch in PATCHES if patch != WITHOUT_VECTOR]
LEVELS = ("patch_attention", "stain_attention", "case_attention")
D, E, H = 3, 4, 2


def file_of(patch: Patch) -> str:
    """Name of a patch's file, without extension."""
    case, stain, slice_, number = patch
    return f"case_{case}_{slice_}_{stain}_patch{number}"


def vectors() -> dict[Patch, Array]:
    """A vector a patch, as float32 has it."""
    rng = np.random.default_rng(7)
    return {patch: rng.normal(size=D).astype(np.float32).astype(np.float64) for patch in SEEN}


@MadeOnce
def study_store(folder: Path) -> Store:
    """Cases, patches and their vectors, but no split."""
    store = create_store(folder)
    files = folder.parent / "files"
    for name in ("images", "vectors"):
        (files / name).mkdir(parents=True)
    rows = "".join(f"{case},{grade}\n" for case, grade in CLASSES.items())
    (files / "labels.csv").write_text(f"Case,Class\n{rows}")
    label_map = parse_map("1=benign,3=high-grade,4=high-grade")
    ingest_labels(store, files / "labels.csv", case_column="Case", label_column="Class", label_map=label_map)
    for patch in PATCHES:
        (files / "images" / f"{file_of(patch)}.png").touch()
    ingest_patches(store, files / "images", names_only=True, jobs=1)
    for patch, vector in vectors().items():
        np.save(files / "vectors" / f"{file_of(patch)}.npy", vector.astype(np.float32))
    ingest_features(store, files / "vectors", encoder="dense", jobs=1)
    return store


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A model of theirs."""

    gated: bool
    arrays: Mapping[str, Array]

    @classmethod
    def drawn(cls, seed: int, *, gated: bool) -> "Weights":
        """Drawn ones, as float32 has them."""
        rng = np.random.default_rng(seed)
        shapes: dict[str, tuple[int, ...]] = {"W": (E, D), "b": (E,), "C": (2, E), "d": (2,)}
        for level in LEVELS:
            shapes |= {f"{level} V": (H, E), f"{level} v": (H,), f"{level} U": (H, E), f"{level} u": (H,)}
            shapes |= {f"{level} w": (1, H), f"{level} c": (1,)}
        drawn = {name: 1.5 * rng.normal(size=shape) for name, shape in shapes.items()}
        return cls(gated=gated, arrays={k: v.astype(np.float32).astype(np.float64) for k, v in drawn.items()})

    def state(self, form: str) -> dict[str, torch.Tensor]:
        """The state dict in one of the forms: fall, winter, whole or plain."""
        names = {
            "fall": {"V": "attention.0", "w": "attention.3"},
            "winter": {"V": "attention_V.0", "U": "attention_U.0", "w": "attention_w"},
            "whole": {"V": "attention_V.0", "U": "attention_U.0", "w": "attention_weights"},
            "plain": {"V": "V", "U": "U", "w": "w"},
        }[form]
        biases = {"V": "v", "U": "u", "w": "c"}
        layers = {"patch_projector.0": ("W", "b"), "classifier.1": ("C", "d")}
        for level in LEVELS:
            layers |= {f"{level}.{name}": (f"{level} {key}", f"{level} {biases[key]}") for key, name in names.items()}
        state = {}
        for name, (weight, bias) in layers.items():
            state[f"{name}.weight"] = torch.tensor(self.arrays[weight], dtype=torch.float32)
            state[f"{name}.bias"] = torch.tensor(self.arrays[bias], dtype=torch.float32)
        if form == "fall":
            state["features.norm0.num_batches_tracked"] = torch.tensor(3)
        return state

    def _pool(self, level: str, members: Sequence[Array]) -> tuple[list[float], Array]:
        a = self.arrays
        scores = []
        for x in members:
            content = [tanh(value) for value in a[f"{level} V"] @ x + a[f"{level} v"]]
            gate = [1 / (1 + exp(-value)) for value in a[f"{level} U"] @ x + a[f"{level} u"]]
            both = [c * g for c, g in zip(content, gate, strict=True)] if self.gated else content
            scores.append(float(a[f"{level} w"][0] @ both + a[f"{level} c"][0]))
        total = sum(exp(score) for score in scores)
        shares = [exp(score) / total for score in scores]
        return shares, sum((share * x for share, x in zip(shares, members, strict=True)), np.zeros(E))

    def look(self, case: str, seen: Sequence[Patch]) -> tuple[dict[Patch, tuple[float, float, float]], list[float]]:
        """Stain, slice and patch attention of each patch of a case, and the probability of each class."""
        known, a = vectors(), self.arrays
        of_slice: dict[tuple[str, str], list[Patch]] = {}
        for patch in seen:
            if patch[0] == case:
                of_slice.setdefault(patch[1:3], []).append(patch)
        found: dict[Patch, list[float]] = {}
        of_stain: dict[str, list[tuple[list[Patch], Array]]] = {}
        for (stain, _), patches in of_slice.items():
            shares, mean = self._pool(LEVELS[0], [np.maximum(0, a["W"] @ known[p] + a["b"]) for p in patches])
            found |= {patch: [share] for patch, share in zip(patches, shares, strict=True)}
            of_stain.setdefault(stain, []).append((patches, mean))
        stains = []
        for slices in of_stain.values():
            shares, mean = self._pool(LEVELS[1], [mean for _, mean in slices])
            for (patches, _), share in zip(slices, shares, strict=True):
                for patch in patches:
                    found[patch].append(share)
            stains.append(([patch for patches, _ in slices for patch in patches], mean))
        shares, mean = self._pool(LEVELS[2], [mean for _, mean in stains])
        for (patches, _), share in zip(stains, shares, strict=True):
            for patch in patches:
                found[patch].append(share)
        logits = a["C"] @ mean + a["d"]
        chances = [exp(logit) / sum(exp(other) for other in logits) for logit in logits]
        return {patch: (levels[2], levels[1], levels[0]) for patch, levels in found.items()}, chances


def positions(seen: Sequence[Patch]) -> dict[Patch, tuple[int, int]]:
    """slice_idx and patch_idx of each patch in the later form: places among names sorted as text."""
    found = {}
    for patch in seen:
        slices = sorted({other[2] for other in seen if other[:2] == patch[:2]})
        names = sorted(file_of(other) for other in seen if other[:3] == patch[:3])
        found[patch] = (slices.index(patch[2]), names.index(file_of(patch)))
    return found


def shuffled(seen: Sequence[Patch]) -> dict[Patch, tuple[int, int]]:
    """The same in the earlier form: slices in the order of a listing, patches in one of chance."""
    rng = np.random.default_rng(3)
    found = {}
    for key in dict.fromkeys(patch[:3] for patch in seen):
        patches = [patch for patch in seen if patch[:3] == key]
        slices = list(dict.fromkeys(patch[2] for patch in reversed(seen) if patch[:2] == key[:2]))
        places = rng.permutation(len(patches)).tolist()
        found |= {patch: (slices.index(key[2]), place) for patch, place in zip(patches, places, strict=True)}
    return found


HEADER = "case_id,stain,slice_idx,patch_idx,patch_attn_weight,slice_attn_weight,stain_attn_weight,effective_weight"


def tables(
    weights: Weights, places: Mapping[Patch, tuple[int, int]], seen: Sequence[Patch], pct: float
) -> tuple[str, str, str]:
    """The table of the top patches, that of all, and the summary with the counts."""
    top, whole, summary = f"{HEADER},true_label,pred_label\n", f"{HEADER}\n", ""
    for case in TEST:
        looked, chances = weights.look(case, seen)
        rows = []
        for patch, (stain, slice_, share) in looked.items():
            numbers = [float(np.float32(value)) for value in (share, slice_, stain)]
            product = numbers[0] * numbers[1] * numbers[2]
            words = ",".join(map(repr, [*numbers, product]))
            rows.append((product, f"{case},{patch[1]},{places[patch][0]},{places[patch][1]},{words}"))
        whole += "".join(f"{row}\n" for _, row in rows)
        k = max(1, floor(len(rows) * pct / 100))
        called = int(chances[1] > chances[0])
        top += "".join(f"{row},{LABELS[case]},{called}\n" for _, row in sorted(rows)[-k:])
        summary += f"Case {case}:\n  True label: {LABELS[case]}\n  # total patches: {len(rows)}\n\n"
    return top, whole, summary


def make_study_run(
    folder: Path,
    weights: Weights,
    form: str = "winter",
    *,
    pct: float = 40.0,
    whole: bool = False,
    caps: tuple[int, int | None] = (800, None),
    drawn_split: bool = True,
    others: Weights | None = None,
    seen: Sequence[Patch] = tuple(SEEN),
) -> Path:
    """A run's folder with its log beside it, after two epochs.

    Args:
        folder: where it goes.
        weights: of its last epoch.
        form: fall or winter, or whole or plain, which are winter's with other names in the checkpoint.
        pct: how much of each case the table of the top holds.
        whole: whether it holds the table of all patches too.
        caps: what its options say of most patches a slice and most slices a stain.
        drawn_split: whether it drew its split itself, and holds it.
        others: weights of `best.pth`, after epoch 1; None for a run without.
        seen: the patches that its cases had in the pass that predicted.
    """
    root = folder / "run_20260301_101112"
    (root / "attention_analysis").mkdir(parents=True)
    (root / "checkpoints").mkdir()
    later = form != "fall"
    lines = [
        "case_id,true_label,predicted_label,"
        + ("correct,prob_class0,prob_class1" if later else "prob_benign,prob_high_grade,correct")
    ]
    for case in TEST:
        chances = [float(np.float32(chance)) for chance in weights.look(case, seen)[1]]
        called = int(chances[1] > chances[0])
        right, words = called == LABELS[case], f"{chances[0]!r},{chances[1]!r}"
        lines.append(f"{case},{LABELS[case]},{called}," + (f"{right},{words}" if later else f"{words},{right}"))
    (root / "predictions.csv").write_text("\n".join(lines) + "\n")
    places = positions(seen) if later else shuffled(seen)
    top, table, summary = tables(weights, places, seen, pct)
    (root / "attention_analysis" / f"top_effective_patches_per_case_{pct}pct.csv").write_text(top)
    (root / "attention_analysis" / f"top_effective_patches_per_case_summary_{pct}pct.txt").write_text(summary)
    if whole:
        (root / "attention_analysis" / "weights_df.csv").write_text(table)
    (root / "results.txt").write_text(f"Test Results:\nTest Loss: 0.5\nNumber of samples: {len(TEST)}\n")
    if drawn_split:
        subsets = {"train": TRAIN, "val": (), "test": TEST}
        arrays = {f"{name}_cases": np.array([int(case) for case in cases], np.int64) for name, cases in subsets.items()}
        np.savez(root / "data_splits.npz", **arrays)
    save_checkpoint(root / "checkpoints" / "20260301_101113_HierarchicalAttnMIL_epoch2.pth", weights, form, 2)
    if others is not None:
        save_checkpoint(root / "checkpoints" / "best.pth", others, form, 1)
    (folder / "MIL_train_77.out").write_text(log_of(root.name, form, caps, drawn_split=drawn_split))
    return root


def save_checkpoint(path: Path, weights: Weights, form: str, epoch: int) -> None:
    """A checkpoint as the trainers write it."""
    history = {"train_losses": [0.5, -0.25], "val_losses": [0.75, 0.5], "val_accuracies": [0.5, 1.0]}
    history |= {"learning_rates": [0.01, 0.003]}
    if form == "winter":
        history |= {"train_ce_losses": [0.625, 0.375]}
    held = {name: values[:epoch] for name, values in history.items()}
    torch.save({"arch": "HierarchicalAttnMIL", "epoch": epoch, "model_state_dict": weights.state(form), **held}, path)


def log_of(run: str, form: str, caps: tuple[int, int | None], *, drawn_split: bool) -> str:
    """A log, with its progress bars."""
    options = {"epochs": 2, "lr": 0.01, "per_slice_cap": caps[0], "max_slices_per_stain": caps[1], "seed": 5}
    split = (
        f"Data splits saved to: x/{run}/data_splits.npz" if drawn_split else "Loading existing splits from: x/s_01.npz"
    )
    told = {
        "fall": "Train Loss: {0}, Val Loss: {1}, Val Acc: {2}",
        "winter": "Train Loss: {0} | Train CE: {3} | Train Patch Entropy: 0.9 | Val Loss: {1} | Val Acc: {2}",
    }["fall" if form == "fall" else "winter"]
    lines = ["Job ID: 77", "Start time: Sun Mar 1 10:11:10 UTC 2026", f"Created run directory: x/{run}"]
    lines += [f"Arguments: {options}", "Training config (may be overridden by arguments): {'dropout': 0.3}", split]
    for epoch, numbers in ((1, (0.5, 0.75, 0.5, 0.625)), (2, (-0.25, 0.5, 1.0, 0.375))):
        lines += [f"Epoch {epoch}/2 (LR: 1.00e-02)", "\rTraining:  50%|#####     | 1/2\r" + told.format(*numbers)]
        lines += ["Epoch Time: 1.50s"] if form != "fall" else []
    return "\n".join([*lines, f"Results saved to: x/{run}", ""])
