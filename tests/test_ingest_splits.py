"""Splits from files and splits drawn by chance."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milstore.errors import ConflictError, DataError, UsageError
from milstore.formats.group_file import read_groups
from milstore.ingest.labels import ingest_labels
from milstore.ingest.split_sampling import draw_folds, draw_validation, pool_of
from milstore.ingest.splits import ingest_splits, make_splits
from milstore.store import Store
from milstore.store.cohort import read_cohort
from tests.ingesting import contents, new_store

Splits = dict[tuple[str, int], dict[str, str]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Twelve cases: the first six of class a, the others of class b."""
    store = new_store(tmp_path)
    rows = "".join(f"{case},{'a' if case <= 6 else 'b'}\n" for case in range(1, 13))
    (tmp_path / "labels.csv").write_text("case_id,label\n" + rows)
    ingest_labels(store, tmp_path / "labels.csv", case_column="case_id", label_column="label")
    return store


def splits(store: Store) -> Splits:
    found: Splits = {}
    for row in read_cohort(store).table("splits").to_pylist():
        found.setdefault((row["split_set"], row["split"]), {})[row["case_id"]] = row["subset"]
    return found


def save(path: Path, train: object, val: object, test: object) -> Path:
    """A split as the study saved it."""
    np.savez(path, train_cases=np.array(train), val_cases=np.array(val), test_cases=np.array(test))
    return path


def test_npz_files_keep_the_number_in_their_names(store: Store, tmp_path: Path) -> None:
    """One file a split: file 2 is split 2 and file 10 is split 10, however they are named on the command line."""
    files = [save(tmp_path / "d_10.npz", [1], [2], [3]), save(tmp_path / "d_2.npz", [4, 7], ["005"], [b"6"])]
    report = ingest_splits(store, files)
    assert splits(store) == {
        ("d", 2): {"4": "train", "7": "train", "5": "val", "6": "test"},
        ("d", 10): {"1": "train", "2": "val", "3": "test"},
    }
    assert (report.split_sets, report.cases, report.source) == ({"d": 2}, 7, "d_2.npz, d_10.npz")
    before = contents(store)
    assert ingest_splits(store, files[::-1]).lines()[-1] == "nothing changed"
    assert contents(store) == before


def test_a_table_of_splits(store: Store, tmp_path: Path) -> None:
    """split,case_id,subset; `validation` is val; splits keep the numbers of the file."""
    (tmp_path / "s.csv").write_text("split;case_id;subset\n0;01;Train\n0;2;validation\n10;3;test\n9;1;val\n")
    ingest_splits(store, [tmp_path / "s.csv"], split_set="mine")
    assert splits(store) == {
        ("mine", 0): {"1": "train", "2": "val"},
        ("mine", 9): {"1": "val"},
        ("mine", 10): {"3": "test"},
    }


def test_a_table_of_test_folds(store: Store, tmp_path: Path) -> None:
    """Each repeat becomes a split set; validation is drawn from the rest, stratified, the same for the same seed."""
    rows = [f"{repeat},{(case + repeat) % 3 + 1},{case}" for repeat in (1, 2) for case in range(1, 13)]
    (tmp_path / "folds.csv").write_text("repeat,fold,bag_id\n" + "\n".join(rows))
    report = ingest_splits(store, [tmp_path / "folds.csv"], split_set="cv", val_share=0.25)
    assert report.split_sets == {"cv-r1": 3, "cv-r2": 3}
    found = splits(store)
    for (name, fold), split in found.items():
        test = {str(case) for case in range(1, 13) if (case + int(name[-1])) % 3 + 1 == fold}
        assert {case for case, subset in split.items() if subset == "test"} == test
        val = sorted(int(case) > 6 for case, subset in split.items() if subset == "val")
        assert val == [False, True]
        assert len(split) == 12
    again = ingest_splits(store, [tmp_path / "folds.csv"], split_set="cv", val_share=0.25)
    assert (again.changed, splits(store)) == (False, found)
    with pytest.raises(ConflictError, match="has a split set cv-r1 with other splits"):
        ingest_splits(store, [tmp_path / "folds.csv"], split_set="cv", val_share=0.25, seed=1)


