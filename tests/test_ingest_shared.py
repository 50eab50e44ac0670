"""The group's own files, taken in by command."""

from pathlib import Path

import pytest

from milstore.analysis.splits import balance, check_splits
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.features import open_features
from tests.ingesting import milstore, new_store

pytestmark = pytest.mark.shared

BALANCE = [
    ((17, 34), (5, 12), (6, 12)),
    ((16, 35), (6, 11), (6, 12)),
    ((16, 35), (6, 11), (6, 12)),
    ((17, 35), (6, 12), (5, 11)),
    ((17, 35), (6, 12), (5, 11)),
]
"""Benign and high-grade cases in train, val and test of the study's five splits, as published."""


@pytest.fixture
def study(tmp_path: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]) -> Store:
    """A store with the study's labels and splits."""
    store = new_store(tmp_path)
    folder = shared_data / "stat390"
    options = ("--case-column", "Case", "--label-column", "Class", "--map", "1=benign,3=high-grade,4=high-grade")
    assert milstore(store, "ingest", "labels", folder / "case_grade_match.csv", *options) == 0
    assert milstore(store, "ingest", "splits", *sorted(folder.glob("*.npz")), "--split-set", "study") == 0
    return store


def test_the_study_splits_are_balanced_as_published(study: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """`splits show` prints the study's table; classes 0 and 2 are left out and named."""
    found = balance(read_cohort(study), "study")
    assert [tuple(each.counts[subset] for subset in ("train", "val", "test")) for each in found] == BALANCE
    assert [len(each.test_cases) for each in found] == [18, 18, 18, 16, 16]
    assert "left out: 1 case with label '0', which the map lacks (65)\n" in capsys.readouterr().err
    assert milstore(study, "splits", "show") == 0
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    for number, counts in enumerate(BALANCE, start=1):
        at = printed.index(["study,", "split", str(number), "of", "5"])
        rows = [row for row in printed[at : at + 8] if len(row) == 3]
        expected = [[subset, *map(str, pair)] for subset, pair in zip(("train", "val", "test"), counts, strict=True)]
        assert rows == [["Subset", "Benign", "High-Grade"], *expected]


def test_the_study_splits_are_sound(study: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """`splits check` passes, and says that the test sets partition the 86 cases."""
    assert milstore(study, "splits", "check") == 0
    assert "study: ok: the test sets partition the 86 cases\n" in capsys.readouterr().out


def test_musk1_goes_in(tmp_path: Path, shared_data: Path) -> None:
    """A MIL benchmark's table and folds: 92 bags, 476 instances of 166 numbers, five repeats of ten folds."""
    store = new_store(tmp_path)
    table, folds = (shared_data / "musk1" / name for name in ("musk1.csv", "musk1_test_folds.csv"))
    columns = ("--bag-column", "bag_id", "--label-column", "label", "--index-column", "instance_idx")
    for _ in range(2):
        assert milstore(store, "ingest", "features", table, "--encoder", "musk", *columns) == 0
        assert milstore(store, "ingest", "splits", folds, "--split-set", "musk1") == 0
    cohort = read_cohort(store)
    packed = open_features(store, cohort, None)
    assert (packed.patches.num_rows, packed.n_features, len(packed.case_rows)) == (476, 166, 92)
    assert cohort.table("split_sets").select(["split_set", "n_splits"]).to_pylist() == [
        {"split_set": f"musk1-r{repeat}", "n_splits": 10} for repeat in range(1, 6)
    ]
    assert all(check.is_sound for check in check_splits(store))
