"""A table of cases and their subsets is one split."""

from pathlib import Path

import pytest

from milstore.errors import DataError
from milstore.ingest.splits import ingest_splits
from milstore.store import Store
from milstore.store.cohort import read_cohort
from tests.ingesting import make_labels, milstore, new_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = new_store(tmp_path)
    labels = make_labels(tmp_path / "labels.csv", "case_id,label\n1,a\n2,b\n3,a\n")
    assert milstore(store, "ingest", "labels", labels) == 0
    return store


def table(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def splits(store: Store) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in read_cohort(store).table("splits").to_pylist()]


@pytest.mark.parametrize(
    "text",
    [
        "case_id,subset\n1,train\n2,val\n3,test\n",
        "case_id;age;subset\n01;50;Train\n2;51;validation\n3.0;52;TEST\n",
        "case_id,split\n1,train\n2,valid\n3,test\n",
        "set,case_id\ntraining,1\nval,2\ntesting,3\n",
    ],
)
def test_a_table_of_cases_and_subsets_is_one_split(store: Store, tmp_path: Path, text: str) -> None:
    """Split 1 where the file's name holds no number; whatever the column of subsets is called."""
    report = ingest_splits(store, [table(tmp_path / "mine.csv", text)])
    assert splits(store) == [("mine", 1, "1", "train"), ("mine", 1, "2", "val"), ("mine", 1, "3", "test")]
    assert report.lines()[-1] == "mine, split 1 (mine.csv): 1 train, 1 val, 1 test"
    assert ingest_splits(store, [tmp_path / "mine.csv"]).changed is False


def test_several_such_files_are_a_split_each(store: Store, tmp_path: Path) -> None:
    """By the numbers in their names, as for .npz files."""
    files = [
        table(tmp_path / f"fold_{number}.csv", f"case_id,subset\n{test},test\n{val},val\n{train},train\n")
        for number, test, val, train in ((0, 1, 2, 3), (2, 2, 3, 1))
    ]
    ingest_splits(store, files, split_set="own")
    assert {(row[1], row[2]) for row in splits(store) if row[3] == "test"} == {(0, "1"), (2, "2")}


def test_tables_of_several_splits_are_what_they_were(store: Store, tmp_path: Path) -> None:
    """A column of numbers still tells the splits apart, and a column of folds is of test folds."""
    ingest_splits(store, [table(tmp_path / "all.csv", "split,case_id,subset\n4,1,train\n4,2,val\n4,3,test\n")])
    assert {row[1] for row in splits(store)} == {4}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case_id,subset\n1,train\n2,x\n", "mine.csv, line 3, has subset 'x': it must be train, val, test"),
        ("case_id,subset\n1,train\n1,val\n", "mine.csv has case 1 in train and in val: keep one"),
        ("case_id,subset\n1,train\n9,val\n", "names 1 cases that the store does not know (9)"),
        ("case,subset\n1,train\n", "for test folds, or case_id, subset for one split"),
    ],
)
def test_what_is_wrong_in_it_is_said(store: Store, tmp_path: Path, text: str, message: str) -> None:
    """With the line, or the columns that there are and those that are needed."""
    with pytest.raises(DataError) as caught:
        ingest_splits(store, [table(tmp_path / "mine.csv", text)])
    assert message in str(caught.value)
    assert splits(store) == []
