"""Groups of cases: stored once, and known to every later split and check."""

from pathlib import Path

import pytest

from milstore.analysis.splits import check_splits
from milstore.errors import ConflictError, DataError, UsageError
from milstore.ingest.groups import ingest_groups
from milstore.ingest.labels import ingest_labels
from milstore.ingest.splits import ingest_splits, make_splits
from milstore.store import Store
from milstore.store.case_groups import stored_groups, torn_groups
from milstore.store.cohort import read_cohort
from milstore.store.summary import contents as info
from tests.ingesting import make_labels, milstore, new_store

CASES = [str(case) for case in range(1, 13)]
PATIENT = {case: f"P{(int(case) - 1) % 6}" for case in CASES}
"""Cases 1 and 7, 2 and 8, … are of one patient."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Twelve cases, benign and high-grade in turns of two."""
    rows = "".join(f"{case},{'benign' if int(case) % 4 < 2 else 'high-grade'}\n" for case in CASES)
    made = new_store(tmp_path)
    file = make_labels(tmp_path / "l.csv", "Case,Class\n" + rows)
    ingest_labels(made, file, case_column="Case", label_column="Class")
    return made


def write_groups(path: Path, groups: dict[str, str]) -> Path:
    path.write_text("case_id,patient\n" + "".join(f"{case},{group}\n" for case, group in groups.items()))
    return path


def splits(store: Store, name: str) -> dict[int, dict[str, str]]:
    found: dict[int, dict[str, str]] = {}
    for row in read_cohort(store).table("splits").to_pylist():
        if row["split_set"] == name:
            found.setdefault(row["split"], {})[row["case_id"]] = row["subset"]
    return found


def groups(store: Store) -> dict[str, str]:
    return stored_groups(read_cohort(store).table("case_groups"))


def test_groups_are_stored_once(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command stores the group of each case, says how far the file covers the store, and a second time changes nothing."""
    some = {case: PATIENT[case] for case in CASES[:-1]}
    file = write_groups(tmp_path / "g.csv", {**some, "99": "P9"})
    assert milstore(store, "ingest", "groups", file) == 0
    assert groups(store) == some
    assert capsys.readouterr().err.splitlines() == [
        "groups by g.csv: 11 of 12 cases in 6 groups",
        "not used: 1 id of g.csv (99 in line 13)",
        "without a row, each for itself: 1 case of the store (12)",
    ]
    assert dict(info(store))["groups of cases"] == "6 (of 11 cases)"
    assert ingest_groups(store, file).lines()[-1] == "nothing changed"


def test_splits_that_are_drawn_keep_stored_groups_together(store: Store, tmp_path: Path) -> None:
    """Nobody says the groups again: no patient is in two subsets of a split; --ungrouped draws without."""
    ingest_groups(store, write_groups(tmp_path / "g.csv", PATIENT))
    report = make_splits(store, folds=3, val_share=0.4)
    assert list(report.split_sets) == ["cv3-seed0-grouped"]
    assert "groups of the store: 12 of 12 cases in 6 groups" in report.lines()
    assert report.source.endswith("grouped by the store's groups")
    drawn = splits(store, "cv3-seed0-grouped")
    assert len(drawn) == 3 and all(torn_groups(split, PATIENT) == [] for split in drawn.values())
    make_splits(store, folds=3, ungrouped=True)
    assert any(torn_groups(split, PATIENT) for split in splits(store, "cv3-seed0").values())
    with pytest.raises(UsageError, match="--group-by and --ungrouped exclude each other"):
        make_splits(store, folds=3, ungrouped=True, group_by=tmp_path / "g.csv")


def test_every_check_knows_the_stored_groups(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A split that tears a patient apart is broken, without --group-by; storing the groups says so at once."""
    make_splits(store, folds=3, ungrouped=True, split_set="torn")
    sound = check_splits(store)[0].findings
    assert not any("group" in finding.text for finding in sound)
    report = ingest_groups(store, write_groups(tmp_path / "g.csv", PATIENT))
    torn = [number for number, split in splits(store, "torn").items() if torn_groups(split, PATIENT)]
    assert torn and [line.split(" tears")[0] for line in report.torn] == [f"split set torn: split {n}" for n in torn]
    assert milstore(store, "splits", "check") == 1
    said = capsys.readouterr().out
    assert all(f"torn: BROKEN: split {number} tears" in said for number in torn)


def test_splits_that_are_ingested_are_compared_with_the_stored_groups(store: Store, tmp_path: Path) -> None:
    """Splits of others stay as they are, and what they tear is said as they come in."""
    ingest_groups(store, write_groups(tmp_path / "g.csv", PATIENT))
    rows = [f"1,{case},{'test' if int(case) > 8 else 'val' if int(case) > 6 else 'train'}" for case in CASES]
    (tmp_path / "s.csv").write_text("split,case_id,subset\n" + "\n".join(rows) + "\n")
    report = ingest_splits(store, [tmp_path / "s.csv"], split_set="theirs")
    assert (
        "split set theirs: split 1 tears 6 groups apart: P0, P1, P2, P3, P4, P5: cases that belong together leak"
        in report.lines()
    )


def test_validation_that_is_drawn_for_test_folds_keeps_groups_together(store: Store, tmp_path: Path) -> None:
    """Where only the test folds are given, no patient is in train and in validation."""
    ingest_groups(store, write_groups(tmp_path / "g.csv", PATIENT))
    rows = "".join(f"1,{(int(case) - 1) % 2},{case}\n" for case in CASES)
    (tmp_path / "f.csv").write_text("repeat,fold,bag_id\n" + rows)
    report = ingest_splits(store, [tmp_path / "f.csv"], split_set="f", val_share=0.4)
    assert all(torn_groups(split, PATIENT) == [] for split in splits(store, "f-r1").values())
    assert not any("tears" in line for line in report.lines())


def test_another_group_of_a_case_is_refused_until_it_is_meant(store: Store, tmp_path: Path) -> None:
    """The store is right until --replace; a mark takes a group away only then."""
    ingest_groups(store, write_groups(tmp_path / "g.csv", {"1": "A", "2": "A", "3": "B"}))
    other = write_groups(tmp_path / "o.csv", {"1": "C", "2": "NA", "4": "C"})
    with pytest.raises(ConflictError, match=r"case 1 is of group 'A' in the store and of 'C' in .*: use --replace"):
        ingest_groups(store, other, missing=["NA"])
    report = ingest_groups(store, other, missing=["NA"], replace=True)
    assert groups(store) == {"1": "C", "3": "B", "4": "C"}
    assert report.corrected == ("1", "2")


def test_a_file_without_any_case_of_the_store_is_refused(store: Store, tmp_path: Path) -> None:
    """Ids of another cohort are named beside those of the store."""
    with pytest.raises(DataError, match=r"names no case of the store \(X1; the store has 1, 2, 3"):
        ingest_groups(store, write_groups(tmp_path / "g.csv", {"X1": "A"}))
    assert groups(store) == {}
