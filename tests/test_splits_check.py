"""Whether splits are fair, shown and checked."""

from pathlib import Path

import pytest

from milstore.analysis.splits import Balance, Finding, balance, check_splits
from milstore.ingest.labels import ingest_labels
from milstore.ingest.splits import ingest_splits
from milstore.store import Store
from milstore.store.cohort import read_cohort
from tests.ingesting import make_images, make_vectors, milstore, new_store

LABELS = "case_id,label\n1,benign\n2,benign\n3,benign\n4,high-grade\n5,high-grade\n6,high-grade\n7,benign\n"
FAIR = [{1: "train", 2: "val", 3: "test"}, {2: "train", 3: "val", 1: "test"}, {3: "train", 1: "val", 2: "test"}]


def put(store: Store, folder: Path, splits: list[dict[int, str]]) -> None:
    """Splits of benign cases, each with the high-grade case three numbers on."""
    rows = [(number, case, subset) for number, split in enumerate(splits, 1) for case, subset in split.items()]
    rows += [(number, case + 3, subset) for number, case, subset in rows if case <= 3]
    text = "".join(f"{number},{case},{subset}\n" for number, case, subset in rows)
    (folder / "splits.csv").write_text("split,case_id,subset\n" + text)
    ingest_splits(store, [folder / "splits.csv"], split_set="s")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Seven labelled cases."""
    store = new_store(tmp_path)
    (tmp_path / "labels.csv").write_text(LABELS)
    ingest_labels(store, tmp_path / "labels.csv", case_column="case_id", label_column="label")
    return store


def texts(store: Store, kind: str, groups: dict[str, str] | None = None) -> list[str]:
    (check,) = check_splits(store, "s", groups)
    return [finding.text for finding in check.findings if finding.kind == kind]


def test_the_balance_counts_each_class_in_each_subset(store: Store, tmp_path: Path) -> None:
    """A row a subset, a column a class, and the test cases in natural order."""
    put(store, tmp_path, FAIR)
    one = {"train": (1, 1), "val": (1, 1), "test": (1, 1)}
    assert balance(read_cohort(store), "s") == [
        Balance(1, ("benign", "high-grade"), one, ("3", "6")),
        Balance(2, ("benign", "high-grade"), one, ("1", "4")),
        Balance(3, ("benign", "high-grade"), one, ("2", "5")),
    ]


def test_fair_splits_keep_every_promise(store: Store, tmp_path: Path) -> None:
    """What holds is said too; a labelled case in no split is a note."""
    put(store, tmp_path, FAIR)
    (check,) = check_splits(store)
    assert check.is_sound
    assert check.findings == (
        Finding("kept", "no case is in two subsets of a split (3 splits)"),
        Finding("kept", "the test sets partition the 6 cases"),
        Finding("kept", "both classes are in every subset"),
        Finding("kept", "every case has a label"),
        Finding("note", "labelled, but in no split: 1 case (7)"),
        Finding("note", "the store has no features yet: run milstore ingest features or milstore encode"),
    )


def test_test_sets_that_overlap_or_leave_cases_out_are_broken(store: Store, tmp_path: Path) -> None:
    """Each case is to be in exactly one test set, unless it is said that each was drawn on its own, as CLAM's are."""
    put(store, tmp_path, [FAIR[0], FAIR[1], {3: "train", 2: "val", 1: "test"}])
    assert texts(store, "broken") == [
        "in several test sets: 2 cases (1, 4): if each test set was drawn on its own, as CLAM's are, say so by --overlapping",
        "in no test set: 2 cases (2, 5)",
    ]
    (check,) = check_splits(store, overlapping=True)
    assert check.is_sound
    assert [finding.text for finding in check.findings if finding.kind == "note"][:2] == [
        "in several test sets: 2 cases (1, 4): each answers from the lowest split, and rates count it once",
        "in no test set: 2 cases (2, 5)",
    ]


