"""Predicting: the models of an experiment answer for new cases, each and their mean, and the store keeps it under a name."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from milstore.cli.main import main
from milstore.errors import ConflictError, DataError, StoreError, UsageError
from milstore.ingest.labels import ingest_labels
from milstore.predicting.arrival import Given, Labels
from milstore.predicting.predict import predict
from milstore.store import Store, open_store
from milstore.store.cohort_edit import edit_cohort
from milstore.store.doctor import check
from milstore.store.prediction_runs import members, predictions, refuse_parted
from milstore.store.run_reader import read_run, run_ids
from milstore.store.run_writer import begin_run, list_drafts
from milstore.training.config import TrainingConfig
from milstore.training.experiment import train_all
from tests.predicting import EXPERIMENT, NEW_LABELS, feature_files, labels_file, trained_store
from tests.training_cohort import SMALL, tiny_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Experiment `tiny`: two splits by two seeds; cases 11 and 12 are in test of all, 9 in validation of some."""
    return trained_store(tmp_path / "store")


def rows(store: Store, run_id: str, table: str) -> pa.Table:
    """A table of a run, in order."""
    found = pq.read_table(store.run_folder(run_id) / f"{table}.parquet", partitioning=None)
    return found.sort_by(
        [(name, "ascending") for name in ("case_id", *(["label"] if "label" in found.column_names else []))]
    )


def of_case(table: pa.Table, case_id: str) -> list[dict[str, Any]]:
    """The rows of a case."""
    return [row for row in table.to_pylist() if row["case_id"] == case_id]


def snapshot(store: Store) -> dict[str, bytes]:
    """Every file of a store that is not rebuilt from others."""
    skipped = ("milstore.duckdb", "catalog.json")
    files = [path for path in store.root.rglob("*") if path.is_file() and not path.name.startswith(skipped)]
    return {str(path.relative_to(store.root)): path.read_bytes() for path in files if "leases" not in path.parts}


def call(store: Store, *cases: str, name: str = "new", **options: Any) -> Any:
    """Predict cases that the store has."""
    return predict(store, EXPERIMENT, given=Given(cases=cases), name=name, threads=1, **options)


def test_a_model_says_of_a_case_what_it_said_when_it_was_trained(store: Store) -> None:
    """Weights, standardisation and arithmetic are those of the training: a test case gets the same numbers to the last bit."""
    before = run_ids(store)
    call(store, "11", "12")
    prediction = predictions(store)["new"]
    assert sorted(prediction.of_model) == before
    for source, (run_id,) in prediction.of_model.items():
        for case in ("11", "12"):
            for table in ("probabilities", "attention"):
                assert of_case(rows(store, run_id, table), case) == of_case(rows(store, source, table), case)
        facts = read_run(store, run_id)
        assert (facts["kind"], facts["source_run_id"], facts["experiment"]) == ("prediction", source, "new")
        assert rows(store, run_id, "predictions")["subset"].to_pylist() == ["new", "new"]
        assert facts["predicted"] == {
            "experiment": EXPERIMENT, "weights_sha256": read_run(store, source)["weights_sha256"],
        }  # fmt: skip


def test_the_mean_is_of_the_models(store: Store) -> None:
    """The mean's probability and effective attention are the models' means; its levels are marginals and conditional."""
    report = call(store, "11", "12")
    runs = members(store, report.run_id)
    assert len(runs) == 4
    each = np.array([rows(store, run_id, "probabilities")["probability"].to_pylist() for run_id in runs])
    np.testing.assert_allclose(
        rows(store, report.run_id, "probabilities")["probability"], each.mean(axis=0), atol=1e-12
    )
    place = ("case_id", "stain", "slice_idx", "patch_idx")

    def weights(run_id: str, level: str) -> dict[tuple[Any, ...], float]:
        table = rows(store, run_id, "attention").to_pylist()
        return {tuple(row[name] for name in place): row[f"{level}_attention"] for row in table}

    effective = [weights(run_id, "effective") for run_id in runs]
    mean = weights(report.run_id, "effective")
    assert mean.keys() == effective[0].keys()
    for patch, weight in mean.items():
        assert weight == pytest.approx(np.mean([own[patch] for own in effective]), abs=1e-6)
    stain = weights(report.run_id, "stain")
    of_stain: dict[tuple[Any, ...], float] = {}
    for patch, weight in mean.items():
        of_stain[patch[:2]] = of_stain.get(patch[:2], 0) + weight
    for patch, weight in stain.items():
        assert weight == pytest.approx(of_stain[patch[:2]], abs=1e-5)
    (first, _) = report.calls
    label = ["benign", "high-grade"].index(first.pred_class)
    of_case_11 = each[:, label]
    assert (first.case_id, first.probability) == ("11", pytest.approx(of_case_11.mean()))
    assert (first.lowest, first.highest) == (of_case_11.min(), of_case_11.max())
    assert (first.agreeing, first.models) == (int((of_case_11 > 0.5).sum()), 4)


