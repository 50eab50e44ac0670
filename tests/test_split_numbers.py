"""The numbers of splits are those of the file, from 0 too and with gaps, and everything works by them."""

import csv
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milstore.asking.selection import Choice, select
from milstore.errors import ConflictError, DataError, UsageError
from milstore.formats.split_numbering import numbers_in
from milstore.ingest.runs import ingest_run
from milstore.ingest.split_report import SplitSummary
from milstore.ingest.splits import ingest_splits
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import edit_cohort
from milstore.store.run_reader import read_run, run_ids
from milstore.store.run_writer import begin_run
from milstore.store.views import connect
from tests.forking import fork
from tests.ingesting import contents, milstore
from tests.launching import by_forks
from tests.making import THREE_LABELS, levels, make_run, three_case_store
from tests.training_cohort import tiny_store

SMALL = ("--epochs", "2", "--min-epochs", "1", "--hidden", "8", "--attention-dim", "4", "--threads", "1")
ROWS = "2,test\n10,val\n46,train\n"
TURNED = "2,train\n10,test\n46,val\n"


def renumber(store: Store, numbers: dict[int, int]) -> None:
    """Give the splits of a store other numbers."""
    with edit_cohort(store) as edit:
        rows = edit.table("splits").to_pylist()
        edit.replace("splits", pa.Table.from_pylist([{**row, "split": numbers[row["split"]]} for row in rows]))


def numbers(store: Store, split_set: str) -> list[int]:
    rows = read_cohort(store).table("splits").to_pylist()
    return sorted({row["split"] for row in rows if row["split_set"] == split_set})


def write_table(path: Path, splits: dict[str, str]) -> Path:
    """A table of splits: the rows of each, under what it is called."""
    rows = [f"{name},{row}" for name, text in splits.items() for row in text.splitlines()]
    path.write_text("split,case_id,subset\n" + "\n".join(rows) + "\n")
    return path


def write_npz(path: Path, test: str = "2", val: str = "10", train: str = "46") -> Path:
    path.parent.mkdir(exist_ok=True)
    np.savez(path, train_cases=np.array([train]), val_cases=np.array([val]), test_cases=np.array([test]))
    return path


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("0", "1"), [0, 1]),
        (("10", "2", "07"), [2, 7, 10]),
        (("0.0", "1.0"), [0, 1]),
        (("fold0", "fold3"), [0, 3]),
        (("Fold 1 of 5", "fold 2 of 5"), [1, 2]),
        (("b", "a"), [1, 2]),
    ],
)
def test_a_table_keeps_its_numbers(three: Store, tmp_path: Path, names: tuple[str, ...], expected: list[int]) -> None:
    """The number in the column split is the split's; texts without one are counted from 1 in natural order."""
    file = write_table(tmp_path / "s.csv", dict.fromkeys(names, ROWS))
    report = ingest_splits(three, [file])
    assert numbers(three, "s") == expected
    assert [each.split for each in report.splits] == expected
    assert report.numbered == (
        "counted from 1 in the order of their names, which hold no number"
        if expected == [1, 2] and names == ("b", "a")
        else "numbered as in column split of s.csv"
    )


