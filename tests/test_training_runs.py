"""Training into a store: what is committed, what is refused, and how an interrupted run goes on."""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from milstore.errors import ConflictError, DataError, Interrupted, StoreError, UsageError
from milstore.store import Store, create_store
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import edit_cohort
from milstore.store.run_writer import list_drafts
from milstore.training import RunResult, TrainingConfig, job, resume, train, train_all
from milstore.training import experiment as training_experiment
from milstore.training.presets import WHEN_ABSENT
from milstore.training.progress import Lines, Watcher
from milstore.training.stored_config import canonical_json
from tests.training_cohort import LABELS, SMALL, places, subset, tiny_store
from tests.trainings import twin_of

TABLES = ("predictions", "probabilities", "attention", "coverage")


class Notes(Watcher):
    """Keeps what it is told, but for how little such short trainings learn."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        if "nothing was learned" not in text:
            self.notes.append(text)


class Strike(Watcher):
    """Does something after a number of cases, counted over all epochs."""

    def __init__(self, after: int, what: Callable[[], None]) -> None:
        self.left, self.what = after, what

    def case(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.what()


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def die() -> None:
    raise Killed


def strike(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return tiny_store(tmp_path / "store")


def tables(result: RunResult) -> dict[str, pa.Table]:
    return {name: pq.read_table(result.folder / f"{name}.parquet", partitioning=None) for name in TABLES}


def epochs(result: RunResult) -> list[dict[str, Any]]:
    """The epochs without their seconds."""
    table = pq.read_table(result.folder / "epochs.parquet", partitioning=None)
    return table.drop_columns(["seconds"]).to_pylist()


def facts(result: RunResult) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((result.folder / "run.json").read_text())
    return loaded


def assert_same_numbers(one: RunResult, other: RunResult) -> None:
    """Two runs committed the same tables and weights, to the last bit."""
    there, here = tables(one), tables(other)
    for name in TABLES:
        assert there[name].equals(here[name]), name
    assert epochs(one) == epochs(other)
    assert facts(one)["weights_sha256"] == facts(other)["weights_sha256"]


def test_a_run_says_where_its_numbers_came_from(store: Store) -> None:
    """A committed run carries configuration, data, code and machine."""
    run = facts(train(store, SMALL, 2, seed=5, threads=1, experiment="first"))
    config = json.loads(run["config"])
    assert (run["experiment"], run["split_set"], run["split"], run["n_splits"], run["seed"]) == (
        "first",
        "tiny",
        2,
        2,
        5,
    )
    assert (run["encoder"], run["pooling"], run["threads"], run["device"]) == ("noise", "hierarchical", 1, "cpu")
    assert (config["epochs"], config["lr"], config["encoder"]) == (3, 0.01, "noise")
    assert run["cohort_fingerprint"] == read_cohort(store).fingerprint
    assert (run["n_epochs"], run["restarts"], 1 <= run["best_epoch"] <= 3) == (3, 0, True)
    assert run["started_at"] < run["finished_at"]
    hidden, attention, n_features, levels = 8, 4, 6, 3
    scorers = levels * ((hidden + 1) * 2 * attention + attention)
    assert run["n_parameters"] == (n_features + 1) * hidden + scorers + (hidden + 1) * 2


def test_all_three_subsets_are_committed_with_all_their_patches(store: Store) -> None:
    """Every case of the split has a prediction, and every patch its attention, under its own identity."""
    got = tables(train(store, SMALL, 1, threads=1))
    predictions = got["predictions"].to_pylist()
    assert {row["case_id"]: (row["subset"], row["true_label"]) for row in predictions} == {
        case_id: (subset(case_id), label) for case_id, label in LABELS.items()
    }
    identities = zip(*(got["attention"][name].to_pylist() for name in ("case_id", "stain", "slice_idx", "patch_idx")))  # noqa: B905
    assert sorted(identities) == sorted((case_id, *place) for case_id in LABELS for place in places(case_id))


def test_coverage_tells_existing_trained_and_evaluated_patches(tmp_path: Path) -> None:
    """Under a cap of two and with a case without features, coverage says of each slice what was seen."""
    result = train(tiny_store(tmp_path, without_features=("2",)), replace(SMALL, max_patches_per_slice=2), 1, threads=1)
    rows = tables(result)["coverage"].to_pylist()
    assert len(rows) == len({(case_id, *place[:2]) for case_id in LABELS for place in places(case_id)})
    for row in rows:
        existing = sum(place[:2] == (row["stain"], row["slice_idx"]) for place in places(row["case_id"]))
        seen = 0 if row["case_id"] == "2" else existing
        trained = min(seen, 2) if subset(row["case_id"]) == "train" else 0
        assert (row["existing"], row["with_feature"], row["trained"], row["evaluated"]) == (
            existing,
            seen,
            trained,
            seen,
        )
        assert row["subset"] == subset(row["case_id"])


def test_what_has_no_features_is_left_out_with_a_word(tmp_path: Path) -> None:
    """Cases without features are counted and named, and the run is trained on the others."""
    notes = Notes()
    result = train(tiny_store(tmp_path, without_features=("12", "2")), SMALL, 1, threads=1, watcher=notes)
    assert notes.notes == ["warning: without noise features, so left out: 2 cases, 2, 12"]
    assert set(tables(result)["predictions"]["case_id"].to_pylist()) == set(LABELS) - {"2", "12"}


def test_the_same_command_gives_the_same_bits_and_a_word(store: Store) -> None:
    """Training the same again gives the same numbers under a new id, and says that a run was there already."""
    notes = Notes()
    first = train(store, SMALL, 1, threads=1)
    second = train(store, SMALL, 1, threads=1, watcher=notes)
    assert_same_numbers(first, second)
    assert first.run_id != second.run_id
    assert notes.notes == [f"note: finished run {first.run_id} is of this split and seed; another is trained beside it"]


def test_all_splits_are_runs_of_one_experiment(store: Store) -> None:
    """`--split all` gives each split the run that it would have had alone."""
    heard: list[str] = []
    results = train_all(store, SMALL, threads=1, committed=lambda result: heard.append(result.run_id))
    assert [(result.split, result.experiment) for result in results] == [
        (1, results[0].experiment),
        (2, results[0].experiment),
    ]
    assert heard == [result.run_id for result in results]
    assert_same_numbers(results[1], train(store, SMALL, 2, threads=1))


@pytest.mark.parametrize("after", [1, 8, 12, 15])
def test_a_signal_stops_after_the_case_and_resuming_changes_no_bit(store: Store, after: int) -> None:
    """Stopped by SIGTERM at any case, a run keeps its checkpoint, says how to go on, and ends as its twin."""
    twin = twin_of(SMALL)
    with pytest.raises(Interrupted) as stopped:
        train(store, SMALL, 1, threads=1, watcher=Strike(after, strike(signal.SIGTERM)))
    (draft,) = list_drafts(store)
    place = f"split 1 of tiny, epoch {after // 6 + 1} of 3"
    assert str(stopped.value) == f"stopped in {place}: the same command goes on"
    assert stopped.value.exit_code == 75
    assert [row["epoch"] for row in draft.epochs()] == list(range(1, after // 6 + 1))
    result = resume(store, draft.run_id)
    assert (result.run_id, facts(result)["restarts"], list_drafts(store)) == (draft.run_id, 1, [])
    assert_same_numbers(result, twin)


def test_killed_again_and_again_a_run_ends_as_its_twin(store: Store) -> None:
    """Deaths within epochs, before any checkpoint too, lose nothing but the epoch."""
    twin = twin_of(SMALL)
    with pytest.raises(Killed):
        train(store, SMALL, 1, threads=1, watcher=Strike(3, die))
    (draft,) = list_drafts(store)
    for after in (2, 8, 4):
        with pytest.raises(Killed):
            resume(store, draft.run_id, watcher=Strike(after, die))
    result = resume(store, draft.run_id)
    assert facts(result)["restarts"] == 4
    assert_same_numbers(result, twin)


def test_a_run_killed_after_its_last_epoch_only_commits(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A death between the last checkpoint and the commit costs no epoch."""
    twin = twin_of(SMALL)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(job, "write_run", lambda *_, **__: die())
        train(store, SMALL, 1, threads=1)
    (draft,) = list_drafts(store)
    assert_same_numbers(resume(store, draft.run_id, watcher=Strike(1, die)), twin)