def test_nothing_is_computed_twice(store: Store, tmp_path: Path) -> None:
    """The same name again computes what is missing alone: further cases, further models; what there is stays as it is."""
    assert call(store, "11").computed == 4
    again = call(store, "11")
    assert (again.computed, len(run_ids(store))) == (0, 4 + 4 + 1)
    before = {run_id: snapshot(store)[f"runs/run_id={run_id}/run.json"] for run_id in run_ids(store)}
    grown = call(store, "12", "11")
    assert grown.computed == 4
    assert [each.case_id for each in grown.calls] == ["11", "12"]
    assert rows(store, grown.run_id, "predictions")["case_id"].to_pylist() == ["11", "12"]
    assert all(snapshot(store)[f"runs/run_id={run_id}/run.json"] == text for run_id, text in before.items())
    train_all(store, SMALL, [1], experiment=EXPERIMENT, threads=1, seed=7)
    with_further_model = predict(store, EXPERIMENT, name="new", threads=1)
    assert (with_further_model.computed, with_further_model.models) == (2, 5)
    assert [(each.case_id, each.models) for each in with_further_model.calls] == [("11", 5), ("12", 5)]
    assert check(store) == []


def test_labels_may_come_later(store: Store, tmp_path: Path) -> None:
    """Labels that come after the prediction are those by which its mean is judged; no model is asked again."""
    given = Given(features=feature_files(tmp_path / "new", *NEW_LABELS))
    first = predict(store, EXPERIMENT, given=given, name="ext", threads=1)
    assert [each.true_class for each in first.calls] == [None] * 4
    given = Given(labels=Labels(file=labels_file(tmp_path / "labels.csv")))
    later = predict(store, EXPERIMENT, given=given, name="ext", threads=1)
    assert later.computed == 0
    assert [each.true_class for each in later.calls] == ["high-grade", "benign", "high-grade", "benign"]
    assert rows(store, later.run_id, "predictions")["true_label"].to_pylist() == [1, 0, 1, 0]
    assert rows(store, first.run_id, "predictions")["true_label"].to_pylist() == [None] * 4


def test_new_cases_make_no_run_stale(store: Store, tmp_path: Path) -> None:
    """Features and labels of new cases go into the store and into no split: nothing is to be trained again."""
    given = Given(
        features=feature_files(tmp_path / "new", *NEW_LABELS), labels=Labels(file=labels_file(tmp_path / "labels.csv"))
    )
    report = predict(store, EXPERIMENT, given=given, name="ext", threads=1)
    assert [each.case_id for each in report.calls] == list(NEW_LABELS)
    for seed in (0, 1):
        assert train_all(store, SMALL, experiment=EXPERIMENT, threads=1, seed=seed) == []
    assert check(store) == []


def test_cases_that_a_model_knows_are_refused(store: Store, tmp_path: Path) -> None:
    """A case that a model was trained or validated on is refused and named, and nothing is stored, unless it is asked for."""
    before = snapshot(store)
    for case in ("1", "9"):
        with pytest.raises(UsageError, match=rf"trained or validated on 1 case of these: {case} \([24] of 4 models\)"):
            call(store, case, "11")
    folder = feature_files(tmp_path / "new", "21", "1")
    with pytest.raises(UsageError, match=r"of these: 1 \(4 of 4 models\)"):
        predict(store, EXPERIMENT, given=Given(features=folder), threads=1)
    assert snapshot(store) == before
    report = call(store, "9", "11", also_trained_on=True)
    assert [each.case_id for each in report.calls] == ["9", "11"]
    assert report.notes == (
        "warning: models were trained or validated on 9 (2 of 4 models): what these say of them is no test",
    )


