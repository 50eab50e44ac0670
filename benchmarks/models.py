"""Every model on MUSK1 by a plain loop of torch: accuracy and AUC over the published folds, and seconds an epoch.

    python -m benchmarks.models --data FOLDER [--models abmil,dsmil] [--repeats 1]

FOLDER holds musk1.csv (92 molecules as bags of conformations, 166 features each) and musk1_test_folds.csv (repeat, fold,
bag_id). No store takes part: this compares models, not trainers. All train alike, by AdamW at a constant rate for a number
of epochs that is fixed beforehand, on features that are standardised by the training bags and clipped at 5; nothing was
chosen by the folds. A bag is called once a repeat, by the fold that held it in test.
"""

import argparse
import csv
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from milstore.models import Bag, MILModel, available, load_model, make_bag, make_config
from milstore.models.layers import Standardiser

SETTINGS: dict[str, dict[str, Any]] = {
    "hierarchical": {"hidden": 64, "attention_dim": 32, "pooling": "flat", "dropout": 0.5},
    "mean": {"hidden": 64, "dropout": 0.5},
    "max": {"hidden": 64, "dropout": 0.5},
    "abmil": {"hidden": 64, "attention_dim": 32, "dropout": 0.5},
    "clam-sb": {"hidden": 64, "attention_dim": 32, "dropout": 0.5, "k_sample": 2},
    "clam-mb": {"hidden": 64, "attention_dim": 32, "dropout": 0.5, "k_sample": 2},
    "dsmil": {"hidden": 64, "query_dim": 32, "dropout": 0.5},
    "transmil": {"hidden": 64, "heads": 4, "landmarks": 32, "dropout": 0.1},
    "acmil": {"hidden": 64, "attention_dim": 32, "dropout": 0.5, "masked_top": 2},
}
"""Small, as the bags are, and alike for all as far as they have the settings."""
EPOCHS, RATE, WEIGHT_DECAY, CLIP = 30, 1e-3, 1e-2, 5.0


@dataclass(frozen=True)
class Score:
    """How well a model called the bags, over repeats."""

    accuracy: list[float]
    auc: list[float]
    epoch_seconds: float


def read_bags(path: Path) -> dict[str, tuple[Bag, int]]:
    """Bag and label by the bag's id; a bag is one slice of one stain."""
    rows: dict[str, list[list[float]]] = defaultdict(list)
    labels = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            rows[row["bag_id"]].append([float(value) for name, value in row.items() if name.startswith("f")])
            labels[row["bag_id"]] = int(row["label"])
    one = torch.zeros(1, dtype=torch.int64)
    return {
        bag: (make_bag(torch.tensor(values), torch.zeros(len(values), dtype=torch.int64), one), labels[bag])
        for bag, values in rows.items()
    }


def read_folds(path: Path) -> dict[int, dict[int, list[str]]]:
    """The test bags of each fold of each repeat."""
    folds: dict[int, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            folds[int(row["repeat"])][int(row["fold"])].append(row["bag_id"])
    return folds


def train_plain(
    name: str,
    settings: Mapping[str, object],
    bags: Sequence[tuple[Bag, int]],
    *,
    seed: int,
    epochs: int = EPOCHS,
    n_classes: int = 2,
) -> tuple[MILModel, Standardiser]:
    """A model trained on bags by a plain loop, a step a bag; with what its features must go through before it."""
    torch.manual_seed(seed)
    n_features = bags[0][0].feature_ND.shape[1]
    loaded = load_model(name)
    model = loaded.build(make_config(loaded.cls.Config, settings), n_features, n_classes)
    standardise = Standardiser(n_features)
    every_MD = torch.cat([bag.feature_ND for bag, _ in bags]).double()
    deviation_D = every_MD.std(0, correction=0)
    standardise.take(every_MD.mean(0), torch.where(deviation_D > 0, deviation_D, 1.0), CLIP)
    ready = [(standardised(bag, standardise), label) for bag, label in bags]
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
    rng, weight_C = np.random.default_rng(seed), torch.ones(n_classes)
    for _ in range(epochs):
        for i in rng.permutation(len(ready)):
            bag, label = ready[i]
            optimizer.zero_grad()
            model.loss(model(bag), label, weight_C).backward()
            optimizer.step()
    return model.eval(), standardise


def standardised(bag: Bag, standardise: Standardiser) -> Bag:
    """The bag with standardised features."""
    return make_bag(standardise(bag.feature_ND), bag.slice_N, bag.stain_G)


@torch.no_grad()
def chances(model: MILModel, standardise: Standardiser, bags: Sequence[Bag]) -> list[float]:
    """The probability of class 1 of each bag."""
    return [float(model(standardised(bag, standardise)).logits_C.softmax(0)[1]) for bag in bags]


def score(
    name: str,
    settings: Mapping[str, object],
    bags: Mapping[str, tuple[Bag, int]],
    folds: Mapping[int, Mapping[int, Sequence[str]]],
    *,
    repeats: int,
    epochs: int = EPOCHS,
) -> Score:
    """Accuracy and AUC of each repeat."""
    from sklearn.metrics import roc_auc_score

    accuracy, auc, seconds = [], [], 0.0
    for repeat in sorted(folds)[:repeats]:
        chance: dict[str, float] = {}
        for fold, test in folds[repeat].items():
            rest = [bags[bag] for bag in bags if bag not in set(test)]
            started = time.perf_counter()
            trained = train_plain(name, settings, rest, seed=100 * repeat + fold, epochs=epochs)
            seconds += (time.perf_counter() - started) / epochs
            chance |= zip(test, chances(*trained, [bags[bag][0] for bag in test]), strict=True)
        labels = [bags[bag][1] for bag in chance]
        accuracy.append(statistics.mean((p > 0.5) == label for p, label in zip(chance.values(), labels, strict=True)))
        auc.append(float(roc_auc_score(labels, list(chance.values()))))
    return Score(accuracy, auc, seconds / sum(len(folds[repeat]) for repeat in sorted(folds)[:repeats]))


def row(name: str, found: Score) -> str:
    """A line of the table: means over repeats, with standard errors where there are several."""

    def told(values: list[float]) -> str:
        if len(values) == 1:
            return f"{values[0]:.3f}"
        return f"{statistics.mean(values):.3f} ± {statistics.stdev(values) / len(values) ** 0.5:.3f}"

    return f"| {name} | {told(found.accuracy)} | {told(found.auc)} | {found.epoch_seconds:.3f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with musk1.csv and musk1_test_folds.csv")
    parser.add_argument("--models", default=",".join(available()), help="names, separated by commas (default: all)")
    parser.add_argument("--repeats", type=int, default=5, help="repeats of the ten folds (default: 5)")
    options = parser.parse_args()
    if not (options.data / "musk1.csv").is_file():
        print(f"skipped: there is no musk1.csv in {options.data}")
        return
    torch.set_num_threads(1)  # The matrices are small.
    bags, folds = read_bags(options.data / "musk1.csv"), read_folds(options.data / "musk1_test_folds.csv")
    print("| model | accuracy | AUC | seconds an epoch |\n|---|---:|---:|---:|")
    for name in options.models.split(","):
        print(row(name, score(name, SETTINGS.get(name, {}), bags, folds, repeats=options.repeats)))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
