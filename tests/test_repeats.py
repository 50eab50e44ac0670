"""Repeats: several split sets of one configuration are one experiment."""

import re
import signal
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from milstore.analysis.intervals import wilson
from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.cli.main import main
from milstore.errors import Interrupted, UsageError
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import edit_cohort
from milstore.store.run_reader import read_run, run_ids
from milstore.store.split_numbers import choose_split_set, choose_split_sets, matching_split_sets, place_words
from milstore.training.experiment import train, train_all
from milstore.training.progress import Watcher
from tests.making import levels, make_run
from tests.training_cohort import LABELS, SMALL, subset, tiny_store


def put_splits(store: Store, sets: dict[str, list[dict[str, str]]], first: int = 1) -> None:
    """Split sets, each a list of splits: the subset of each case. Those that are there go."""
    rows = [
        {"split_set": name, "split": number, "case_id": case_id, "subset": of}
        for name, splits in sets.items()
        for number, split in enumerate(splits, start=first)
        for case_id, of in split.items()
    ]
    known = [{"split_set": name, "n_splits": len(splits), "source": "by hand"} for name, splits in sets.items()]
    with edit_cohort(store) as edit:
        edit.replace("split_sets", pa.Table.from_pylist(known))
        edit.replace("splits", pa.Table.from_pylist(rows))


@pytest.fixture
def foxes(tmp_path: Path) -> Store:
    """The tiny cohort with the split sets fox-r1, fox-r2 and fox-r10, each of two splits, and another."""
    store = tiny_store(tmp_path / "store")
    splits = [{case_id: subset(case_id, split) for case_id in LABELS} for split in (1, 2)]
    put_splits(store, {"fox-r10": splits, "fox-r2": splits[::-1], "fox-r1": splits, "owl": splits})
    return store


def test_what_is_typed_finds_its_split_sets(foxes: Store) -> None:
    """A name is itself, a pattern all that fit it, and `fox` its repeats in natural order; anything else is refused."""
    cohort = read_cohort(foxes)
    repeats = {"fox-r1": 2, "fox-r2": 2, "fox-r10": 2}
    assert list(choose_split_sets(cohort, "fox").items()) == list(repeats.items())
    assert list(choose_split_sets(cohort, "fox-r*").items()) == list(repeats.items())
    assert choose_split_sets(cohort, "fox-r1") == {"fox-r1": 2}
    assert matching_split_sets(["fox", "fox-r1"], "fox") == ["fox"]
    assert matching_split_sets(["fox-rb.2", "fox-x1"], "fox") == []
    with pytest.raises(UsageError, match="the store has no split set 'fix': there is fox-r1"):
        choose_split_sets(cohort, "fix")
    with pytest.raises(UsageError, match=r"--split-set fox stands for several split sets \(fox-r1, fox-r2, fox-r10\)"):
        choose_split_set(cohort, "fox")
    with pytest.raises(UsageError, match=r"choose by --split-set \(fox-r1, fox-r2, fox-r10, owl\)"):
        choose_split_sets(cohort, None)


def test_a_split_is_called_by_its_number_and_how_many_there_are(foxes: Store) -> None:
    """`split 2 of 5`; where the numbers are those of files that count from 0, its place is said too."""
    assert place_words(read_cohort(foxes), "owl", 2) == "split 2 of 2"
    assert place_words(read_cohort(foxes), "owl", 2, with_set=True) == "owl, split 2 of 2"
    put_splits(foxes, {"zero": [dict.fromkeys(LABELS, "train")] * 3}, first=0)
    assert place_words(read_cohort(foxes), "zero", 1) == "split 1 (2 of 3)"


class Turns(Watcher):
    """Writes down which runs come, and can stop the call after some."""

    def __init__(self) -> None:
        self.turns: list[tuple[str, int, int]] = []

    def turn(self, place: str, number: int, total: int) -> None:
        self.turns.append((place, number, total))


def test_repeats_are_trained_as_one_experiment(foxes: Store) -> None:
    """Every split of every split set gets the run that it would have alone, and all are of one experiment."""
    turns = Turns()
    config = replace(SMALL, epochs=1)
    results = train_all(foxes, config, split_set="fox", threads=1, watcher=turns)
    assert [(result.split_set, result.split) for result in results] == [
        (name, split) for name in ("fox-r1", "fox-r2", "fox-r10") for split in (1, 2)
    ]
    assert len({result.experiment for result in results}) == 1
    assert turns.turns[0] == ("fox-r1, split 1 of 2", 1, 6)
    assert turns.turns[5] == ("fox-r10, split 2 of 2", 6, 6)
    facts = read_run(foxes, results[2].run_id)
    assert (facts["split_set"], facts["split"], facts["n_splits"]) == ("fox-r2", 1, 2)
    alone = train(foxes, config, 1, split_set="fox-r2", threads=1)
    assert read_run(foxes, alone.run_id)["weights_sha256"] == facts["weights_sha256"]


