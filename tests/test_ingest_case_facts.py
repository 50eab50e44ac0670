"""What else a table of labels says of its cases."""

from pathlib import Path

import pytest

from milstore.cli.main import main
from milstore.errors import ConflictError, DataError
from milstore.ingest.labels import LabelsReport, ingest_labels
from milstore.store import Store
from milstore.store.cohort import read_cohort
from tests.ingesting import new_store

TABLE = "case_id,label,site,age,patient\n01,a,arm,71,p\n2,b,,80,p\n3,a,leg,NA,q\n"


def ingest(store: Store, folder: Path, text: str = TABLE, *, replace: bool = False) -> LabelsReport:
    (folder / "l.csv").write_text(text, encoding="utf-8")
    return ingest_labels(
        store, folder / "l.csv", case_column="case_id", label_column="label", missing=["NA"],
        attributes=("site", "age"), group_column="patient", replace=replace,
    )  # fmt: skip


def facts(store: Store) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    cohort = read_cohort(store)
    attributes, groups = (cohort.table(name).to_pylist() for name in ("case_attributes", "case_groups"))
    return [tuple(row.values()) for row in attributes], [tuple(row.values()) for row in groups]


EXPECTED = (
    [("1", "age", "71"), ("1", "site", "arm"), ("2", "age", "80"), ("3", "site", "leg")],
    [("1", "p"), ("2", "p"), ("3", "q")],
)


def test_columns_are_kept_as_attributes_and_groups(tmp_path: Path) -> None:
    """Where asked for, by the case's id as the store has it; empty cells and marks say nothing; a second time changes nothing."""
    store = new_store(tmp_path)
    assert ingest(store, tmp_path).changed
    assert facts(store) == EXPECTED
    assert not ingest(store, tmp_path).changed


def test_what_another_table_says_is_added(tmp_path: Path) -> None:
    """Other cases and attributes stay; what contradicts is refused, and taken with --replace."""
    store = new_store(tmp_path)
    ingest(store, tmp_path)
    with pytest.raises(ConflictError, match=r"case 1 has site 'arm' in the store and 'back' in .*: use --replace"):
        ingest(store, tmp_path, TABLE.replace("arm", "back"))
    assert facts(store) == EXPECTED
    ingest(store, tmp_path, "case_id,label,site,age,patient\n1,a,back,71,p\n", replace=True)
    assert facts(store)[0][1] == ("1", "site", "back")
    assert facts(store)[0][2:] == EXPECTED[0][2:]
    assert facts(store)[1] == EXPECTED[1]


def test_a_case_of_two_values_is_refused(tmp_path: Path) -> None:
    """Two rows of a case that differ are named with both values, and nothing is stored."""
    store = new_store(tmp_path)
    with pytest.raises(DataError, match=r"says of case 1 in site both 'arm' and 'leg' \(line 5\): keep one"):
        ingest(store, tmp_path, TABLE + "1,a,leg,71,p\n")
    assert facts(store) == ([], [])


def test_the_command_takes_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--attribute` may be given several times; SQL may go by what it says."""
    store = new_store(tmp_path)
    (tmp_path / "l.csv").write_text(TABLE, encoding="utf-8")
    words = ["ingest", "labels", str(tmp_path / "l.csv"), "--attribute", "site", "--attribute", "patient"]
    assert main([*words, "--store", str(store.root)]) == 0
    capsys.readouterr()
    sql = "select case_id, value from case_attributes where name = 'patient' order by all"
    assert main(["sql", sql, "--format", "csv", "--store", str(store.root)]) == 0
    assert capsys.readouterr().out.split() == ["case_id,value", "1,p", "2,p", "3,q"]
    assert main([*words, "--attribute", "none", "--store", str(store.root)]) == 2
    assert "has no column 'none'" in capsys.readouterr().err