def test_a_signal_between_splits_keeps_what_is_finished(store: Store) -> None:
    """Stopped in the last case of the first split, `--split all` commits it and names the splits still to be trained."""
    with pytest.raises(Interrupted, match="stopped between two splits: 2 still to be trained"):
        train_all(store, SMALL, threads=1, watcher=Strike(18, strike(signal.SIGINT)))
    assert list_drafts(store) == []
    assert [folder.name.split("-")[2] for folder in store.runs.glob("run_id=mil-*")] == ["s1"]


def test_labels_changed_meanwhile_do_not_reach_an_interrupted_run(store: Store) -> None:
    """A run goes on with the labels and the split that it began with."""
    twin = twin_of(SMALL)
    with pytest.raises(Killed):
        train(store, SMALL, 1, threads=1, watcher=Strike(8, die))
    with edit_cohort(store) as edit:
        rows = edit.table("cases").to_pylist()
        edit.replace("cases", pa.Table.from_pylist([{**row, "label": 0, "class_name": "benign"} for row in rows]))
    (draft,) = list_drafts(store)
    assert_same_numbers(resume(store, draft.run_id), twin)


def test_an_unreadable_checkpoint_is_named(store: Store) -> None:
    """A truncated checkpoint is refused by name; nothing is made up in its place."""
    with pytest.raises(Killed):
        train(store, SMALL, 1, threads=1, watcher=Strike(8, die))
    (draft,) = list_drafts(store)
    whole = draft.checkpoint_path.read_bytes()
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        (draft,) = list_drafts(store)
        draft.checkpoint_path.write_bytes(whole[:length])
        with pytest.raises(StoreError, match=r"checkpoint.pt cannot be read \(.*\): train that split anew"):
            resume(store, draft.run_id)
    (draft,) = list_drafts(store)
    torch.save({"format": Path("x")}, draft.checkpoint_path)
    with pytest.raises(StoreError, match=r"checkpoint\.pt cannot be read"):
        resume(store, draft.run_id)


