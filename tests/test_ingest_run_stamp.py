"""Cross-validations of STAMP go in: predictions of patients, held-out cases as the test, no attention."""

import json
from pathlib import Path
from typing import Any

import pytest

import milstore
from milstore.errors import UsageError
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.run_reader import read_run, run_ids
from milstore.store.split_numbers import subsets_of
from tests.ingesting import contents
from tests.ingesting import milstore as command
from tests.tool_files import STAMP_SAID, patient_preds, placed_store, stamp_crossval

QUESTIONS_OF_ATTENTION = (
    "top-patches",
    "stain-attention",
    "slice-attention",
    "concentration",
    "patch-gallery",
    "slice-map",
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return placed_store(tmp_path / "store")


def taken(store: Store, folder: Path, *words: str) -> int:
    """Take STAMP's runs in; the exit code."""
    return command(store, "ingest", "run", folder, "--from", "stamp", *words)


def test_each_split_becomes_a_run(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run a split, its test patients' probabilities by the store's classes; the split set is made, validation drawn."""
    stamp_crossval(tmp_path / "exp1")
    assert taken(store, tmp_path / "exp1") == 0
    told = capsys.readouterr().err
    assert "STAMP stores no attention: predictions alone" in told
    assert "no validation subset there: 0.2 of train, drawn by seed 0" in told
    runs = [read_run(store, run_id) for run_id in run_ids(store)]
    assert sorted((run["experiment"], run["split_set"], run["split"], run["kind"]) for run in runs) == [
        ("stamp-exp1", "stamp-exp1", 0, "imported"),
        ("stamp-exp1", "stamp-exp1", 1, "imported"),
    ]
    found = milstore.open(store.root).query("misclassified").records()
    assert [(row["case_id"], row["true_class"], round(row["p_true"], 6)) for row in found] == [("D", "high-grade", 0.4)]
    rows = (
        milstore.open(store.root)
        .sql(
            "select case_id, label, round(probability, 6), subset from probabilities join predictions using (run_id, case_id) order by all"
        )
        .rows()
    )
    assert rows == [("C", 0, 0.9, "test"), ("C", 1, 0.1, "test"), ("D", 0, 0.6, "test"), ("D", 1, 0.4, "test")]
    assert sorted(subsets_of(read_cohort(store), "stamp-exp1", 0).values()) == ["test", "train", "train", "val"]
    before = contents(store)
    assert taken(store, tmp_path / "exp1") == 0 and "nothing changed" in capsys.readouterr().err
    assert contents(store) == before


def test_every_question_answers_or_says_that_there_is_no_attention(store: Store, tmp_path: Path) -> None:
    """Questions of predictions answer; those of attention say in one line that these runs have none, and whose they are."""
    taken(store, stamp_crossval(tmp_path))
    bare = milstore.open(store.root)
    recall = bare.query("recall").records()
    found = {
        row["true_class"]: (row["right"], row["cases"])
        for row in recall
        if row["scope"] == "pooled" and row["measure"] == "recall"
    }
    assert found == {"benign": (1, 1), "high-grade": (0, 1)}
    for question in ("roc", "confusion", "near-threshold", "provenance", "experiments"):
        assert bare.query(question).records()
    assert any("by STAMP" in note for note in bare.query("recall").notes)
    for question in QUESTIONS_OF_ATTENTION:
        with pytest.raises(UsageError, match="has no attention: STAMP left none") as raised:
            bare.query(question, **({"case": "C"} if question in ("patch-gallery", "slice-map") else {})).records()
        assert "\n" not in str(raised.value)


def test_folders_by_which_it_may_be_named(store: Store, tmp_path: Path) -> None:
    """The folder above crossval/, that itself, or one split's: the same runs of one experiment."""
    crossval = stamp_crossval(tmp_path / "exp1")
    assert taken(store, tmp_path / "exp1", "--split", "7") == 2 and not run_ids(store)
    assert taken(store, crossval / "split-1") == 0 and len(run_ids(store)) == 1
    assert taken(store, tmp_path / "exp1", "--split", "1") == 0 and len(run_ids(store)) == 1
    assert taken(store, crossval) == 0 and len(run_ids(store)) == 2
    assert taken(store, tmp_path / "exp1") == 0 and len(run_ids(store)) == 2
    assert {read_run(store, run_id)["experiment"] for run_id in run_ids(store)} == {"stamp-exp1"}


def test_two_experiments_in_folders_of_one_name_are_told_apart(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other files of a split under the same name are no repeat of it: they need a name of their own."""
    taken(store, stamp_crossval(tmp_path / "one" / "exp"))
    other = stamp_crossval(tmp_path / "two" / "exp", {0: {"D": (0.3, 0.7, "high-grade")}})
    before = contents(store)
    assert taken(store, other) == 2
    assert "has a run of split 0 from other files already" in capsys.readouterr().err and contents(store) == before
    assert taken(store, other, "--experiment", "second") == 0
    assert [run["experiment"] for run in (read_run(store, each) for each in run_ids(store))].count("second") == 1


def test_a_split_without_predictions_is_named_and_one_without_splits_file_needs_the_store(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unfinished split is left out by name; without splits.json the store's only fitting split set is the one."""
    crossval = stamp_crossval(tmp_path / "exp", {0: STAMP_SAID[0]})
    (crossval / "split-1").mkdir()
    assert taken(store, crossval) == 0
    assert "not taken: split-1 without predictions" in capsys.readouterr().err
    (crossval / "splits.json").unlink()
    assert taken(store, crossval, "--experiment", "other") == 0
    assert "the only one that holds out what was predicted" in capsys.readouterr().err


def test_classes_are_those_of_the_store_by_name(tmp_path: Path) -> None:
    """A class may be called as the label file called it, and its columns may stand in any order."""
    store = placed_store(tmp_path / "store")
    (tmp_path / "labels.csv").write_text("case_id,label\nA,3\nB,1\nC,1\nD,3\n")
    assert (
        command(store, "ingest", "labels", tmp_path / "labels.csv", "--map", "1=benign,3=high-grade", "--replace") == 0
    )
    crossval = stamp_crossval(tmp_path)
    patient_preds(crossval / "split-0" / "patient-preds.csv", {"D": (0.7, 0.3, "3")}, ("3", "1"))
    patient_preds(crossval / "split-1" / "patient-preds.csv", {"C": (0.4, 0.6, "1")}, ("3", "1"))
    assert taken(store, tmp_path) == 0
    rows = (
        milstore.open(store.root)
        .sql("select case_id, pred_label, round(p_true, 6) from predictions order by all")
        .rows()
    )
    assert rows == [("C", 0, 0.6), ("D", 1, 0.7)]


def test_a_patient_column_may_begin_as_the_label_does(store: Store, tmp_path: Path) -> None:
    """GRADE_ID stands first and is the patient, though the columns of the label's classes begin as it does."""
    crossval = stamp_crossval(tmp_path / "exp", {0: STAMP_SAID[0]})
    path = crossval / "split-0" / "patient-preds.csv"
    path.write_text(path.read_text().replace("PATIENT", "GRADE_ID"))
    assert taken(store, crossval) == 0 and len(run_ids(store)) == 1


HEAD = "PATIENT,GRADE,pred,GRADE_benign,GRADE_high-grade,loss\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "D,high-grade,benign,0.6,0.3,1\n", "line 2, has probabilities of D that sum to 0.9, not 1"),
        (HEAD + "D,high-grade,benign,0.6,x,1\n", "line 2, has 'x' as the probability of high-grade"),
        (
            HEAD + "D,high-grade,high-grade,0.6,0.4,1\n",
            "line 2, has pred 'high-grade', and benign is the most probable",
        ),
        (
            HEAD + "D,other,benign,0.6,0.4,1\n",
            "line 2, has 'other' as the class of D, of which there is no probability",
        ),
        (HEAD + "D,high-grade,benign,0.6,0.4,1\n" * 2, "line 3, has patient D again (line 2): keep one"),
        (HEAD + "Z,high-grade,benign,0.6,0.4,1\n", "names 1 patients that the store does not know as cases (Z)"),
        (HEAD + "A,high-grade,benign,0.6,0.4,1\n", "predicted cases that the split does not hold out (A: "),
        (HEAD + "D,benign,benign,0.6,0.4,1\n", "the run was told other labels than the store has of 1 of its 1 cases"),
        (HEAD, "has no row: it must name patients"),
        ("PATIENT,GRADE,pred,loss\nD,1,1,0\n", "it needs a patient, a label, pred, and label_class"),
        (
            "PATIENT,GRADE,pred,GRADE_low,GRADE_high,loss\nD,high,low,0.6,0.4,1\n",
            "tells the classes low, high apart, and the store benign, high-grade",
        ),
    ],
)
def test_tables_that_cannot_be_are_refused(
    store: Store, tmp_path: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever a table says that cannot be: one line that names it, exit 2, the store unchanged."""
    crossval = stamp_crossval(tmp_path / "exp")
    (crossval / "split-0" / "patient-preds.csv").write_text(text)
    before = contents(store)
    assert taken(store, crossval) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and contents(store) == before


@pytest.mark.parametrize(("words", "message"), [(("--weights", "x.ckpt"), "--weights"), (("--log", "x.log"), "--log")])
def test_options_that_say_nothing_are_refused(
    store: Store, tmp_path: Path, words: Any, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights and logs are the study's: refused by name."""
    assert taken(store, stamp_crossval(tmp_path), *words) == 2
    assert message in capsys.readouterr().err


def test_folders_that_are_none_are_refused(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without splits, or of splits without predictions, and none at all: one line."""
    (tmp_path / "empty" / "split-0").mkdir(parents=True)
    for folder, message in (
        (tmp_path / "empty", "split-0 without patient-preds.csv"),
        (tmp_path / "store", "no folder split-0"),
        (tmp_path / "none", "does not exist"),
    ):
        assert taken(store, folder) == 2
        assert message in capsys.readouterr().err
    torn = stamp_crossval(tmp_path / "torn")
    (torn / "splits.json").write_text(json.dumps({"splits": [{"train_patients": ["D"], "test_patients": ["D"]}] * 2}))
    assert taken(store, torn) == 2
    assert "has case D in train and in test" in capsys.readouterr().err