def test_the_command_takes_what_is_said_of_its_test_sets(store: Store, tmp_path: Path) -> None:
    """With --overlapping it exits with 0 where nothing else is broken, and with 1 without."""
    put(store, tmp_path, [FAIR[0], FAIR[1], {3: "train", 2: "val", 1: "test"}])
    assert milstore(store, "splits", "check") == 1
    assert milstore(store, "splits", "check", "--overlapping") == 0


def test_one_split_needs_no_partition(store: Store, tmp_path: Path) -> None:
    """A single split has one test set; how much of the cohort it holds is noted."""
    put(store, tmp_path, FAIR[:1])
    assert texts(store, "note")[0] == "there is one split, and its test set holds 2 of the 6 cases"
    assert texts(store, "broken") == []


def test_a_subset_without_a_class_is_broken(store: Store, tmp_path: Path) -> None:
    """Both classes are to be in train, val and test."""
    put(store, tmp_path, FAIR[:2])
    (tmp_path / "t.csv").write_text("split,case_id,subset\n1,1,train\n1,4,train\n1,2,val\n1,5,test\n")
    ingest_splits(store, [tmp_path / "t.csv"], split_set="s", replace=True)
    assert texts(store, "broken") == ["split 1 has no high-grade in val", "split 1 has no benign in test"]


def test_torn_groups_are_broken(store: Store, tmp_path: Path) -> None:
    """Cases of one patient in two subsets are a leak."""
    put(store, tmp_path, FAIR)
    groups = {"1": "p", "4": "p", "2": "q", "3": "q"}
    assert texts(store, "broken", groups) == [f"split {split} tears 1 group apart: q" for split in (1, 2, 3)]
    assert texts(store, "kept", {"1": "p", "4": "p"})[1] == "no group is torn apart (1 group)"


def test_cases_without_features_or_labels_are_broken(store: Store, tmp_path: Path) -> None:
    """A case that cannot be trained on is named."""
    from milstore.ingest.features import ingest_features
    from milstore.ingest.patches import ingest_patches

    names = tuple(f"case_{case}_match_1_he_patch0" for case in (1, 2, 3, 4, 5, 9))
    ingest_patches(store, make_images(tmp_path / "images", names))
    ingest_features(store, make_vectors(tmp_path / "vectors", names), encoder="e")
    put(store, tmp_path, [split | {9: "train"} for split in FAIR])
    broken = texts(store, "broken")
    assert "without a label: 1 case (9)" in broken
    assert "without features: 1 case (6)" in broken


def test_the_commands_show_and_check(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`splits show` prints a table a split; `splits check` exits with 1 if something is broken."""
    assert milstore(store, "splits", "show") == 2
    assert capsys.readouterr().err == (
        "error: the store has no splits: run milstore splits make or milstore ingest splits\n"
    )
    put(store, tmp_path, FAIR)
    assert milstore(store, "splits", "show", "--split-set", "s") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert rows[:7] == [
        ["s,", "split", "1", "of", "3"],
        ["Subset", "Benign", "High-Grade"],
        rows[2],
        ["train", "1", "1"],
        ["val", "1", "1"],
        ["test", "1", "1"],
        ["Test", "cases:", "3", "6"],
    ]
    assert milstore(store, "splits", "check") == 0
    assert "s: ok: the test sets partition the 6 cases\n" in capsys.readouterr().out
    (tmp_path / "g.csv").write_text("case_id,group\n1,p\n2,p\n3,q\n4,r\n5,s\n6,t\n")
    assert milstore(store, "splits", "check", "--group-by", tmp_path / "g.csv") == 1
    assert "s: BROKEN: split 1 tears 1 group apart: p\n" in capsys.readouterr().out
    assert milstore(store, "splits", "check", "--split-set", "t") == 2
    assert milstore(store, "splits", "make", "--folds", "3") == 0
    assert "split set cv3-seed0: 3 splits of 7 cases" in capsys.readouterr().err