def test_relatives_of_known_cases_are_named(store: Store) -> None:
    """A new case that shares a patient with a case that models were trained on is no independent test, and it is said."""
    with edit_cohort(store) as edit:
        edit.replace("case_groups", pa.table({"case_id": ["11", "2", "12"], "group_id": ["anna", "anna", "bert"]}))
    assert call(store, "11", "12").notes == (
        "warning: of one group with cases that models were trained on: 11 (with case 2, group anna)",
    )


def test_a_class_that_no_model_knows_is_no_label(store: Store, tmp_path: Path) -> None:
    """A case of a class that came after the trainings is predicted, and counted neither right nor wrong."""
    table = tmp_path / "labels.csv"
    table.write_text("case_id,label\n21,nevus\n22,benign\n")
    given = Given(features=feature_files(tmp_path / "new", "21", "22"), labels=Labels(file=table))
    report = predict(store, EXPERIMENT, given=given, name="ext", threads=1)
    assert [each.true_class for each in report.calls] == [None, "benign"]
    assert "of a class that the models do not know, and so without a label here: 21" in report.notes


def no_runs(folder: Path) -> tuple[Store, dict[str, Any]]:
    """A store without any run."""
    return tiny_store(folder / "untrained"), {"given": Given(cases=("11",))}


def without_features(folder: Path) -> tuple[Store, dict[str, Any]]:
    """A case that has neither patches nor features."""
    store = trained_store(folder / "store")
    (folder / "more.csv").write_text("case_id,label\n31,benign\n")
    ingest_labels(store, folder / "more.csv")
    return store, {"given": Given(cases=("31",))}


def other_length(folder: Path) -> tuple[Store, dict[str, Any]]:
    """Features of five numbers, where the models want six."""
    return trained_store(folder / "store"), {"given": Given(features=feature_files(folder / "new", "21", n_features=5))}


def other_features(folder: Path) -> tuple[Store, dict[str, Any]]:
    """The encoder's features were replaced since the trainings."""
    from milstore.store.cohort import read_cohort
    from milstore.store.features import FeaturePack, open_features

    store = trained_store(folder / "store")
    patches = open_features(store, read_cohort(store), "noise").patches
    with (
        FeaturePack(store, encoder="noise", n_features=6, dtype="float16", patches=patches) as pack,
        edit_cohort(store) as edit,
    ):
        pack.write(0, np.ones((patches.num_rows, 6), np.float16))
        pack.commit(edit, source="another network", replace=True)
    return store, {"given": Given(cases=("11",))}


def unlabelled_table(folder: Path) -> tuple[Store, dict[str, Any]]:
    """A table without the column that it is said to have, beside features that are right."""
    (folder / "labels.csv").write_text("case_id,label\n21,benign\n")
    labels = Labels(file=folder / "labels.csv", label_column="grade")
    given = Given(features=feature_files(folder / "new", "21"), labels=labels)
    return trained_store(folder / "store"), {"given": given}


def cohort_without_features(folder: Path) -> tuple[Store, dict[str, Any]]:
    """An external cohort of which the store has nothing."""
    labels = Labels(file=labels_file(folder / "labels.csv", "21", "22"))
    return trained_store(folder / "store"), {"given": Given(labels=labels)}


def damaged_weights(folder: Path) -> tuple[Store, dict[str, Any]]:
    """The weights of a run are not what was stored."""
    store = trained_store(folder / "store")
    path = store.run_folder(run_ids(store)[0]) / "weights.safetensors"
    path.parent.chmod(0o755)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    return store, {"given": Given(cases=("11",))}