def test_a_name_stands_for_one_configuration(store: Store) -> None:
    """Another configuration under a known name is refused, finished or not, and what differs is named."""
    train(store, SMALL, 1, threads=1, experiment="base")
    with pytest.raises(Killed):
        train(store, SMALL, 1, threads=1, experiment="begun", watcher=Strike(1, die))
    for name in ("base", "begun"):
        with pytest.raises(ConflictError) as refused:
            train(store, replace(SMALL, lr=0.5), 2, threads=1, experiment=name)
        assert str(refused.value) == (
            f"experiment {name} stands for another configuration (lr 0.01 there, 0.5 here): choose another --experiment"
        )
    assert train(store, SMALL, 2, seed=3, threads=1, experiment="base").experiment == "base"


def test_an_experiment_of_an_earlier_version_is_gone_on_with(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its configurations lack the fields of today: they stand for what was done then, and a name for the same settings."""
    as_then = replace(SMALL, standardise="none", clip=0.0)

    def of_0_1(config: TrainingConfig, **place: str) -> str:
        fields = json.loads(canonical_json(config, **place))
        return json.dumps({name: fields[name] for name in fields if name not in WHEN_ABSENT}, sort_keys=True)

    with monkeypatch.context() as patch:
        patch.setattr(training_experiment, "canonical_json", of_0_1)
        first = train(store, as_then, 1, threads=1, experiment="old")
        with pytest.raises(Killed):
            train(store, as_then, 2, threads=1, experiment="old", watcher=Strike(8, die))
    assert "clip" not in json.loads(facts(first)["config"])
    (draft,) = list_drafts(store)
    with pytest.raises(ConflictError, match=r"\(clip 0.0 there, 5.0 here; standardise none there, train here\)"):
        train(store, SMALL, 2, threads=1, experiment="old")
    # It goes on with the run that was begun then, by the configuration of then.
    (result,) = train_all(store, as_then, threads=1, experiment="old")
    assert (result.run_id, result.split) == (draft.run_id, 2)
    twin = train(store, as_then, 2, threads=1, experiment="new")
    # Not the files of the weights, which hold the configuration as it was written.
    assert (tables(result), epochs(result)) == (tables(twin), epochs(twin))


def test_bad_wishes_are_refused_before_anything_is_written(store: Store) -> None:
    """Each wrong option has its line, and the store stays as it was."""
    wishes: list[tuple[dict[str, Any], str]] = [
        ({"split": 9}, "--split 9: split set tiny has the splits 1, 2"),
        ({"split": 0}, "--split 0: split set tiny has the splits 1, 2"),
        ({"split_set": "tine"}, "the store has no split set 'tine': did you mean tiny?"),
        ({"encoder": "nois"}, "the store has no features of encoder 'nois': did you mean noise?"),
        ({"seed": -1}, "--seed -1: give 0 or more"),
        ({"threads": 0}, "--threads 0: give 1 or more"),
        ({"device": "tpu"}, "--device 'tpu': give auto, cpu or cuda"),
        ({"experiment": "No Good"}, "experiment 'No Good' does not fit"),
        ({"config": TrainingConfig(class_weights="1,2,3")}, "--class-weights 1,2,3: the store has 2 classes"),
    ]
    for wish, message in wishes:
        with pytest.raises(UsageError) as refused:
            train(store, **{"config": SMALL, "split": 1, **wish})
        assert str(refused.value).startswith(message)
    with pytest.raises(UsageError, match="there is no unfinished run 'nothing'"):
        resume(store, "nothing")
    assert list_drafts(store) == []
    assert not list(store.runs.glob("run_id=mil*"))


def take_labels(store: Store, cases: set[str]) -> None:
    """Cases lose their labels."""
    with edit_cohort(store) as edit:
        rows = edit.table("cases").to_pylist()
        without = {"label": None, "class_name": None, "source_label": None}
        edit.replace(
            "cases", pa.Table.from_pylist([{**row, **(without if row["case_id"] in cases else {})} for row in rows])
        )


def test_cases_without_labels_are_left_out_with_a_word(store: Store) -> None:
    """Nobody's label is made up: such a case is named, trained on by nobody and in no table of the run."""
    take_labels(store, {"3", "11"})
    notes = Notes()
    result = train(store, SMALL, 1, threads=1, watcher=notes)
    assert notes.notes == ["warning: without a label, so left out: 2 cases, 3, 11"]
    for name in ("predictions", "attention", "coverage"):
        assert set(tables(result)[name]["case_id"].to_pylist()) == set(LABELS) - {"3", "11"}


def test_a_split_without_any_label_is_refused(store: Store) -> None:
    """There is nothing to learn from."""
    take_labels(store, set(LABELS))
    with pytest.raises(ConflictError, match=r"split 1 of tiny has no case with a label \(12 cases, 1, 2, .*\)"):
        train(store, SMALL, 1)


def test_an_empty_store_says_what_to_do_next(tmp_path: Path) -> None:
    """Training in an empty store names the command to begin with."""
    with pytest.raises(ConflictError, match="the store has no labels: begin with milstore ingest labels"):
        train(create_store(tmp_path), SMALL, 1)


def test_three_classes(store: Store) -> None:
    """Any number of classes: a probability for each, which sum to 1, and one AUC, each class against the rest."""
    with edit_cohort(store) as edit:
        names = ["benign", "high-grade", "other"]
        edit.replace("classes", pa.table({"label": [0, 1, 2], "class_name": names}))
        rows = edit.table("cases").to_pylist()
        edit.replace(
            "cases",
            pa.Table.from_pylist(
                [
                    {**row, "label": int(row["case_id"]) % 3, "class_name": names[int(row["case_id"]) % 3]}
                    for row in rows
                ]
            ),
        )
    result = train(store, SMALL, 1, threads=1)
    probabilities = tables(result)["probabilities"].to_pylist()
    assert len(probabilities) == 3 * len(LABELS)
    assert sum(row["probability"] for row in probabilities) == pytest.approx(len(LABELS))
    train_subset = result.subset("train")
    assert [each.n_cases for each in train_subset.classes] == [2, 2, 2]
    assert train_subset.auc == pytest.approx(sum(in_order(result, "train", label) for label in range(3)) / 3)
    assert result.subset("val").auc is None


def in_order(result: RunResult, subset: str, label: int) -> float:
    """Share of the pairs of a case of the class and one of another that the class's probability puts in order."""
    of = [row["case_id"] for row in tables(result)["predictions"].to_pylist() if row["subset"] == subset]
    probabilities = [row for row in tables(result)["probabilities"].to_pylist() if row["label"] == label]
    found = {row["case_id"]: row["probability"] for row in probabilities}
    true = {row["case_id"]: row["true_label"] == label for row in tables(result)["predictions"].to_pylist()}
    pairs = [(found[one], found[other]) for one in of for other in of if true[one] and not true[other]]
    return sum((one > other) + (one == other) / 2 for one, other in pairs) / len(pairs)


def test_the_summary_counts_what_the_tables_say(store: Store) -> None:
    """Confusion, recall, accuracy and AUC are those of the predictions that were committed."""
    result = train(store, replace(SMALL, epochs=12, min_epochs=12), 1, threads=1)
    rows = tables(result)["predictions"].to_pylist()
    for each in result.subsets:
        of = [row for row in rows if row["subset"] == each.subset]
        called = tuple(
            tuple(sum((row["true_label"], row["pred_label"]) == (t, p) for row in of) for p in (0, 1)) for t in (0, 1)
        )
        assert tuple(row.called for row in each.classes) == called
        assert each.accuracy == (called[0][0] + called[1][1]) / len(of)
        assert each.auc == pytest.approx(in_order(result, each.subset, 1))
        low, high = each.classes[0].interval
        assert low <= (each.classes[0].recall or 0.0) <= high


def test_lines_tell_each_epoch(store: Store) -> None:
    """Where there is no terminal, each epoch is one line."""
    said: list[str] = []
    result = train(store, SMALL, 1, threads=1, watcher=Lines(said.append))
    assert said[0] == f"split 1 of 2, run {result.run_id}: 6 training cases, at most 3 epochs"
    assert [line[:11] for line in said[1:4]] == ["epoch   1/3", "epoch   2/3", "epoch   3/3"]


def test_a_subset_of_one_class_is_refused(tmp_path: Path) -> None:
    """Features for the benign training cases alone leave nothing to learn from."""
    store = tiny_store(tmp_path, without_features=("1", "3", "5"))
    with pytest.raises(DataError, match="the training subset has cases of 1 class, such as 2, 4, 6"):
        train(store, SMALL, 1)
    assert list_drafts(store) == []