def test_other_splits_of_a_name_need_replace(store: Store, tmp_path: Path) -> None:
    """A split set is not changed under its name unless that is asked for."""
    ingest_splits(store, [save(tmp_path / "a.npz", [1], [2], [3])], split_set="s")
    other = save(tmp_path / "b.npz", [1], [3], [2])
    with pytest.raises(ConflictError, match="use another name, or --replace"):
        ingest_splits(store, [other], split_set="s")
    ingest_splits(store, [other], split_set="s", replace=True)
    assert splits(store) == {("s", 1): {"1": "train", "3": "val", "2": "test"}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "split,case_id,subset\n1,99,train\n1,1,test\n1,98,val\n",
            "names 2 cases that the store does not know (98, 99)",
        ),
        ("split,case_id,subset\n1,1,train\n1,01,test\n", "split 1, has case 1 in train and in test: keep one"),
        ("split,case_id,subset\n1,1,dev\n", "line 2, has subset 'dev': it must be train, val, test"),
        ("split,case_id,subset\n,1,val\n", "has in column split what stands for a missing value: nothing (line 2)"),
        ("split,case_id,subset\n", "has no row: it must name cases"),
        ("a,b\n1,2\n", "has the columns a, b: it needs split, case_id, subset, or repeat, fold, bag_id for test folds"),
        ("repeat,fold,bag_id\n1,1,1\n1,2,1\n", "line 3, has case 1 in two test folds of repeat 1: keep one"),
        ("repeat,fold,bag_id\n1,1,1\n1,1,2\n", "has one fold in repeat 1"),
    ],
)
def test_a_wrong_table_is_refused(store: Store, tmp_path: Path, text: str, message: str) -> None:
    """What a table of splits cannot mean is named, and nothing is stored."""
    (tmp_path / "s.csv").write_text(text)
    before = contents(store)
    with pytest.raises(DataError) as caught:
        ingest_splits(store, [tmp_path / "s.csv"], split_set="s")
    assert message in str(caught.value)
    assert contents(store) == before


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"train_cases": [1], "val_cases": [2]}, "has no test_cases: it has train_cases, val_cases"),
        ({"train_cases": [1], "val_cases": [2], "test_cases": [1]}, "has case 1 in train and in test: keep one"),
        (
            {"train_cases": [1.5], "val_cases": [2], "test_cases": [1]},
            "it must be a list of case ids, numbers or texts",
        ),
        ({"train_cases": [[1, 3]], "val_cases": [2], "test_cases": [1]}, "has shape (1, 2)"),
        (
            {"train_cases": np.array([{}], dtype=object), "val_cases": [2], "test_cases": [1]},
            "holds Python objects, which only pickle could read",
        ),
    ],
)
def test_a_wrong_npz_is_refused(store: Store, tmp_path: Path, arrays: dict[str, object], message: str) -> None:
    """A pickle is never read, and each case has one subset."""
    np.savez(tmp_path / "s.npz", **{name: np.asarray(array) for name, array in arrays.items()})
    with pytest.raises(DataError) as caught:
        ingest_splits(store, [tmp_path / "s.npz"])
    assert message in str(caught.value)


def test_several_tables_are_refused(store: Store, tmp_path: Path) -> None:
    """One table holds all splits."""
    with pytest.raises(UsageError, match="give one CSV table alone"):
        ingest_splits(store, [tmp_path / "a.csv", tmp_path / "b.npz"])


labels = st.dictionaries(st.integers(0, 400).map(str), st.integers(0, 2), min_size=30, max_size=80)