def name_of_the_experiment(folder: Path) -> tuple[Store, dict[str, Any]]:
    """The prediction would be called as the experiment is."""
    return trained_store(folder / "store"), {"given": Given(cases=("11",)), "name": EXPERIMENT}


def nothing_asked(folder: Path) -> tuple[Store, dict[str, Any]]:
    """No case is given, and there is no prediction of that name."""
    return trained_store(folder / "store"), {}


def unknown_case(folder: Path) -> tuple[Store, dict[str, Any]]:
    """A case that nobody knows."""
    return trained_store(folder / "store"), {"given": Given(cases=("107",))}


BAD = {
    no_runs: (UsageError, "there is no experiment 'tiny' with a finished run: train one with"),
    without_features: (ConflictError, "case 31 has no patches, and so no features of noise"),
    other_length: (ConflictError, "holds no such features as the models know (noise: 6 numbers each)"),
    other_features: (ConflictError, "the features of noise in the store are not those that run"),
    unlabelled_table: (DataError, "grade"),
    cohort_without_features: (ConflictError, "labels.csv has features of noise in the store: give them by --features"),
    damaged_weights: (StoreError, "weights.safetensors is not what was stored"),
    name_of_the_experiment: (ConflictError, "tiny is the name of an experiment"),
    nothing_asked: (UsageError, "say what tiny is to predict: --case, --features"),
    unknown_case: (UsageError, "there is no case '107'"),
}


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_bad_input_changes_nothing(tmp_path: Path, make: Any) -> None:
    """What cannot be predicted is refused in one line that says what and what to do, and the store stays as it is."""
    store, options = make(tmp_path)
    error, words = BAD[make]
    before = snapshot(store)
    with pytest.raises(error) as refused:
        predict(store, EXPERIMENT, threads=1, **options)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert snapshot(store) == before


def test_names_are_of_one_experiment(store: Store) -> None:
    """A prediction is of one experiment, and its name is no name for a training."""
    train_all(
        store, TrainingConfig(hidden=4, attention_dim=4, epochs=1, min_epochs=1), [1], experiment="other", threads=1
    )
    call(store, "11")
    with pytest.raises(ConflictError, match="prediction new is of experiment tiny: choose another --name"):
        predict(store, "other", given=Given(cases=("11",)), name="new", threads=1)
    with pytest.raises(
        UsageError, match="new is a prediction, and has no models of its own: name the experiment, tiny"
    ):
        predict(store, "new", given=Given(cases=("11",)), threads=1)
    with pytest.raises(ConflictError, match="new is the name of a prediction of new cases"):
        train_all(store, SMALL, [1], experiment="new", threads=1)


OWN_MODEL = """
import torch
from dataclasses import dataclass
from torch import nn
from milstore.models.interface import CaseOutput, MILModel

class Mean(MILModel):
    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        pass

    attends = "none"

    def __init__(self, config, n_features, n_classes):
        super().__init__()
        self.classify = nn.Linear(n_features, n_classes)

    def forward(self, bag):
        return CaseOutput(self.classify(bag.feature_ND.mean(0)), None)
"""


def test_a_model_of_ones_own_is_named_again(tmp_path: Path) -> None:
    """A user's own model is executed only from the file that is named, and only if that is what was trained."""
    file = tmp_path / "mine.py"
    file.write_text(OWN_MODEL)
    store = tiny_store(tmp_path / "store")
    train_all(store, TrainingConfig(model=f"{file}:Mean", epochs=1, min_epochs=1), [1], experiment="mine", threads=1)
    given = Given(cases=("11",))
    with pytest.raises(UsageError, match=r"is of a model of your own: say where it is, by --model ./mine.py:Mean"):
        predict(store, "mine", given=given, threads=1)
    report = predict(store, "mine", given=given, model=f"{file}:Mean", threads=1)
    assert (report.attends, report.models) == (False, 1)
    assert check(store) == []
    file.write_text(OWN_MODEL.replace("mean(0)", "sum(0)"))
    with pytest.raises(DataError):
        predict(store, "mine", given=given, model=f"{file}:Mean", name="again", threads=1)


