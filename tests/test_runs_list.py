"""`milstore runs list` tells which run is which."""

import csv
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milstore.analysis.roc import area
from milstore.cli.main import main
from milstore.cli.tables import length
from milstore.launching.listing import Wanted, list_runs
from milstore.store import Store
from milstore.store.run_results import RunResult, run_results
from milstore.store.run_writer import begin_run
from tests.crossing import WHOLE
from tests.making import MadeOnce, Patch, levels, make_run, make_splits, make_store
from tests.test_cli_output import on_terminal

Capture = pytest.CaptureFixture[str]
LABELS = {"1": 0, "2": 0, "3": 1, "4": 1, "5": 1}
PATCHES: list[Patch] = [(case, "h&e", 0, 0) for case in LABELS]
EVEN = levels(dict.fromkeys(PATCHES, 1.0))


def _run(store: Store, run_id: str, p: dict[str, float], subset: str = "test", **facts: object) -> None:
    """A run that gives each case this probability of class 1."""
    chances = {case: (1 - p.get(case, 0.5), p.get(case, 0.5)) for case in LABELS}
    make_run(store, run_id, dict.fromkeys(LABELS, subset), LABELS, chances, EVEN, **{"n_splits": 2, **facts})


@pytest.fixture
def five(tmp_path: Path) -> Store:
    """The store of five cases."""
    return five_case_store(tmp_path / "store")


@MadeOnce
def five_case_store(folder: Path) -> Store:
    """Five cases, and four runs of which one is not finished.

    a is right of both benign cases and of two of three high-grade ones; of the six pairs one is the wrong way round.
    b is right of all, and c has no case in test.
    """
    store = five_without_runs(folder)
    made = {"1": 0.1, "2": 0.4, "3": 0.3, "4": 0.8, "5": 0.9}
    right = {"1": 0.1, "2": 0.1, "3": 0.8, "4": 0.8, "5": 0.9}
    _run(
        store, "abc-s1-0-20260102t030405-aaa1", made, experiment="abc", finished_at="2026-01-02T03:04:05", best_epoch=2
    )
    _run(
        store, "abc-s2-0-20260103t030405-bbb2", right, experiment="abc", split=2, finished_at="2026-01-03T03:04:05",
        best_epoch=1, model="abmil",
    )  # fmt: skip
    _run(
        store,
        "new-s1-7-20250103t030405-ccc3",
        right,
        subset="train",
        experiment="new",
        seed=7,
        finished_at="2025-01-03T03:04:05",
    )
    draft = begin_run(
        store, "new-s2-7-20260104t030405-ddd4",
        {"experiment": "new", "split_set": "five", "split": 2, "seed": 7, "config": json.dumps({"epochs": 9, "model": "clam-sb"}),
         "config_version": 2, "started_at": "2026-01-04T03:04:05"},
    )  # fmt: skip
    draft.append_epoch({"epoch": 1, "val_loss": 0.5, "seconds": 10.0})
    return store


@MadeOnce
def five_without_runs(folder: Path) -> Store:
    """The five cases alone."""
    return make_store(folder, LABELS, PATCHES)


def test_results_of_runs(five: Store) -> None:
    """Counts of each class and the AUC of the test cases: 5 of 6 pairs in order is 5/6; without test cases none."""
    ids = ["abc-s1-0-20260102t030405-aaa1", "abc-s2-0-20260103t030405-bbb2", "new-s1-7-20250103t030405-ccc3"]
    found, damaged = run_results(five, ids)
    assert damaged == []
    assert found[ids[0]].counts == {0: (2, 2), 1: (2, 3)}
    assert found[ids[0]].auc == pytest.approx(5 / 6)
    assert found[ids[1]] == RunResult(counts={0: (2, 2), 1: (3, 3)}, auc=1.0)
    assert found[ids[2]] == RunResult(counts={}, auc=None)


@settings(max_examples=50 if WHOLE else 8, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=5, max_size=5))
def test_the_auc_is_that_of_the_question(tmp_path_factory: pytest.TempPathFactory, quarters: list[int]) -> None:
    """With any ties it is the area that `recall` and `roc` give; `make torture` draws more of them."""
    store = five_without_runs(tmp_path_factory.mktemp("auc") / "store")
    p = {case: number / 4 for case, number in zip(LABELS, quarters, strict=True)}
    _run(store, "r", p)
    expected = area((np.array(list(p.values())), np.array(list(LABELS.values())) == 1))
    assert run_results(store, ["r"])[0]["r"].auc == pytest.approx(expected)


def test_of_three_classes_the_auc_is_the_mean(tmp_path: Path) -> None:
    """One class against the others, for each; undefined where a class has no case in test."""
    labels = {"1": 0, "2": 1, "3": 2}
    patches: list[Patch] = [(case, "h&e", 0, 0) for case in labels]
    store = make_store(tmp_path / "store", labels, patches, classes=("a", "b", "c"))
    made = levels(dict.fromkeys(patches, 1.0))
    # Of class b the case is the last of three; of the others it is the first.
    chances = {"1": (0.6, 0.3, 0.1), "2": (0.5, 0.1, 0.4), "3": (0.1, 0.4, 0.5)}
    make_run(store, "whole", dict.fromkeys(labels, "test"), labels, chances, made)
    make_run(store, "part", {"1": "test", "2": "test", "3": "val"}, labels, chances, made)
    found = run_results(store, ["whole", "part"])[0]
    assert (found["whole"].auc, found["part"].auc) == (pytest.approx((1 + 0 + 1) / 3), None)


