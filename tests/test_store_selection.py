"""Which run answers."""

import pytest

from milstore.asking.selection import Choice, Selection, select
from milstore.errors import StoreError, UsageError
from milstore.store import Store, create_store
from milstore.store.views import connect
from tests.making import THREE_LABELS, levels, make_run

ATTENTION = {("2", "h&e", 0, 0): 1.0, ("10", "h&e", 0, 0): 1.0, ("46", "h&e", 0, 1): 1.0}
EVEN = dict.fromkeys(THREE_LABELS, (0.5, 0.5))


def ask(store: Store, **choice: object) -> tuple[list[tuple[str, str, str]], Selection]:
    con = connect(store)
    selection = select(con, store, Choice(**choice))  # type: ignore[arg-type]
    return con.execute("select * from selection order by all").fetchall(), selection


def add_run(store: Store, run_id: str, split: int, **facts: object) -> None:
    subsets = {1: {"2": "test", "10": "val", "46": "train"}, 2: {"10": "test", "46": "val", "2": "train"}}[split]
    make_run(
        store,
        run_id,
        subsets,
        THREE_LABELS,
        EVEN,
        levels(ATTENTION),
        split=split,
        split_set="three",
        n_splits=3,
        **facts,
    )


def test_the_newest_experiment_answers_out_of_fold(three: Store) -> None:
    """Without a word, each case is taken from the run of the newest experiment that held it in test."""
    rows, selection = ask(three)
    assert rows == [("exp-s1-0", "2", "test"), ("exp-s2-0", "10", "test"), ("exp-s3-0", "46", "test")]
    assert selection.title == "experiment exp, seed 0, test subsets"
    assert selection.notes == []


def test_missing_splits_are_said(three: Store) -> None:
    """An experiment that lacks splits answers with what is there, and says so."""
    add_run(three, "later", 1, experiment="later", finished_at="2027-01-01T00:00:00")
    rows, selection = ask(three)
    assert rows == [("later", "2", "test")]
    assert selection.title == "experiment later, seed 0, test subsets, 1 of 3 splits"
    assert selection.notes == ["later has 1 of 3 splits so far: the others are not in this answer"]
    assert ask(three, experiment="exp")[1].notes == []


def test_one_run_answers_for_its_test_subset(three: Store) -> None:
    """--run takes that run, test unless another subset is named."""
    assert ask(three, run="exp-s2")[0] == [("exp-s2-0", "10", "test")]
    assert ask(three, run="exp-s2", subset="train")[0] == [("exp-s2-0", "2", "train")]
    rows, selection = ask(three, run="exp-s2", subset="all")
    assert [row[1:] for row in rows] == [("10", "test"), ("2", "train"), ("46", "val")]
    assert selection.title == "run exp-s2-0, training and validation and test subsets"


def test_a_case_asked_for_is_found_outside_test_and_it_is_said(three: Store) -> None:
    """A named case that this run did not test comes from validation, else from training, in plain words."""
    rows, selection = ask(three, run="exp-s1-0", cases=("046", "10"))
    assert rows == [("exp-s1-0", "10", "val"), ("exp-s1-0", "46", "train")]
    assert selection.notes == [
        "case 46 was in this run's training subset",
        "case 10 was in this run's validation subset",
    ]


def test_validation_goes_before_training(three: Store) -> None:
    """In an experiment without the test run of a case, the run that validated on it answers."""
    add_run(three, "p1", 1, experiment="part", finished_at="2027-01-01T00:00:00")
    add_run(three, "p2", 2, experiment="part", finished_at="2027-01-02T00:00:00")
    rows, selection = ask(three, cases=("46",))
    assert rows == [("p2", "46", "val")]
    assert "case 46 was in run p2's validation subset" in selection.notes


def test_the_lowest_complete_seed_answers(three: Store) -> None:
    """An incomplete lower seed does not answer for a complete higher one, unless it is asked for."""
    for split in (1, 2, 3):
        make_run(
            three, f"seed-7-{split}", {"2": "test", "10": "val", "46": "train"}, THREE_LABELS, EVEN, levels(ATTENTION),
            split=split, split_set="three", n_splits=3, experiment="seeds", seed=7, finished_at="2027-01-01T00:00:00",
        )  # fmt: skip
    add_run(three, "seed-3-1", 1, experiment="seeds", seed=3, finished_at="2027-01-02T00:00:00")
    assert set(ask(three)[1].runs) == {"seed-7-1", "seed-7-2", "seed-7-3"}
    assert {row[0] for row in ask(three, seed=3)[0]} == {"seed-3-1"}
    with pytest.raises(UsageError, match="has no run of seed 5: there is 3, 7"):
        ask(three, seed=5)


def test_the_newest_run_of_a_split_answers(three: Store) -> None:
    """A split that was trained twice with one seed answers by its newest run."""
    add_run(three, "exp-again", 1, finished_at="2026-06-01T00:00:00")
    assert ask(three)[0][0] == ("exp-again", "2", "test")


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"cases": ("999",)}, "there is no case '999'"),
        ({"experiment": "exq"}, "there is no experiment 'exq' with a finished run: did you mean exp?"),
        ({"run": "zzz"}, "there is no finished run 'zzz'"),
        ({"run": "exp-s1-0", "experiment": "exp"}, "--run and --experiment exclude each other"),
        ({"subset": "tests"}, "there is no subset 'tests': use train, val, test or all"),
        (
            {"run": "exp-s1-0", "cases": ("46",), "subset": "test"},
            "case 46 is not in the test subset, but in train: say --subset train",
        ),
    ],
)
def test_what_does_not_exist_is_one_line(three: Store, choice: dict[str, object], message: str) -> None:
    """A run, experiment, subset or case that is not there is named, with the nearest."""
    with pytest.raises(UsageError) as refused:
        ask(three, **choice)
    assert message in str(refused.value)


def test_an_empty_store_says_what_to_do_next(tmp_path: object) -> None:
    """Asking a store without runs names the command that trains one."""
    with pytest.raises(StoreError, match="holds no finished run: train one with milstore train --split 1"):
        ask(create_store(str(tmp_path) + "/empty"))
