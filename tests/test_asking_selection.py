"""Which run answers."""

from pathlib import Path

import pytest

from milstore.asking.selection import Choice, Selection, select
from milstore.charts.render import drawing as draw
from milstore.errors import StoreError, UsageError
from milstore.store import Store, create_store
from milstore.store.views import connect
from tests.making import THREE_LABELS, levels, make_run, make_splits, three_without_runs

ATTENTION = {("2", "h&e", 0, 0): 1.0, ("10", "h&e", 0, 0): 1.0, ("46", "h&e", 0, 1): 1.0}
ORDER = ("2", "10", "46")
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
    rows, selection = ask(three, experiment="later")
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
    rows, selection = ask(three, experiment="part", cases=("46",))
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


def test_a_newer_unfinished_experiment_does_not_answer(three: Store) -> None:
    """The newest complete experiment answers; the newer one is named, with what it has and the option that asks of it."""
    add_run(three, "later-1", 1, experiment="later", finished_at="2027-01-01T00:00:00")
    add_run(three, "later-2", 2, experiment="later", finished_at="2027-01-02T00:00:00")
    rows, selection = ask(three)
    assert rows == [("exp-s1-0", "2", "test"), ("exp-s2-0", "10", "test"), ("exp-s3-0", "46", "test")]
    assert selection.title == "experiment exp, seed 0, test subsets"
    assert selection.notes == ["later (2 of 3 splits) is newer and not complete: --experiment later asks of it"]
    assert ask(three, experiment="exp")[1].notes == []


def test_several_newer_unfinished_experiments(three: Store) -> None:
    """All that are newer are named, the newest first; one that is older is not."""
    add_run(three, "old-1", 1, experiment="old", finished_at="2020-01-01T00:00:00")
    for month, name in ((3, "b"), (5, "a")):
        add_run(three, f"{name}-1", 1, experiment=name, finished_at=f"2027-0{month}-01T00:00:00")
    assert ask(three)[1].notes == [
        "a (1 of 3 splits), b (1 of 3 splits) are newer and not complete: --experiment a asks of it"
    ]


def test_where_none_is_complete_the_newest_answers_with_what_it_has(tmp_path: Path) -> None:
    """How many of the splits are there is said in the title, which every chart carries, and in a note."""
    store = three_without_runs(tmp_path / "store")
    make_splits(store, "three", [{"test": [case], "train": [o for o in THREE_LABELS if o != case]} for case in ORDER])
    add_run(store, "old-1", 1, experiment="old", finished_at="2026-01-01T00:00:00")
    add_run(store, "new-1", 1, experiment="new", finished_at="2026-02-01T00:00:00")
    add_run(store, "new-2", 2, experiment="new", finished_at="2026-02-02T00:00:00")
    selection = ask(store)[1]
    assert set(selection.runs) == {"new-1", "new-2"}
    assert selection.title == "experiment new, seed 0, test subsets, 2 of 3 splits"
    assert selection.notes == ["new has 2 of 3 splits so far: the others are not in this answer"]
    drawing = draw(store, "deviation")
    assert "2 of 3 splits" in str(drawing.chart.to_dict()["title"]["subtitle"])


def test_one_complete_seed_makes_an_experiment_complete(three: Store) -> None:
    """A second seed that has begun does not take the answer from a complete experiment, nor leave it for an older one."""
    add_run(three, "exp-s1-1", 1, seed=1, finished_at="2027-01-01T00:00:00")
    rows, selection = ask(three)
    assert [row[0] for row in rows] == ["exp-s1-0", "exp-s2-0", "exp-s3-0"]
    assert selection.notes == []


def test_a_split_in_place_of_a_run(three: Store) -> None:
    """--split 2 is the run of split 2 of the experiment that answers: a case outside its test subset is found, too."""
    rows, selection = ask(three, split=2)
    assert rows == [("exp-s2-0", "10", "test")]
    assert (selection.title, selection.notes) == ("experiment exp, split 2, seed 0, test subset", [])
    rows, selection = ask(three, split=2, cases=("2",))
    assert [row[:2] for row in rows] == [("exp-s2-0", "2")]
    assert len(selection.notes) == 1
    assert selection.notes[0].startswith("case 2 was in this run's ")


def test_a_split_and_a_seed(three: Store) -> None:
    """--seed chooses among the runs of a split, and without it the usual seed answers, or the lowest that has the split."""
    add_run(three, "exp-s2-7", 2, seed=7, finished_at="2027-01-01T00:00:00")
    assert ask(three, split=2)[1].runs == ("exp-s2-0",)
    assert ask(three, split=2, seed=7)[1].runs == ("exp-s2-7",)
    con = connect(three)
    both = select(con, three, Choice(split=2), over_runs=True)
    assert (set(both.runs), both.title) == ({"exp-s2-0", "exp-s2-7"}, "experiment exp, split 2")
    with pytest.raises(UsageError, match="exp has no finished run of split 1, seed 7: it has 2"):
        ask(three, split=1, seed=7)
    with pytest.raises(UsageError, match="exp has no finished run of split 9: it has 1, 2, 3"):
        ask(three, split=9)


def test_a_part_of_an_id_with_a_split(three: Store) -> None:
    """--run may be a part that several runs have, where --split or --seed leave one; what they contradict is refused."""
    assert ask(three, run="exp", split=3)[1].runs == ("exp-s3-0",)
    assert ask(three, run="s3")[1].runs == ("exp-s3-0",)
    with pytest.raises(UsageError, match="no run that 'exp-s3-0' fits is of split 1: it fits exp-s3-0"):
        ask(three, run="exp-s3-0", split=1)
    with pytest.raises(UsageError, match="run 'exp' of seed 0 is ambiguous: it may be exp-s1-0, exp-s2-0, exp-s3-0"):
        ask(three, run="exp", seed=0)
    with pytest.raises(UsageError, match="there is no finished run 'zzz'"):
        ask(three, run="zzz", split=1)