def test_what_was_understood_is_said(three: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each split is printed with its number, what it was called, and its cases by subset."""
    files = [write_npz(tmp_path / f"fold{number}.npz") for number in (0, 2)]
    assert milstore(three, "ingest", "splits", *files) == 0
    assert capsys.readouterr().err.splitlines() == [
        "split set fold: 2 splits of 3 cases (fold0.npz, fold2.npz)",
        "numbered as in the names of the files",
        "fold, split 0 (fold0.npz): 1 train, 1 val, 1 test",
        "fold, split 2 (fold2.npz): 1 train, 1 val, 1 test",
    ]
    report = ingest_splits(three, [write_table(tmp_path / "s.csv", {"site a": ROWS, "site b": TURNED})])
    assert report.splits == (
        SplitSummary("s", 1, "site a", {"train": 1, "val": 1, "test": 1}),
        SplitSummary("s", 2, "site b", {"train": 1, "val": 1, "test": 1}),
    )
    assert milstore(three, "splits", "show", "--split-set", "fold") == 0
    out = capsys.readouterr().out
    assert "fold, split 0 of 0, 2" in out and "fold, split 2 of 0, 2" in out


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (("data_05.npz",), [5]),
        (("cv5-final.npz",), [1]),
        (("fold0_of_3.npz", "fold1_of_3.npz"), [0, 1]),
        (("seed7_fold_0.npz", "seed7_fold_4.npz"), [0, 4]),
        (("left.npz", "right.npz"), [1, 2]),
        (("0/splits.npz", "3/splits.npz"), [0, 3]),
    ],
)
def test_files_keep_the_number_in_their_names(
    three: Store, tmp_path: Path, files: tuple[str, ...], expected: list[int]
) -> None:
    """The one number in which the names differ is the split's; a folder's where the files are called alike."""
    ingest_splits(three, [write_npz(tmp_path / file) for file in files], split_set="s")
    assert numbers(three, "s") == expected


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("fold1.npz", "fold01.npz"), "both hold split 1: name each by a number of its own"),
        (("fold1a.npz", "other.npz"), "which number belongs to which split cannot be told from fold1a, other"),
        (("a1_b1_x.npz", "a2_b2_x.npz"), "cannot be told from a1_b1_x, a2_b2_x: let the names differ in one number"),
    ],
)
def test_numbers_that_are_not_clear_are_refused(
    three: Store, tmp_path: Path, files: tuple[str, ...], message: str
) -> None:
    """No number is guessed."""
    before = contents(three)
    with pytest.raises(DataError) as refused:
        ingest_splits(three, [write_npz(tmp_path / file) for file in files], split_set="s")
    assert message in str(refused.value)
    assert contents(three) == before


@pytest.mark.parametrize("text", ["-1", "1.5", "1e3", "2147483648", "1_0"])
def test_what_is_no_number_of_a_split_is_refused(three: Store, tmp_path: Path, text: str) -> None:
    """A number that is not whole, or too large, is named with its line."""
    file = write_table(tmp_path / "s.csv", {"0": ROWS, text: ROWS})
    with pytest.raises(DataError, match=rf"line 5, has split {text}: it must be a whole number from 0"):
        ingest_splits(three, [file])


@given(st.sets(st.integers(0, 10**9 - 1), min_size=2), st.text("ab_- .", max_size=4), st.text("xy_", max_size=3))
def test_names_give_back_their_numbers(known: set[int], before: str, after: str) -> None:
    """Names that are made from numbers are read as these numbers, whatever stands around them."""
    names = {f"{before}{number}{after}": number for number in known}
    assert numbers_in(list(names)) == names


def test_test_folds_keep_their_numbers(three: Store, tmp_path: Path) -> None:
    """A table of test folds from 0 makes splits from 0; a case without a label is left out and named."""
    with edit_cohort(three) as edit:
        cases = [
            {"case_id": str(case), "label": case % 2, "class_name": ("benign", "high-grade")[case % 2]}
            for case in range(1, 13)
        ]
        cases.append({"case_id": "99", "label": None, "class_name": None})
        known = {row["case_id"] for row in cases}
        cases += [row for row in edit.table("cases").to_pylist() if row["case_id"] not in known]
        from milstore.ingest.label_edit import write_cases

        write_cases(edit, {str(row["case_id"]): row for row in cases})
    rows = [f"{(case - 1) // 4},{case}" for case in range(1, 13)] + ["2,99"]
    (tmp_path / "cv.csv").write_text("fold,case_id\n" + "\n".join(rows) + "\n")
    report = ingest_splits(three, [tmp_path / "cv.csv"])
    assert numbers(three, "cv-r1") == [0, 1, 2]
    assert report.left_out == ("99",)
    test = {row["case_id"]: row["split"] for row in read_cohort(three).table("splits").to_pylist()
            if row["split_set"] == "cv-r1" and row["subset"] == "test"}  # fmt: skip
    assert test == {str(case): (case - 1) // 4 for case in range(1, 13)}


def test_splits_taken_in_under_other_numbers_are_called_so(three: Store, tmp_path: Path) -> None:
    """A file whose splits are in the store under other numbers is not put beside them in silence."""
    ingest_splits(three, [write_table(tmp_path / "s.csv", {"1": ROWS, "2": TURNED})])
    file = write_table(tmp_path / "s.csv", {"0": ROWS, "1": TURNED})
    with pytest.raises(ConflictError, match=r"has a split set s with the same splits under other numbers \(1, 2\)"):
        ingest_splits(three, [file])
    ingest_splits(three, [file], replace=True)
    assert numbers(three, "s") == [0, 1]


def test_training_by_the_numbers_of_the_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--split 0` trains split 0, `--split all` those that there are, side by side too; what is not there is refused."""
    store = tiny_store(tmp_path / "tiny")
    renumber(store, {1: 0, 2: 7})
    assert milstore(store, "train", "--split", "1", *SMALL) == 2
    assert capsys.readouterr().err == "error: --split 1: split set tiny has the splits 0, 7\n"
    assert milstore(store, "train", "--split", "0", *SMALL, "--experiment", "e") == 0
    (run_id,) = run_ids(store)
    assert run_id.startswith("e-s0-0-")
    assert (read_run(store, run_id)["split"], read_run(store, run_id)["n_splits"]) == (0, 2)
    assert {row["subset"] for row in _predictions(store, run_id) if row["case_id"] in ("7", "8")} == {"val"}
    capsys.readouterr()
    assert milstore(store, "query", "recall", "--format", "csv") == 0
    said = capsys.readouterr()
    assert "note: e has 1 of 2 splits so far" in said.err
    assert "split 0" in {row["scope"] for row in csv.DictReader(said.out.splitlines())}
    words = ("train", "--split", "all", "--launcher", "local", *SMALL, "--experiment", "e")
    launcher = fork(tmp_path, by_forks(partial(milstore, store, *words)))
    assert launcher.wait() == 0
    assert f"note: split 0 is finished, run {run_id}; --fresh trains it again\n" in launcher.text()
    assert "split 7 is trained by process" in launcher.text()
    assert sorted(read_run(store, each)["split"] for each in run_ids(store)) == [0, 7]
    assert milstore(store, "query", "recall", "--format", "csv") == 0
    said = capsys.readouterr()
    assert "of 2 splits" not in said.err
    scopes = {row["scope"] for row in csv.DictReader(said.out.splitlines())}
    assert scopes == {"split 0", "split 7", "mean over splits", "pooled"}
    assert milstore(store, "train", "--split", "all", *SMALL, "--experiment", "e") == 0
    assert "every split is finished" in capsys.readouterr().err
    assert milstore(store, "doctor") == 0


def _predictions(store: Store, run_id: str) -> list[dict[str, object]]:
    rows = connect(store).execute(f"select * from predictions where run_id = '{run_id}'").to_arrow_table()
    return list(rows.to_pylist())


def test_a_plot_and_the_list_of_runs_know_split_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run of split 0 is drawn and listed under its number."""
    store = three_case_store(tmp_path / "three")
    make_run(
        store, "zero-s0-0", {"2": "test", "10": "val", "46": "train"}, THREE_LABELS,
        dict.fromkeys(THREE_LABELS, (0.5, 0.5)), levels({("2", "h&e", 0, 0): 1.0, ("10", "h&e", 0, 0): 1.0,
        ("46", "h&e", 0, 1): 1.0}), split_set="three", split=0, n_splits=3, experiment="zero",
    )  # fmt: skip
    begin_run(store, "zero-s0-1", {"experiment": "zero", "split_set": "three", "split": 0, "seed": 1})
    begin_run(store, "dark-s0-1", {})
    capsys.readouterr()
    assert milstore(store, "runs", "list", "--format", "csv") == 0
    listed = {row["run_id"]: row["split"] for row in csv.DictReader(capsys.readouterr().out.splitlines())}
    assert listed["zero-s0-0"] == listed["zero-s0-1"] == "0"
    assert listed["dark-s0-1"] == ""
    assert milstore(store, "plot", "loss-curves", "--run", "zero-s0-0", "-o", tmp_path / "c.html") == 0
    assert "split 0" in (tmp_path / "c.html").read_text()


@pytest.mark.parametrize("known", [{1: 0, 2: 5, 3: 9}, {1: 2, 2: 3, 3: 4}])
def test_complete_means_every_number_of_the_set(three: Store, known: dict[int, int]) -> None:
    """Runs of numbers that the split set does not have make no experiment complete."""
    renumber(three, known)
    con = connect(three)
    title = select(con, three, Choice()).title
    there = len({1, 2, 3} & set(known.values()))
    assert title == f"experiment exp, seed 0, test subsets, {there} of 3 splits"


def test_the_seed_that_has_every_number_answers(three: Store) -> None:
    """Of two seeds, one is complete by the numbers of the set, the other only by count."""
    renumber(three, {1: 0, 2: 1, 3: 2})
    attention = levels({("2", "h&e", 0, 0): 1.0, ("10", "h&e", 0, 0): 1.0, ("46", "h&e", 0, 1): 1.0})
    for split in range(3):
        make_run(
            three, f"exp-s{split}-5", {"2": "test", "10": "val", "46": "train"}, THREE_LABELS,
            dict.fromkeys(THREE_LABELS, (0.5, 0.5)), attention, split_set="three", split=split, n_splits=3, seed=5,
            finished_at="2026-01-02T00:00:00",
        )  # fmt: skip
    assert select(connect(three), three, Choice()).title == "experiment exp, seed 5, test subsets"


def test_a_run_of_split_0_is_taken_in(three: Store, tmp_path: Path) -> None:
    """`ingest run --split 0` takes a run of split 0, and names the splits where there is no such."""
    renumber(three, {1: 0, 2: 1, 3: 4})
    cohort = read_cohort(three)
    patches = cohort.table("patches").to_pylist()
    places = [(row["case_id"], row["stain"], row["slice_idx"], row["patch_idx"]) for row in patches]
    table = levels(dict.fromkeys(places, 1.0))
    with (tmp_path / "a.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [name for name in table.column_names if name != "effective_attention"])
        writer.writeheader()
        writer.writerows({name: row[name] for name in writer.fieldnames} for row in table.to_pylist())
    (tmp_path / "p.csv").write_text("case_id,p_0,p_1\n2.0,0.4,0.6\n10.0,0.5,0.5\n46.0,0.9,0.1\n")
    files = tmp_path / "p.csv", tmp_path / "a.csv"
    with pytest.raises(UsageError, match="--split 3: split set three has the splits 0, 1, 4"):
        ingest_run(three, *files, experiment="theirs", split=3)
    report = ingest_run(three, *files, experiment="theirs", split=0, slices_by="number", patches_by="number")
    assert report.run_id.startswith("theirs-s0-0-")
    assert {row["case_id"]: row["subset"] for row in _predictions(three, report.run_id)} == {
        "2": "test", "10": "val", "46": "train",
    }  # fmt: skip
