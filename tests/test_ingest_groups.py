"""Group files: read as every other file is, and refused where they leave cases out."""

from pathlib import Path

import pytest

from milstore.errors import DataError
from milstore.formats.group_file import read_groups
from milstore.formats.missing_marks import Marks
from milstore.ingest.labels import ingest_labels
from milstore.ingest.splits import make_splits
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.names import matching_case_id
from tests.ingesting import contents, milstore, new_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Twelve cases, benign and high-grade by turns in pairs, and one without a label."""
    store = new_store(tmp_path)
    rows = "".join(f"{case},{'benign' if case % 4 < 2 else 'high-grade'}\n" for case in range(1, 13))
    (tmp_path / "labels.csv").write_text("case_id,label\n" + rows + "13,NA\n")
    ingest_labels(store, tmp_path / "labels.csv", case_column="case_id", label_column="label", missing=["NA"])
    return store


def write_groups(path: Path, ids: list[str], groups: list[str]) -> Path:
    path.write_text("case_id,group\n" + "".join(f"{i},{g}\n" for i, g in zip(ids, groups, strict=True)))
    return path


IDS = [str(case) for case in range(1, 13)]
PATIENTS = [f"P{(case - 1) % 6}" for case in range(1, 13)]
"""Cases 1 and 7, 2 and 8, … are of one patient."""


def subsets(store: Store, split_set: str) -> dict[tuple[int, str], str]:
    rows = read_cohort(store).table("splits").to_pylist()
    return {(row["split"], row["case_id"]): row["subset"] for row in rows if row["split_set"] == split_set}


@pytest.mark.parametrize("form", ["{}", "{}.0", "{:0>3}", "{:0>3}.00", " {} "])
def test_ids_are_read_as_everywhere(store: Store, tmp_path: Path, form: str) -> None:
    """Zeros in front, blanks, and the .0 that pandas writes: the file groups the same cases, and no patient is torn."""
    file = write_groups(tmp_path / "g.csv", [form.format(case) for case in IDS], PATIENTS)
    report = make_splits(store, folds=2, group_by=file, split_set="g", val_share=0.4)
    assert "groups by g.csv: 12 of 12 cases in 6 groups" in report.lines()
    found = subsets(store, "g")
    for split in (1, 2):
        assert all(found[split, str(case)] == found[split, str(case + 6)] for case in range(1, 7))


def test_an_id_is_never_bent_where_it_is_known(store: Store) -> None:
    """Where 7.0 is a case of its own, it is not case 7."""
    assert matching_case_id("7.0", {"7", "7.0"}) == "7.0"
    assert matching_case_id("7.1", {"7"}) == "7.1"
    assert matching_case_id("007.000", {"7"}) == "7"


def test_a_file_that_matches_nothing_is_refused(store: Store, tmp_path: Path) -> None:
    """No split set is called grouped by a file that groups nothing; what to do is said, and nothing is stored."""
    file = write_groups(tmp_path / "g.csv", [f"case {case}" for case in IDS], PATIENTS)
    before = contents(store)
    with pytest.raises(DataError) as refused:
        make_splits(store, folds=2, group_by=file)
    assert str(refused.value) == (
        "g.csv has no row for 12 of the 12 cases (1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more), and 12 ids that are no such "
        "case (case 1 in line 2, case 2 in line 3, case 3 in line 4, case 4 in line 5, case 5 in line 6, case 6 in "
        "line 7, case 7 in line 8, case 8 in line 9, case 9 in line 10, case 10 in line 11 and 2 more): give each case a "
        "row; one that stands alone is a group of its own"
    )
    assert contents(store) == before


def test_a_file_must_name_every_case(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Cases that are missing are named, by `make` and by `check`; a case without a label need not be in it."""
    file = write_groups(tmp_path / "g.csv", IDS[:10], PATIENTS[:10])
    assert milstore(store, "splits", "make", "--folds", "2", "--group-by", file) == 2
    told = "g.csv has no row for 2 of the 12 cases (11, 12): give each case a row; one that stands alone is a group of"
    assert told in capsys.readouterr().err
    assert milstore(store, "splits", "make", "--folds", "2", "--split-set", "s") == 0
    assert milstore(store, "splits", "check", "--group-by", file) == 2
    assert told in capsys.readouterr().err


def test_the_coverage_is_said(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """How many cases in how many groups; which ids are of no case, with their lines; which cases stand for themselves."""
    file = write_groups(tmp_path / "g.csv", [*IDS, "77", "NA"], [*PATIENTS[:11], "n/a", "P9", "P9"])
    words = ("--group-by", file, "--missing", "NA,n/a")
    said = [
        "groups by g.csv: 11 of 12 cases in 6 groups",
        "of unknown group, each for itself: 1 case (12)",
        "not used: 1 id of g.csv (77 in line 14)",
        "left out: 1 row without a case (line 15)",
    ]
    assert milstore(store, "splits", "make", "--folds", "2", "--val-share", "0.4", "--split-set", "s", *words) == 0
    assert capsys.readouterr().err.splitlines()[-4:] == said
    assert milstore(store, "splits", "check", "--split-set", "s", *words) == 0
    printed = capsys.readouterr()
    assert printed.err.splitlines() == said
    assert "s: ok: no group is torn apart (6 groups)\ns: note: in no group: 1 case (12)\n" in printed.out


@pytest.mark.parametrize(
    ("ids", "groups", "message"),
    [
        (["1", "2"], ["NA", "none"], "in column group what stands for a missing value: 'NA' (line 2), 'none' (line 3)"),
        (["1", ""], ["p", "q"], "in column case_id what stands for a missing value: nothing (line 3)"),
        (["1", "2"], ["P1", "p 1"], "spells one thing in several ways in column group: 'P1' (line 2), 'p 1' (line 3)"),
        (["1", "01.0"], ["p", "q"], "has case 1 in the groups p (line 2) and q (line 3): keep one"),
        (["1", "case_id"], ["p", "group"], "repeats its header in line 3: drop it there"),
    ],
)
def test_what_a_group_file_cannot_mean_is_refused(
    tmp_path: Path, ids: list[str], groups: list[str], message: str
) -> None:
    """Words for missing values, spellings and repeated headers are named with their lines."""
    file = write_groups(tmp_path / "g.csv", ids, groups)
    with pytest.raises(DataError) as refused:
        read_groups(file, {"1", "2"})
    assert message in str(refused.value)


def test_marks_that_are_named_are_no_groups(tmp_path: Path) -> None:
    """A case with a marked group has none; a repeated header is counted."""
    file = write_groups(tmp_path / "g.csv", ["1", "2", "case_id", "3"], ["NA", "p", "group", " na "])
    groups = read_groups(file, {"1", "2", "3"}, Marks.of(["na"]))
    assert groups.group_of == {"1": None, "2": "p", "3": None}
    assert groups.notes == ("left out: 1 repetition of the header (line 4)",)