def _table(capsys: Capture, store: Store, *words: str) -> list[str]:
    capsys.readouterr()
    assert main(["runs", "list", *words, "--store", str(store.root)]) == 0
    return capsys.readouterr().out.splitlines()


def test_the_list_tells_which_run_is_which(five: Store, capsys: Capture) -> None:
    """Experiment, split, seed, model, best epoch, recall with counts, AUC, when and state; a short text for `--run`."""
    year = datetime.now(UTC).year
    days = [f"{day} Jan" if year == 2026 else "Jan 2026" for day in (2, 3, 4)]
    rows = [re.split(r"  +", line) for line in _table(capsys, five)[1:]]
    assert rows[0] == [
        "run", "experiment", "split", "seed", "model", "best epoch", "recall benign, high-grade", "AUC", "when", "state",
    ]  # fmt: skip
    assert rows[2:] == [
        ["ccc3", "new", "1", "7", "–", "1", "–", "–", "Jan 2025", "done"],
        ["aaa1", "abc", "1", "0", "–", "2", "2/2, 2/3", "0.833", days[0], "done"],
        ["bbb2", "abc", "2", "0", "abmil", "1", "2/2, 3/3", "1.000", days[1], "done"],
        ["ddd4", "new", "2", "7", "clam-sb", "1", "–", "–", days[2], "interrupted, epoch 1 of 9, 1 min left"],
    ]
    assert main(["query", "deviation", "--run", "bbb2", "-f", "csv", "--store", str(five.root)]) == 0
    assert "abc-s2-0-20260103t030405-bbb2" in capsys.readouterr().out


@pytest.mark.parametrize("width", [80, 120])
def test_the_list_fits_a_terminal(five: Store, capsys: Capture, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """No line is longer than 80 letters, and what is the same of all runs stands above the table."""
    on_terminal(monkeypatch, width)
    lines = _table(capsys, five)
    assert max(map(length, lines)) <= width
    lines = _table(capsys, five, "--experiment", "abc")
    assert lines[0] == "experiment abc, split set five, seed 0, model abmil where it is known"
    assert max(map(length, lines)) <= width


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "ccc3 aaa1 bbb2 ddd4"),
        (["--reverse"], "ddd4 bbb2 aaa1 ccc3"),
        (["--sort", "auc"], "aaa1 bbb2 ccc3 ddd4"),
        (["--sort", "auc", "--reverse"], "bbb2 aaa1 ccc3 ddd4"),
        (["--sort", "recall", "--reverse"], "bbb2 aaa1 ccc3 ddd4"),
        (["--sort", "when"], "ccc3 aaa1 bbb2 ddd4"),
        (["--sort", "best", "--reverse"], "aaa1 ccc3 bbb2 ddd4"),
        (["--sort", "model"], "bbb2 ddd4 ccc3 aaa1"),
        (["--experiment", "new"], "ccc3 ddd4"),
        (["--split", "1"], "ccc3 aaa1"),
        (["--seed", "7", "--state", "done"], "ccc3"),
        (["--model", "clam-sb"], "ddd4"),
    ],
    ids=" ".join,
)
def test_it_is_sorted_and_filtered(five: Store, capsys: Capture, words: list[str], expected: str) -> None:
    """By options; what is not known of a run puts it last."""
    rows = list(csv.DictReader(_table(capsys, five, *words, "-f", "csv")))
    assert [row["run_id"][-4:] for row in rows] == expected.split()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sort", "size"], "runs cannot be sorted by 'size': use when, experiment, split, seed, model, best, recall, auc, state"),
        (["--experiment", "abd"], "no run is of experiment 'abd': did you mean abc?"),
        (["--state", "dead"], "no run is of state 'dead': did you mean done?"),
    ],
    ids=["sort", "experiment", "state"],
)  # fmt: skip
def test_what_there_is_not(five: Store, capsys: Capture, words: list[str], message: str) -> None:
    """An order, an experiment or a state that there is not is one line with what there is."""
    assert main(["runs", "list", *words, "--store", str(five.root)]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def test_a_damaged_run_hides_no_other(five: Store, capsys: Capture) -> None:
    """Where the predictions of one run cannot be read, the others are told, and it is named."""
    path = five.run_folder("abc-s1-0-20260102t030405-aaa1") / "predictions.parquet"
    path.chmod(0o644)
    path.write_bytes(b"no parquet")
    listing = list_runs(five, Wanted())
    assert listing.damaged == ["abc-s1-0-20260102t030405-aaa1"]
    assert [run.result.auc if run.result else None for run in listing.runs] == [None, None, 1.0, None]
    assert main(["runs", "list", "--store", str(five.root)]) == 0
    assert "the predictions of run abc-s1-0-20260102t030405-aaa1 cannot be read" in capsys.readouterr().err


def test_a_terminal_shows_the_newest_twenty(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more runs the newest stand there, and how many more there are; --all shows all."""
    store = five_without_runs(tmp_path / "store")
    make_splits(store, "five", [{"test": list(LABELS)}])
    for i in range(22):
        _run(store, f"e-{i}", {}, finished_at=f"2026-01-01T00:00:{i:02}", seed=i)
    on_terminal(monkeypatch, 80)
    assert main(["runs", "list", "--store", str(store.root)]) == 0
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()[-20:]] == [f"e-{i}" for i in range(2, 22)]
    assert err == "2 more: --all\n"
    assert [line.split()[0] for line in _table(capsys, store, "--all")[-22:]] == [f"e-{i}" for i in range(22)]
