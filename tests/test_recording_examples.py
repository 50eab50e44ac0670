"""The examples of recording, as a stranger would run them."""

import importlib.util
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import milstore
from milstore.store import Store
from milstore.store.doctor import check
from milstore.store.run_reader import read_run, run_ids
from tests.forking import fork
from tests.making import THREE_PATCHES
from tests.recording import CHANCES, split_store
from tests.training_cohort import LABELS, tiny_store

ROOT = Path(__file__).resolve().parents[1]


def example(name: str) -> Any:
    """A file of examples/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(folder: Path, name: str, *words: str) -> str:
    """What a file of examples/ prints that is run with some words."""

    def work() -> None:
        sys.argv = [name, *words]
        runpy.run_path(f"{ROOT}/examples/{name}.py", run_name="__main__")

    child = fork(folder, work)
    assert child.wait() == 0, child.text()
    return child.text()


def test_a_plain_loop_of_torch(tmp_path: Path) -> None:
    """examples/record_my_trainer.py trains on a store, and its run is one that questions answer from."""
    store = tiny_store(tmp_path / "store")
    said = run(tmp_path, "record_my_trainer", str(store.root))
    (run_id,) = run_ids(store)
    assert said == f"next: milstore query top-patches --run {run_id} --store {store.root}\n"
    facts = read_run(store, run_id)
    assert (facts["kind"], facts["attention"], facts["n_epochs"], facts["best_epoch"]) == ("recorded", "patches", 5, 5)
    assert len(milstore.open(store.root).sql("select * from predictions").rows()) == len(LABELS)
    assert check(store) == []


def _places(case_id: str) -> list[tuple[str, int, int]]:
    return [patch[1:] for patch in THREE_PATCHES if patch[0] == case_id]


class Module(torch.nn.Linear):
    """What a LightningModule has in common with the stand-in: weights, and what it said."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.said = {
            case: (p, _places(case), [1 / len(_places(case))] * len(_places(case))) for case, p in CHANCES.items()
        }


def test_a_callback_of_lightning(tmp_path: Path) -> None:
    """examples/record_lightning.py gets epochs and the end of the training by the names that Lightning calls.

    Where Lightning is not installed the calls come from a stand-in that makes the same ones in the same order.
    """
    store: Store = split_store(tmp_path / "store")
    module = Module()
    with milstore.open(store.root).record(experiment="lit", split=2) as run:
        callback = example("record_lightning").RecordRun(run)
        for epoch in range(2):
            metrics = {"train_loss": torch.tensor(0.5 - epoch / 10), "val_loss": torch.tensor(0.75)}
            callback.on_train_epoch_end(SimpleNamespace(current_epoch=epoch, callback_metrics=metrics), module)
        callback.on_fit_end(SimpleNamespace(), module)
    losses = milstore.open(store.root).sql("select epoch, train_loss, val_loss from epochs order by epoch").rows()
    assert losses == [(1, pytest.approx(0.5), 0.75), (2, pytest.approx(0.4), 0.75)]
    assert read_run(store, run.run_id)["attention"] == "patches"
    assert read_run(store, run.run_id)["weights_sha256"]
    assert check(store) == []


def test_a_results_folder(tmp_path: Path) -> None:
    """examples/record_results_folder.py makes a run of three CSV files: cases by 046, patches by their files."""
    store = split_store(tmp_path / "store")
    folder = tmp_path / "results-of-may"
    folder.mkdir()
    lines = [f"0{case_id},{p[0]},{p[1]}" for case_id, p in CHANCES.items()]
    (folder / "predictions.csv").write_text("\n".join(["case_id,benign,high-grade", *lines]))
    lines = [f"0{c},case_{c}_match_{i + 1}_{s}_patch{p}.png,{1 / len(_places(c))}" for c, s, i, p in THREE_PATCHES]
    (folder / "attention.csv").write_text("\n".join(["case_id,file,weight", *lines]))
    (folder / "log.csv").write_text("epoch,train_loss,val_loss\n1,0.7,0.6\n")
    said = run(tmp_path, "record_results_folder", str(store.root), str(folder), "theirs", "2")
    assert run_ids(store) == [said.strip()]
    answer = milstore.open(store.root).query("top-patches", case="46").records()
    assert [(row["stain"], row["case_patches"]) for row in answer] == [("h&e", 3)]
    assert check(store) == []
