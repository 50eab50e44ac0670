"""`milstore ingest labels` without options: all that is missing at once, and the line to use."""

import shlex
from pathlib import Path

import pytest

from milstore.store import Store
from milstore.store.cohort import read_cohort
from tests.ingesting import contents, make_images, milstore, new_store


def refused(store: Store, words: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines of an `ingest labels` that is refused and changes nothing."""
    assert milstore(store, "info", "-q") == 0
    before = contents(store)
    capsys.readouterr()
    assert milstore(store, "ingest", "labels", *words) == 2
    assert contents(store) == before
    said = capsys.readouterr()
    assert said.out == ""
    return said.err.splitlines()


def table(folder: Path, text: str) -> Path:
    path = folder / "patients.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_all_is_told_at_once_and_the_line_goes_through(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both columns, marks of unknown labels and spellings are named in one line; the line below it takes the file in."""
    store = new_store(tmp_path)
    file = table(tmp_path, "Patient;Age;Outcome\nA1;50;relapse\nA2;51;Relapse\nA3;50;cured\nA4;53;NA\nA5;54;\n")
    error, line, *more = refused(store, [str(file), "--attribute", "Age"], capsys)
    assert error == (
        f"error: {file} has the columns Patient, Age, Outcome, and it is not said which one has the case (--case-column; "
        "plainly Patient); which one has the label (--label-column; plainly Outcome); whether 'NA' (line 5), nothing "
        "(line 6) is an unknown label (--missing); whether 'Relapse', 'relapse' are one class (--map): use the line below"
    )
    assert line == (
        f"  milstore ingest labels {file} --case-column Patient --label-column Outcome "
        "--map Relapse=Relapse,relapse=Relapse,cured=cured --missing NA --attribute Age"
        f" --store {store.root}"
    )
    assert more == []
    assert milstore(store, *shlex.split(line)[1:-2]) == 0
    cases = read_cohort(store).table("cases").select(["case_id", "class_name"]).to_pylist()
    assert [tuple(row.values()) for row in cases] == [
        ("A1", "Relapse"), ("A2", "Relapse"), ("A3", "cured"), ("A4", None), ("A5", None),
    ]  # fmt: skip


def test_codes_are_named_as_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the labels need nothing, it is said which classes come of them, and how they are named."""
    file = table(tmp_path, "Case,Class\n7,1\n8,3\n")
    _, line, *more = refused(new_store(tmp_path), [str(file)], capsys)
    assert "--case-column Case --label-column Class" in line
    assert more == ["By it there are 2 classes: 1, 3.", "To name or to join them, add --map 1=NAME,3=NAME"]


def test_what_was_named_is_kept_in_the_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Options that were given stand in the line to use; a column that is there by its usual name needs none."""
    file = table(tmp_path, "case_id,Grade,site\n7,1,x\n8,?,y\n9,NA,y\n")
    words = [str(file), "--missing", "?", "--group-column", "site", "--replace"]
    _, line, *_ = refused(new_store(tmp_path), words, capsys)
    assert shlex.split(line)[3:-2] == [
        str(file), "--label-column", "Grade", "--missing", "?,NA", "--group-column", "site", "--replace",
    ]  # fmt: skip


def test_what_is_not_plain_is_not_guessed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two columns that could be the label, or the case, are both named: the user chooses."""
    file = table(tmp_path, "Nr;Grade;Outcome;Arm\n1;a;x;q\n2;a;x;q\n3;b;y;q\n4;b;y;q\n")
    error, line, *_ = refused(new_store(tmp_path), [str(file)], capsys)
    assert "(--case-column; plainly Nr); which one has the label (--label-column; perhaps Grade, Outcome)" in error
    assert "--case-column Nr --label-column COLUMN" in line


def test_the_cases_of_the_store_tell_the_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever it is called, a column whose texts are the cases that the store knows is the one with the cases."""
    store = new_store(tmp_path)
    assert milstore(store, "ingest", "patches", make_images(tmp_path / "images"), "--names-only") == 0
    file = table(tmp_path, "Id,Einsendung,Befund\n1,052,gut\n2,7,gut\n3,7.0,gut\n4,9,boese\n5,10,boese\n")
    _, line, *_ = refused(store, [str(file)], capsys)
    assert "--case-column Einsendung --label-column Befund" in line


def test_the_usual_names_need_no_option(tmp_path: Path) -> None:
    """A table with case_id and label goes in as it is."""
    store = new_store(tmp_path)
    assert milstore(store, "ingest", "labels", table(tmp_path, "case_id,label,age\n7,a,50\n8,b,51\n")) == 0
    assert read_cohort(store).table("classes")["class_name"].to_pylist() == ["a", "b"]
