"""CLAM's splits of slides become splits of cases."""

from pathlib import Path

import pytest

from milstore.errors import DataError
from milstore.ingest.splits import ingest_splits
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.split_numbers import subsets_of
from tests.ingesting import contents, milstore
from tests.sliding import slide_store

RAGGED = ",train,val,test\n0,A_he,B_he,C_he\n1,A_sox,,\n"
OTHER = ",train,val,test\n0,C_he,B_he,A_he\n1,,,A_sox\n"
BOOL = ",train,val,test\nA_he,True,False,False\nA_sox,True,False,False\nB_he,False,True,False\nC_he,False,False,True\n"
COUNTS = ",train,val,test\nbenign,0,1,1\nhigh-grade,2,0,0\n"
FIRST, SECOND = {"A": "train", "B": "val", "C": "test"}, {"C": "train", "B": "val", "A": "test"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return slide_store(tmp_path / "store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as CLAM writes it: two splits from 0, each three times."""
    found = tmp_path / "splits" / "Task_1_100"
    found.mkdir(parents=True)
    for number, text in enumerate((RAGGED, OTHER)):
        (found / f"splits_{number}.csv").write_text(text)
        (found / f"splits_{number}_bool.csv").write_text(BOOL)
        (found / f"splits_{number}_descriptor.csv").write_text(COUNTS)
    (found / "summary.csv").write_text(",folds,test_auc\n0,0,0.5\n")
    return found


def splits(store: Store, name: str) -> dict[int, dict[str, str]]:
    cohort = read_cohort(store)
    numbers = {row["split"] for row in cohort.table("splits").to_pylist() if row["split_set"] == name}
    return {number: subsets_of(cohort, name, number) for number in sorted(numbers)}


def test_a_folder_is_one_split_set_by_its_name(store: Store, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`ingest splits DIR`: slides are read as cases, files by their numbers from 0, each split once, and a summary
    beside them not; a second time changes nothing.
    """
    assert milstore(store, "ingest", "splits", folder) == 0
    said = capsys.readouterr().err
    assert splits(store, "task_1_100") == {0: FIRST, 1: SECOND}
    assert "splits of slides: 4 slides of 3 cases" in said
    assert "not taken: splits_0_bool.csv, splits_0_descriptor.csv, splits_1_bool.csv, splits_1_descriptor.csv" in said
    assert not ingest_splits(store, [folder]).changed


def test_files_alone_are_read_too(store: Store, folder: Path) -> None:
    """Single files, by columns of slides or by True and False, say the same."""
    ingest_splits(store, [folder / "splits_0.csv", folder / "splits_1.csv"], split_set="ragged")
    ingest_splits(store, [folder / "splits_0_bool.csv"], split_set="bool")
    assert splits(store, "ragged") == {0: FIRST, 1: SECOND}
    assert splits(store, "bool") == {0: FIRST}


def test_slides_whose_ids_are_numbers_or_files_are_found(store: Store, tmp_path: Path) -> None:
    """pandas writes a short column of numbers with a point, and some lists name files: their stems are slides; a name that is
    no slide may be a case.
    """
    (tmp_path / "splits_3.csv").write_text(",train,val,test\n0,A_he.svs,B,C_he.tif\n1,A_sox.svs,,\n")
    ingest_splits(store, [tmp_path / "splits_3.csv"], split_set="files")
    assert splits(store, "files") == {3: FIRST}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            ",train,val,test\n0,A_he,B_he,C_he\n1,,A_sox,\n",
            "splits_0.csv, split 0, tears case A over subsets (A_he in train; A_sox in val)",
        ),
        (",train,val,test\n0,A_he,Z_he,C_he\n", "names 1 slide that the store does not know (Z_he)"),
        (",train,val,test\n0,A_he,B_he,A_he\n", "has slide A_he in train and in test: keep one"),
        (",train,val,test\nA_he,True,True,False\n", "has slide A_he in train, val: keep one"),
        (",train,val,test\n", "has no row"),
        (",train,val,test\n0,A_he,B_he,True\n", "line 2, has 'True' in test: it must name a slide"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    store: Store, tmp_path: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A case that is torn over subsets, a slide that is unknown or stands twice, and a file without splits are refused in one
    line; the store stays as it was.
    """
    (tmp_path / "splits_0.csv").write_text(text)
    before = contents(store)
    assert milstore(store, "ingest", "splits", tmp_path / "splits_0.csv") == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1
    assert contents(store) == before


def test_counts_and_folders_without_splits_are_refused(store: Store, folder: Path) -> None:
    """A descriptor alone is no split, and neither is the folder above, whose folders are named."""
    with pytest.raises(DataError, match="counts the slides of each class, and is no split"):
        ingest_splits(store, [folder / "splits_0_descriptor.csv"])
    with pytest.raises(DataError, match=r"holds no file of splits: name one of its folders \(Task_1_100\)"):
        ingest_splits(store, [folder.parent])
