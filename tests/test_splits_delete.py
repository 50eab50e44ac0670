"""`milstore splits delete`."""

import pytest

from milstore.cli.main import main
from milstore.errors import ConflictError, UsageError
from milstore.ingest.split_removal import delete_splits, removable_splits
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.run_reader import run_ids
from milstore.store.run_writer import begin_run
from milstore.store.split_numbers import split_numbers
from tests.test_repeats import put_splits, repeated

__all__ = ["repeated"]
SPLIT = {"1": "train", "2": "val", "3": "test"}


def sets_of(store: Store) -> set[str]:
    return set(read_cohort(store).table("split_sets")["split_set"].to_pylist())


def test_a_split_set_without_runs_goes_whole(three: Store) -> None:
    """Its entry and its rows are gone, and nothing else."""
    put_splits(three, {"three": [{"2": "test"}], "owl-r1": [{"2": "test"}, {"10": "test"}], "owl-r2": [{"2": "val"}]})
    assert [each.line() for each in removable_splits(three, ["owl"])] == [
        "split set owl-r1: 2 splits",
        "split set owl-r2: 1 split",
    ]
    delete_splits(three, ["owl"])
    assert sets_of(three) == {"three"}
    assert set(read_cohort(three).table("splits")["split_set"].to_pylist()) == {"three"}


def test_one_that_runs_stand_on_stays_unless_that_is_said(repeated: Store) -> None:
    """Refused with the runs, finished and unfinished ones, and nothing is deleted; with keep_runs the runs stay."""
    begin_run(repeated, "begun-s1-0", {"split_set": "fox-r1"})
    (each,) = removable_splits(repeated, ["fox-r1"])
    assert each.line() == ("split set fox-r1: 2 splits, of which there are 2 finished runs and 1 unfinished run")
    before = repeated.manifest_path.read_bytes()
    with pytest.raises(ConflictError) as refused:
        delete_splits(repeated, ["fox-r1"])
    assert str(refused.value) == (
        "fox-r1: there are 3 runs of it (exp-fox-r1-s1, exp-fox-r1-s2, begun-s1-0), and nothing was deleted; --keep-runs "
        "deletes the splits and leaves the runs, milstore runs delete deletes runs"
    )
    assert repeated.manifest_path.read_bytes() == before
    delete_splits(repeated, ["fox-r1"], keep_runs=True)
    assert sets_of(repeated) == {"fox-r2", "fox-r10"}
    assert split_numbers(read_cohort(repeated), "fox-r1") == []
    assert len(run_ids(repeated)) == 6


def test_one_that_is_not_there_is_named(repeated: Store) -> None:
    """A name that fits none is refused, with those there are."""
    with pytest.raises(UsageError, match="the store has no split set 'owl': there is fox-r1"):
        delete_splits(repeated, ["owl"])


def test_the_command_says_what_goes_and_deletes_nothing_unasked(
    repeated: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a terminal to ask at, --yes is needed; what goes is said first."""
    words = ["splits", "delete", "fox-r2", "--keep-runs", "--store", str(repeated.root)]
    assert main(words) == 2
    said = "split set fox-r2: 2 splits, of which there are 2 finished runs\n"
    assert capsys.readouterr().err == f"{said}error: nothing is deleted unasked: add --yes\n"
    assert "fox-r2" in sets_of(repeated)
    assert main([*words, "--yes"]) == 0
    assert capsys.readouterr().err == f"{said}deleted fox-r2\n"
    assert "fox-r2" not in sets_of(repeated)


def test_what_is_left_of_the_experiment_still_answers(repeated: Store) -> None:
    """The runs of a split set that is gone keep their subsets, and count by how many splits there were."""
    from milstore.asking.ask import ask

    before = ask(repeated, "recall").rows()
    delete_splits(repeated, ["fox"], keep_runs=True)
    assert sets_of(repeated) == set()
    assert ask(repeated, "recall").rows() == before
