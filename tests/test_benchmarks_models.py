"""The plain loop over models learns, and its table is of the bags that were held out."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import models
from milstore.models import available


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty bags of one to four rows in the form of MUSK1; one feature of one row tells the class."""
    rng = np.random.default_rng(0)
    lines = ["bag_id,label,instance_idx,f0,f1,f2"]
    for bag in range(20):
        for instance in range(1 + bag % 4):
            values = rng.normal(size=3) * [1, 100, 1]
            values[0] += 8 * (bag % 2 and instance == 0)
            lines.append(f"{bag},{bag % 2},{instance},{','.join(f'{value:.4f}' for value in values)}")
    (tmp_path / "musk1.csv").write_text("\n".join(lines) + "\n")
    folds = [f"{repeat},{fold},{bag}" for repeat in (1, 2) for bag in range(20) for fold in [bag // 5]]
    (tmp_path / "musk1_test_folds.csv").write_text("repeat,fold,bag_id\n" + "\n".join(folds) + "\n")
    return tmp_path


def test_bags_and_folds_are_read(folder: Path) -> None:
    """A bag has its rows and label, and every bag is in one fold a repeat."""
    bags, folds = models.read_bags(folder / "musk1.csv"), models.read_folds(folder / "musk1_test_folds.csv")
    assert [(bag.n_patches, label) for bag, label in bags.values()] == [(1 + i % 4, i % 2) for i in range(20)]
    for repeat in (1, 2):
        assert [bag for test in folds[repeat].values() for bag in test] == [str(i) for i in range(20)]


def test_a_model_learns_by_the_plain_loop(folder: Path) -> None:
    """What tells the class in training tells it in the bags held out."""
    bags, folds = models.read_bags(folder / "musk1.csv"), models.read_folds(folder / "musk1_test_folds.csv")
    found = models.score("abmil", {"hidden": 16, "attention_dim": 8}, bags, folds, repeats=1, epochs=40)
    assert found.accuracy[0] > 0.8
    assert found.auc[0] > 0.9
    assert (
        models.row("abmil", models.Score([0.5, 0.7], [1.0, 1.0], 0.25))
        == "| abmil | 0.600 ± 0.100 | 1.000 ± 0.000 | 0.250 |"
    )


def test_every_model_has_settings_that_fit(folder: Path) -> None:
    """The table of settings builds and trains each built-in model."""
    assert list(models.SETTINGS) == available()
    bags = list(models.read_bags(folder / "musk1.csv").values())
    for name, settings in models.SETTINGS.items():
        model, standardise = models.train_plain(name, settings, bags[:4], seed=0, epochs=1)
        assert len(models.chances(model, standardise, [bag for bag, _ in bags])) == 20
        assert all(bool(each.isfinite().all()) for each in model.parameters())
    assert float(standardise.clip) == 5
    assert torch.isfinite(standardise.scale_D).all()