def test_a_call_over_repeats_goes_on_where_it_was(foxes: Store) -> None:
    """What is finished of any of the split sets is not trained again."""
    config = replace(SMALL, epochs=1)
    train(foxes, config, 2, split_set="fox-r2", threads=1)
    results = train_all(foxes, config, split_set="fox-r*", threads=1)
    assert [(result.split_set, result.split) for result in results] == [
        ("fox-r1", 1), ("fox-r1", 2), ("fox-r2", 1), ("fox-r10", 1), ("fox-r10", 2)
    ]  # fmt: skip
    assert train_all(foxes, config, split_set="fox", threads=1) == []


def test_stopped_between_repeats_the_rest_is_named(foxes: Store) -> None:
    """A stop between two splits names those that are left, each with its split set."""

    def stop(_: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted) as stopped:
        train_all(foxes, replace(SMALL, epochs=1), [2], split_set="fox", threads=1, committed=stop)
    assert str(stopped.value) == (
        "stopped between two splits: 2 of fox-r2, 2 of fox-r10 still to be trained, the same command goes on"
    )


def test_an_experiment_ends_with_one_table(foxes: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Six runs print one table of 80 columns at most: each class with counts, interval, and mean ± SE of the runs."""
    words = ["--hidden", "8", "--attention-dim", "4", "--epochs", "1", "--min-epochs", "1", "--lr", "0.01"]
    assert main(["train", "--store", str(foxes.root), "--split", "all", "--split-set", "fox-r*", *words]) == 0
    out, err = capsys.readouterr()
    (experiment,) = {read_run(foxes, run_id)["experiment"] for run_id in run_ids(foxes)}
    lines = [line.strip() for line in out.splitlines() if line.strip()]
    assert lines[0] == f"{experiment}: 6 runs, 3 split sets, 1 seed"
    assert re.split("  +", lines[1]) == ["test cases", "right", "pooled", "95% interval", "mean ± SE of runs"]
    assert [re.split("  +", line)[0] for line in lines[3:]] == [
        "recall of benign", "recall of high-grade", "accuracy", "balanced accuracy", "AUC"
    ]  # fmt: skip
    assert max(map(len, out.splitlines())) <= 80
    assert err.count("test cases called right: ") == 6
    assert f"next: milstore query recall --experiment {experiment}" in err


CASES = {"1": 0, "2": 1, "3": 1}
ONE = levels({(case_id, "h&e", 0, 0): 1.0 for case_id in CASES})
RIGHT, WRONG = {0: (0.75, 0.25), 1: (0.25, 0.75)}, {0: (0.25, 0.75), 1: (0.75, 0.25)}


@pytest.fixture
def repeated(tmp_path: Path) -> Store:
    """Three cases, tested by the two splits of fox-r10, fox-r1 and fox-r2; case 2 is called wrong by fox-r1 alone, and case
    3 by fox-r1 and fox-r2."""
    from tests.making import make_store

    store = make_store(tmp_path / "store", CASES, [(case_id, "h&e", 0, 0) for case_id in CASES])
    splits = [{"1": "test", "2": "test", "3": "train"}, {"1": "train", "2": "train", "3": "test"}]
    put_splits(store, {"fox-r10": splits, "fox-r1": splits, "fox-r2": splits})
    wrong = {"fox-r10": (), "fox-r1": ("2", "3"), "fox-r2": ("3",)}
    for hour, (name, missed) in enumerate(wrong.items()):
        chances = {case_id: (WRONG if case_id in missed else RIGHT)[label] for case_id, label in CASES.items()}
        for number, split in enumerate(splits, start=1):
            make_run(
                store, f"exp-{name}-s{number}", split, CASES, chances, ONE, split_set=name, split=number, n_splits=2,
                finished_at=f"2026-01-01T0{hour}:0{number}:00",
            )  # fmt: skip
    return store


def test_cases_answer_from_the_first_split_set_and_the_others_are_named(repeated: Store) -> None:
    """First in natural order, whatever was trained first."""
    answer = ask(repeated, "deviation")
    assert {row["run_id"] for row in answer.records()} == {"exp-fox-r1-s1", "exp-fox-r1-s2"}
    assert answer.notes == ["exp also has every split of the split sets fox-r2, fox-r10: not in this answer"]
    assert answer.title == "experiment exp, seed 0, test subsets"


def test_an_unfinished_first_split_set_does_not_answer_for_a_finished_one(repeated: Store) -> None:
    """The first split set that is complete answers, and the half-finished one is named."""
    from milstore.store.removal import delete_run, removable

    delete_run(repeated, removable(repeated, "exp-fox-r1-s2"))
    answer = ask(repeated, "deviation")
    assert {row["run_id"] for row in answer.records()} == {"exp-fox-r2-s1", "exp-fox-r2-s2"}
    assert answer.notes == [
        "exp also has every split of split set fox-r10: not in this answer",
        "exp also has 1 of 2 splits of split set fox-r1: not in this answer",
    ]
    pooled = ask(repeated, "recall")
    assert pooled.title == "experiment exp, 4 runs of 2 split sets, test subsets"
    assert pooled.notes == ["exp also has 1 of 2 splits of split set fox-r1: not in this answer"]


def test_recall_pools_over_repeats(repeated: Store) -> None:
    """A row a split set with its counts, the mean of the six runs with its standard error, and each case counted once."""
    found = ask(repeated, "recall")
    assert (found.title, found.notes) == ("experiment exp, 6 runs of 3 split sets, test subsets", [])
    rows = [row for row in found.rows() if row[:2] == ("recall", "high-grade")]
    # Split 1 has one high-grade case and split 2 another: the runs' recalls are 0, 0 of r1, 1, 0 of r2 and 1, 1 of r10.
    error = pytest.approx((0.3 / 6) ** 0.5)
    # By the mean of three probabilities, case 2 is called right and case 3 wrong.
    assert rows == [
        ("recall", "high-grade", "pooled", 1, 2, 0.5, None, *wilson(1, 2), None),
        ("recall", "high-grade", "mean over runs", None, None, 0.5, error, None, None, None),
        ("recall", "high-grade", "fox-r1", 0, 2, 0.0, None, *wilson(0, 2), None),
        ("recall", "high-grade", "fox-r2", 1, 2, 0.5, None, *wilson(1, 2), None),
        ("recall", "high-grade", "fox-r10", 2, 2, 1.0, None, *wilson(2, 2), None),
    ]
    accuracy = {row[2]: row[3:6] for row in found.rows() if row[0] == "accuracy"}
    assert accuracy == {
        "fox-r1": (1, 3, pytest.approx(1 / 3)),
        "fox-r2": (2, 3, pytest.approx(2 / 3)),
        "fox-r10": (3, 3, 1.0),
        "mean over runs": (None, None, pytest.approx((0.5 + 0 + 1 + 0 + 1 + 1) / 6)),
        "pooled": (2, 3, pytest.approx(2 / 3)),
    }


def test_recall_pools_over_seeds_unless_one_is_asked_for(three: Store) -> None:
    """A second complete seed is a repeat; an incomplete third is left out and named; --seed takes one alone."""
    even = {"2": (0.25, 0.75), "10": (0.25, 0.75), "46": (0.25, 0.75)}
    truth = {"2": 1, "10": 0, "46": 0}
    attention = levels({("2", "h&e", 0, 0): 1.0, ("10", "h&e", 0, 0): 1.0, ("46", "h&e", 0, 1): 1.0})
    for seed, splits in {1: (1, 2, 3), 7: (1,)}.items():
        for split in splits:
            held = {"1": "2", "2": "10", "3": "46"}[str(split)]
            subsets = {case_id: "test" if case_id == held else "train" for case_id in truth}
            make_run(
                three, f"exp-s{split}-{seed}", subsets, truth, even, attention,
                split=split, split_set="three", n_splits=3, seed=seed,
            )  # fmt: skip
    found = ask(three, "recall")
    assert found.title == "experiment exp, 6 runs of 2 seeds, test subsets"
    assert found.notes == ["exp also has 1 of 3 splits of split set three, seed 7: not in this answer"]
    scopes = list(dict.fromkeys(row["scope"] for row in found.records()))
    assert scopes == ["pooled", "mean over runs", "seed 0", "seed 1"]
    alone = ask(three, "recall", Choice(seed=1))
    assert (alone.title, alone.notes) == ("experiment exp, seed 1, test subsets", [])
    scopes = list(dict.fromkeys(row["scope"] for row in alone.records()))
    assert scopes == ["pooled", "mean over splits", "split 1", "split 2", "split 3"]