@settings(deadline=None)
@given(labels, st.integers(0, 2**32 - 1), st.floats(0.01, 0.99))
def test_validation_and_training_hold_every_class(label_of: dict[str, int], seed: int, share: float) -> None:
    """However small the share and rare the class, each class is in both; and a class takes its share."""
    counts = {label: sum(own == label for own in label_of.values()) for label in set(label_of.values())}
    if min(counts.values()) < 2:
        return
    drawn = draw_validation(pool_of(label_of), seed=seed, val_share=share)
    for label, count in counts.items():
        in_val = sum(drawn[case] == "val" for case, own in label_of.items() if own == label)
        assert in_val == min(max(round(share * count), 1), count - 1)


@settings(deadline=None, max_examples=30)
@given(labels, st.integers(2, 6), st.integers(0, 2**40), st.booleans())
def test_drawn_splits_partition_and_do_not_depend_on_order(
    label_of: dict[str, int], folds: int, seed: int, grouped: bool
) -> None:
    """Each case is in one test subset, each split holds every case, groups stay together, and order does not matter."""
    group_of = {case: str(int(case) // 2) for case in label_of} if grouped else None
    try:
        drawn = draw_folds(pool_of(label_of, group_of), folds, seed=seed, val_share=0.25)
    except DataError:
        return
    tests = [case for split in drawn for case, subset in split.items() if subset == "test"]
    assert sorted(tests) == sorted(label_of)
    assert all(set(split) == set(label_of) and set(split.values()) == {"train", "val", "test"} for split in drawn)
    if group_of is not None:
        for split in drawn:
            assert len({(group_of[case], subset) for case, subset in split.items()}) == len(set(group_of.values()))
    turned = dict(reversed(label_of.items()))
    assert draw_folds(pool_of(turned, group_of), folds, seed=seed, val_share=0.25) == drawn


def test_splits_are_drawn_stratified(store: Store) -> None:
    """Each test subset has its share of each class, and each labelled case is in exactly one."""
    report = make_splits(store, folds=3, seed=7)
    assert report.split_sets == {"cv3-seed7": 3}
    for split in splits(store).values():
        test = [int(case) > 6 for case, subset in split.items() if subset == "test"]
        assert sorted(test) == [False, False, True, True]
    assert make_splits(store, folds=3, seed=7).lines()[-1] == "nothing changed"
    make_splits(store, folds=3, seed=8)
    assert len(splits(store)) == 6


def test_groups_are_not_torn_apart(store: Store, tmp_path: Path) -> None:
    """Cases of one patient are in one subset of a split."""
    (tmp_path / "g.csv").write_text("Case;Patient\n" + "".join(f"{case};p{case // 2}\n" for case in range(1, 13)))
    group_of = read_groups(tmp_path / "g.csv", set()).group_of
    report = make_splits(store, folds=3, group_by=tmp_path / "g.csv", val_share=0.3)
    assert report.source == "drawn in 3 folds by seed 0, validation 0.3 of the rest, grouped by g.csv"
    for split in splits(store).values():
        together = {(group_of[case], subset) for case, subset in split.items()}
        assert len(together) == len(set(group_of.values()))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"folds": 1}, UsageError, "--folds 1 makes no splits"),
        ({"folds": 7}, DataError, "class number 0 has 6 cases, too few for 7 folds"),
        ({"val_share": 1.0}, UsageError, "--val-share 1 must lie between 0 and 1"),
        ({"seed": -1}, UsageError, "--seed -1 is negative"),
        ({"split_set": "A b"}, UsageError, "split set 'A b' does not fit"),
    ],
)
def test_splits_that_cannot_be_drawn_are_refused(
    store: Store, options: dict[str, object], error: type[Exception], message: str
) -> None:
    """What cannot be drawn is said, not approximated."""
    with pytest.raises(error) as caught:
        make_splits(store, **({"folds": 4} | options))  # type: ignore[arg-type]
    assert message in str(caught.value)
