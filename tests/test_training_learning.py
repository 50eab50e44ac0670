"""A training that has learned nothing says so: at its end, in the list of runs and in the report."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from benchmarks import learning as benchmark
from milstore.asking.selection import Choice
from milstore.cli.main import main
from milstore.report.building import build_report
from milstore.store import Store
from milstore.store.doctor import check
from milstore.store.run_reader import LEARNING, read_run
from milstore.training import RunResult, train
from milstore.training.evaluation import dead_units, evaluate, judge_training
from milstore.training.loop import Training
from milstore.training.progress import Watcher
from milstore.training.provenance import repeatable_arithmetic
from tests.reporting import brief
from tests.training_cohort import LABELS, SMALL, bags, cases, tiny_store

CPU = torch.device("cpu")
STILL = replace(SMALL, lr=1e-12, epochs=1)
"""A training that changes nothing: its loss stays that of a guess."""
GOOD = replace(SMALL, lr=0.03, epochs=15, min_epochs=15)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with repeatable_arithmetic(1):
        yield


class Notes(Watcher):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, RunResult, RunResult, list[str]]:
    """A store with a run that learned nothing, one that learned, and what the trainings said."""
    store, notes = tiny_store(tmp_path_factory.mktemp("learning") / "store"), Notes()
    bad = train(store, STILL, 1, threads=1, experiment="bad", watcher=notes)
    good = train(store, GOOD, 1, threads=1, experiment="good", watcher=notes)
    return store, bad, good, notes.notes


def test_it_is_said_at_the_end_in_the_list_and_in_the_report(
    trained: tuple[Store, RunResult, RunResult, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """One line at the end of the training, a mark in `runs list`, a sentence in the report; nothing of a good run."""
    store, bad, good, said = trained
    assert len(said) == 1
    assert said[0].startswith(f"warning: run {bad.run_id}: nothing was learned: the training loss never fell below 0.")
    assert "of the projector's units are dead" in said[0]
    assert (bad.learning.verdict, good.learning.verdict) == ("nothing", "learned")

    assert main(["runs", "list", "--store", str(store.root), "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert {row["run_id"]: (row["state"], row["note"]) for row in json.loads(out)} == {
        bad.run_id: ("done", "nothing was learned"),
        good.run_id: ("done", ""),
    }
    assert f"done: {bad.run_id}: nothing was learned" in err
    assert good.run_id not in err
    assert main(["runs", "show", bad.run_id, "--store", str(store.root)]) == 0
    assert "learning.verdict" in capsys.readouterr().out

    with brief("recall", charts=False):
        notes = {run.run_id: build_report(store, Choice(run=run.run_id)).notes for run in (bad, good)}
    sentence = said[0].removeprefix("warning: ")
    assert [note for note in notes[bad.run_id] if "learned" in note] == [sentence]
    assert not [note for note in notes[good.run_id] if "learned" in note]


def test_it_is_kept_as_facts_of_the_run(trained: tuple[Store, RunResult, RunResult, list[str]]) -> None:
    """`run.json` holds them beside the columns of `runs`; the doctor knows them."""
    store, bad, good, _ = trained
    for run in (bad, good):
        assert read_run(store, run.run_id)[LEARNING] == run.learning.facts()
    assert not [finding for finding in check(store) if "run.json" in f"{finding.where}{finding.what}"]


def judged(made: Training) -> str:
    while not made.finished:
        made.train_epoch(Watcher(), lambda: False)
    made.restore_best()
    return judge_training(made, evaluate(made.model, made.bags, made.cases.all, CPU)).verdict


def test_memorising_is_told_apart() -> None:
    """Where validation has the other class's label, the first epochs are kept while the training loss goes to 0."""
    wrong = {case_id: 1 - label if case_id in ("7", "8") else label for case_id, label in LABELS.items()}
    config = replace(GOOD, epochs=40, patience=40)
    for label_of, verdict in ((wrong, "memorised"), (LABELS, "learned")):
        split = replace(cases(), label_of=label_of)
        assert judged(Training(bags(), split, config, n_classes=2, seed=0, device=CPU)) == verdict


def test_dead_units_are_counted_over_all_patches_of_the_cases() -> None:
    """A unit that one patch moves is alive; those that no patch moves are dead."""
    model = Training(bags(), cases(), SMALL, n_classes=2, seed=0, device=CPU).model
    project = model.inner.get_submodule("project.linear")
    torch.nn.init.zeros_(project.weight)
    project.weight.data[0, 0] = 1.0
    project.bias.data.copy_(torch.tensor([0.0, 1, 1, 1, 1, -1, -1, 0]))
    # Of eight units, the first follows a standardised feature, which is above 0 somewhere; the last three never are.
    assert dead_units(model, bags(), cases().of("train"), CPU) == pytest.approx(3 / 8)


def test_the_benchmark_trains_and_counts(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cohorts are of their kind and the same each time; a line of the table for each kind and width."""
    for kind in benchmark.KINDS:
        (features, labels), (again, _) = benchmark.draw(kind, 16, 0), benchmark.draw(kind, 16, 0)
        assert all((one == other).all() for one, other in zip(features, again, strict=True))
        assert (len(labels), sum(labels)) == (129, 64)
    assert min(each.min() for each in benchmark.draw("a", 16, 0)[0]) == 0
    assert all(abs((each**2).sum(1) - 1).max() < 1e-5 for each in benchmark.draw("e", 16, 0)[0])
    # Here, and not in a process that imports torch again.
    monkeypatch.setattr(benchmark, "ProcessPoolExecutor", lambda jobs, mp_context: ThreadPoolExecutor(jobs))
    benchmark.main(["--widths", "16", "--kinds", "f", "--seeds", "1", "--jobs", "1", "--settings", "defaults"])
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("| defaults | 16 | f | 0.")
    assert line.endswith("| 0 of 1 | 0 of 1 | 0 of 1 |")
