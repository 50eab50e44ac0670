"""What is computed of a run later lies beside it, and labels that were corrected are noted."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from milstore.cli.main import main
from milstore.errors import ConflictError, DataError, UsageError
from milstore.store import Store
from milstore.store.cohort_edit import edit_cohort
from milstore.store.derived import LISTING, derived_file, derived_runs, put_derived
from milstore.store.doctor import check, repair
from milstore.store.findings import DAMAGE, LEFTOVER, NOTE
from milstore.store.removal import delete_run, removable
from milstore.store.run_reader import run_ids
from milstore.store.summary import contents
from tests.test_store_cohort import snapshot

RUN = "exp-s1-0"


def write(text: str) -> Callable[[Path], None]:
    def writer(path: Path) -> None:
        path.write_text(text, encoding="utf-8")

    return writer


def kinds(store: Store) -> list[tuple[str, str]]:
    return [(finding.kind, finding.where) for finding in check(store, young=0)]


def test_a_derived_file_comes_back_and_the_run_stays(three: Store) -> None:
    """It is listed with its hash, read only if it is what was stored, and the run's folder is untouched."""
    before = snapshot(three.run_folder(RUN))
    path = put_derived(three, RUN, "evidence.csv", write("a,b\n"))
    assert path == three.root / "derived" / f"run_id={RUN}" / "evidence.csv"
    assert derived_file(three, RUN, "evidence.csv") == path
    assert derived_file(three, RUN, "other.csv") is None
    assert (snapshot(three.run_folder(RUN)), derived_runs(three), kinds(three)) == (before, [RUN], [])
    assert dict(contents(three))["computed of runs"] == f"1 ({RUN})"
    with pytest.raises(ConflictError, match="has a derived evidence"):
        put_derived(three, RUN, "evidence.csv", write("c\n"))
    put_derived(three, RUN, "evidence.csv", write("c\n"), replace=True)
    assert path.read_text(encoding="utf-8") == "c\n"
    path.write_text("d\n", encoding="utf-8")
    with pytest.raises(DataError, match="is not what was stored"):
        derived_file(three, RUN, "evidence.csv")


@pytest.mark.parametrize("name", [LISTING, "../x", ".hidden", "a/b", ""])
def test_a_derived_file_lies_in_its_folder(three: Store, name: str) -> None:
    """A name is a plain name, and the run is there; else nothing is written."""
    with pytest.raises(UsageError):
        put_derived(three, RUN, name, write(""))
    with pytest.raises(UsageError, match="there is no finished run 'none'"):
        put_derived(three, "none", "x.csv", write(""))
    assert not three.derived.exists()


def test_the_doctor_looks_at_derived_files(three: Store) -> None:
    """A file that changed or is missing is damage, one that is not listed a note, those of a run that is gone left over."""
    for name in ("a.csv", "b.csv"):
        put_derived(three, RUN, name, write(name))
    folder = three.derived_folder(RUN)
    (folder / "a.csv").write_text("other", encoding="utf-8")
    (folder / "b.csv").unlink()
    (folder / "c.csv").write_text("", encoding="utf-8")
    where = f"derived/run_id={RUN}"
    assert kinds(three) == [(DAMAGE, f"{where}/a.csv"), (DAMAGE, f"{where}/b.csv"), (NOTE, f"{where}/c.csv")]
    (folder / LISTING).write_text("{", encoding="utf-8")
    assert kinds(three) == [(DAMAGE, f"{where}/{LISTING}")]
    folder.rename(three.derived / "run_id=gone")
    assert kinds(three) == [(LEFTOVER, "derived/run_id=gone")]
    repair(three, check(three, young=0))
    assert kinds(three) == []


def test_a_deleted_run_takes_what_was_computed_of_it(three: Store) -> None:
    """`runs delete` counts it and removes it."""
    less = removable(three, RUN).n_files
    put_derived(three, RUN, "a.csv", write("a"))
    run = removable(three, RUN)
    assert run.n_files == less + 2
    delete_run(three, run)
    assert (RUN in run_ids(three), three.derived_folder(RUN).exists(), kinds(three)) == (False, False, [])


def test_corrected_labels_are_noted_and_nothing_is_broken(three: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Every run that saw the old label is named with the case; the exit code stays 0."""
    with edit_cohort(three) as edit:
        rows = [
            {**row, "label": 0, "class_name": "benign"} if row["case_id"] == "2" else row
            for row in edit.table("cases").to_pylist()
        ]
        edit.replace("cases", pa.Table.from_pylist(rows, edit.table("cases").schema))
    found = check(three)
    assert [(finding.kind, finding.where) for finding in found] == [
        (NOTE, f"runs/run_id={run_id}") for run_id in run_ids(three)
    ]
    assert found[0].what == "saw other labels than the store has now, of 1 case (2)"
    assert main(["doctor", "--store", str(three.root)]) == 0
    assert "saw other labels" in " ".join(capsys.readouterr().out.split())
