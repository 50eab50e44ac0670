"""A training is (experiment, split set, split, seed): what goes on, what is another, and which answer counts."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.errors import ConflictError
from milstore.launching.states import states
from milstore.store import Store, open_store
from milstore.store.removal import delete_run, removable
from milstore.store.run_reader import read_run, run_ids
from milstore.store.run_writer import list_drafts
from milstore.training import resume, train, train_all
from milstore.training.config import TrainingConfig
from milstore.training.stored_config import config_from_json
from tests.making import levels, make_run, make_splits, make_store
from tests.test_layout import ROOT
from tests.training_cohort import LABELS, SMALL, subset, tiny_store

CLASS_0, CLASS_1 = "benign", "high-grade"
EARLIER = ROOT / "tests" / "stores" / "version-1-trained"


@pytest.fixture
def earlier(tmp_path: Path) -> Store:
    """A store of 0.1: experiment `whole` has both splits; `half` has split 1, and of split 2 an interrupted run."""
    shutil.copytree(EARLIER, tmp_path / "store")
    return open_store(tmp_path / "store")


def config_of(store: Store, experiment: str) -> TrainingConfig:
    """How an experiment of 0.1 was trained."""
    stored = next(read_run(store, run_id) for run_id in run_ids(store) if run_id.startswith(experiment))
    return config_from_json(stored["config"])


def test_a_half_done_experiment_of_0_1_is_gone_on_with(earlier: Store) -> None:
    """By its configuration, without its name: its checkpoint is refused with what to do, and only what is missing is trained."""
    config, before = config_of(earlier, "half"), run_ids(earlier)
    (draft,) = list_drafts(earlier)
    why = (
        "it was begun by milstore 0.1, whose checkpoints do not go on here: train its split again by --split 2 --fresh, "
        f"and remove it by milstore runs delete {draft.run_id} --store {earlier.root}"
    )
    line = f"unfinished run {draft.run_id} does not go on: {why}"
    assert [row.note for row in states(earlier) if row.state == "interrupted"] == [why]
    for work in (lambda: train_all(earlier, config, seed=3), lambda: resume(earlier, draft.run_id)):
        with pytest.raises(ConflictError) as refused:
            work()
        assert str(refused.value) == line
    assert run_ids(earlier) == before
    delete_run(earlier, removable(earlier, draft.run_id))
    (result,) = train_all(earlier, config, seed=3, threads=1)
    assert (result.experiment, result.split, result.seed) == ("half", 2, 3)
    assert set(run_ids(earlier)) - set(before) == {result.run_id}


def test_a_name_of_the_users_own_is_found_again(tmp_path: Path) -> None:
    """Whoever trained under a name goes on under it without saying it again; another configuration gets a name of its own."""
    store = tiny_store(tmp_path / "store")
    assert train(store, SMALL, 1, threads=1, experiment="mine").experiment == "mine"
    assert train(store, SMALL, 2, threads=1).experiment == "mine"
    assert train(store, replace(SMALL, lr=0.02), 1, threads=1).experiment.startswith("mil-")


def test_a_further_split_set_is_of_the_same_experiment(tmp_path: Path) -> None:
    """It is trained under the same name; questions about cases answer from the first that is complete, in natural order."""
    store = tiny_store(tmp_path / "store")
    train_all(store, SMALL, threads=1, split_set="tiny")
    sets = [
        {name: [case for case in LABELS if subset(case, split) == name] for name in ("train", "val", "test")}
        for split in (2, 1)
    ]
    make_splits(store, "other", sets)
    result = train(store, SMALL, 1, threads=1, split_set="other")
    assert {read_run(store, run_id)["experiment"] for run_id in run_ids(store)} == {result.experiment}
    note = f"{result.experiment} also has 1 of 2 splits of split set other: not in this answer"
    for question in ("recall", "top-patches", "loss-curves"):
        answer = ask(store, question)
        assert note in answer.notes, question
        assert "of 2 splits" not in answer.title
    assert "3 runs" not in ask(store, "loss-curves").title
    # Complete, it is shown by questions about runs and pooled by recall; for cases the first of the two answers.
    train(store, SMALL, 2, threads=1, split_set="other")
    assert f"experiment {result.experiment}, 4 runs" in ask(store, "loss-curves").title
    assert ask(store, "recall").notes == []
    assert ask(store, "recall").title == f"experiment {result.experiment}, 4 runs of 2 split sets, test subsets"
    answer = ask(store, "top-patches")
    assert answer.notes[0] == f"{result.experiment} also has every split of split set tiny: not in this answer"
    assert {read_run(store, row["run_id"])["split_set"] for row in answer.records()} == {"other"}


@pytest.fixture
def overlapping(tmp_path: Path) -> Store:
    """Two splits that both test case 1: called right by the first (0.6), wrong by the second (0.1)."""
    truth = {"1": 1, "2": 0, "3": 0}
    places = {case: (case, "h&e", 0, 0) for case in truth}
    store = make_store(tmp_path / "store", truth, list(places.values()))
    splits = [{"1": "test", "2": "test", "3": "train"}, {"1": "test", "3": "test", "2": "train"}]
    make_splits(
        store, "s", [{n: [c for c in split if split[c] == n] for n in ("train", "val", "test")} for split in splits]
    )
    for split, (subsets, p) in enumerate(zip(splits, (0.6, 0.1), strict=True), start=1):
        chances = {case: (1 - p, p) if case == "1" else (0.8, 0.2) for case in truth}
        attention = levels(dict.fromkeys(places.values(), 1.0))
        make_run(store, f"r{split}", subsets, truth, chances, attention, split=split, split_set="s", n_splits=2)
    return store


def test_a_case_in_two_test_subsets_answers_from_the_lowest_split(overlapping: Store) -> None:
    """A question about cases takes it once, and names the other split."""
    answer = ask(overlapping, "misclassified")
    assert answer.rows() == []
    assert answer.notes == ["in test in several splits, and taken from the lowest: 1 (also in 2)"]
    rows = ask(overlapping, "top-patch-list", Choice(cases=("1",))).records()
    assert {row["run_id"] for row in rows} == {"r1"}


def test_rates_count_such_a_case_once_by_its_mean_probability(overlapping: Store) -> None:
    """The mean of 0.6 and 0.1 is 0.35: pooled, the one case of its class is wrong; each split says what it said."""
    rows = ask(overlapping, "recall").records()
    of_class_1 = {
        row["scope"]: (row["right"], row["cases"])
        for row in rows
        if (row["measure"], row["true_class"]) == ("recall", CLASS_1) and row["scope"] != "mean over splits"
    }
    assert of_class_1 == {"split 1": (1, 1), "split 2": (0, 1), "pooled": (0, 1)}
    pooled = {
        (row["true_class"], row["pred_class"]): row["cases"]
        for row in ask(overlapping, "confusion").records()
        if row["scope"] == "all splits pooled"
    }
    assert pooled == {(CLASS_0, CLASS_0): 2, (CLASS_0, CLASS_1): 0, (CLASS_1, CLASS_0): 1, (CLASS_1, CLASS_1): 0}
    (auc,) = {row["auc"] for row in ask(overlapping, "roc").records() if row["curve"] == "pooled"}
    # 0.35 of the positive case lies above the 0.2 of both others.
    assert auc == 1.0