def test_what_a_killed_command_left_is_made_anew(store: Store) -> None:
    """An unfinished run of a prediction is told as such, goes on with no training, and goes with the next command."""
    draft = begin_run(store, "new-s1-0-dead", {"experiment": "new", "kind": "prediction", "split": 1, "seed": 0})
    (found,) = check(store)
    assert found.kind == "note"
    assert "the same milstore predict command creates it again" in found.repair
    assert main(["train", "--resume", draft.run_id, "--store", str(store.root)]) == 2
    call(store, "11")
    assert list_drafts(store) == []


def test_deleting_knows_predictions(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """A prediction is deleted by its name and as a whole, and no model before what stands on it."""
    source = run_ids(store)[0]
    report = call(store, "11")
    with pytest.raises(ConflictError, match="is a part of prediction new: milstore runs delete new deletes the whole"):
        refuse_parted(store, [report.run_id])
    where = ["--store", str(store.root), "--yes"]
    assert main(["runs", "delete", source, *where]) == 2
    assert "prediction new was made by the weights of run" in capsys.readouterr().err
    assert main(["runs", "delete", "new", *where]) == 0
    assert predictions(store) == {}
    assert len(run_ids(store)) == 4
    assert main(["runs", "delete", source, *where]) == 0


def test_doctor_knows_what_predictions_stand_on(store: Store) -> None:
    """A source that is gone is noted, and a mean whose parts are gone is damaged; the line deletes it."""
    call(store, "11")
    source = next(iter(predictions(store)["new"].of_model))
    own = predictions(store)["new"].of_model[source][0]

    def remove(run_id: str) -> None:
        store.run_folder(run_id).chmod(0o755)
        shutil.rmtree(store.run_folder(run_id))

    remove(source)
    (found,) = check(store)
    assert (found.kind, found.what) == ("note", f"made by the weights of run {source}, which is gone")
    remove(own)
    (found,) = check(store)
    assert found.kind == "damage"
    assert found.what.startswith(f"the mean of runs that are gone ({own})")
    assert "milstore runs delete new" in found.repair


def test_the_command_tells_calls_and_what_to_ask_next(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command takes features and labels in, prints a row a case, and names the question that follows."""
    features, labels = feature_files(tmp_path / "new", *NEW_LABELS), labels_file(tmp_path / "labels.csv")
    where = ["--store", str(store.root)]
    words = ["predict", EXPERIMENT, "--features", str(features), "--cohort", str(labels), "--name", "ext", "-f", "csv"]
    assert main([*words, *where]) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[0] == "case_id,pred_class,probability,lowest,highest,models_agree,true_class"
    assert [line.split(",")[0] for line in lines[1:]] == ["21", "22", "23", "24"]
    assert "next: milstore query recall --prediction ext" in shown.err
    assert main([*words, *where]) == 0
    assert "nothing was computed again" in capsys.readouterr().err
    assert main(["predict", EXPERIMENT, "--map", "1=benign", *where]) == 2
    assert "--map and --missing speak of --cohort or of a slides table: name one" in capsys.readouterr().err
    assert main(["runs", "list", *where, "-f", "csv"]) == 0
    assert capsys.readouterr().out.count("prediction") == 5


def test_models_of_the_first_version_answer(tmp_path: Path) -> None:
    """Weights that milstore 0.1 wrote say of their cases what their runs stored, and the store is brought to this version."""
    shutil.copytree(Path(__file__).parent / "stores" / "version-1-trained", tmp_path / "store")
    for path in (tmp_path / "store").rglob("*"):
        path.chmod(path.stat().st_mode | 0o200)
    store = open_store(tmp_path / "store")
    case = next(
        row["case_id"] for row in rows(store, run_ids(store)[-1], "predictions").to_pylist() if row["subset"] == "test"
    )
    report = predict(store, "whole", given=Given(cases=(case,)), name="new", also_trained_on=True, threads=1)
    assert report.notes[0].startswith("the store was brought from")
    for source, (run_id,) in predictions(store)["new"].of_model.items():
        then, now = (of_case(rows(store, run, "probabilities"), case) for run in (source, run_id))
        assert [row["probability"] for row in now] == pytest.approx([row["probability"] for row in then], abs=1e-6)
