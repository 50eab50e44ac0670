"""Which weights a training keeps, and how much of a case it sees: without validation, by epoch, with fewer slices."""

import json
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from milstore.asking.ask import ask
from milstore.cli.main import main
from milstore.errors import DataError, Interrupted, UsageError
from milstore.ingest.splits import ingest_splits, make_splits
from milstore.store import Store
from milstore.store.run_reader import read_run
from milstore.training.config import TrainingConfig
from milstore.training.experiment import train
from milstore.training.loop import Training
from milstore.training.progress import Watcher
from milstore.training.randomness import Purpose, generator
from milstore.training.split_cases import SplitCases
from milstore.training.stored_config import canonical_json, config_from_json, config_hash
from tests.test_repeats import put_splits
from tests.test_training_runs import Strike, strike
from tests.training_cohort import LABELS, SMALL, bag, bags, cases, subset, tiny_store

CPU = torch.device("cpu")
LONG = replace(SMALL, epochs=6, min_epochs=1, patience=1)


def no_validation(case_id: str) -> str:
    of = subset(case_id)
    return "train" if of == "val" else of


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The tiny cohort, with a split set of one split without a validation subset beside its own."""
    made = tiny_store(tmp_path / "store")
    own = [{case_id: subset(case_id, split) for case_id in LABELS} for split in (1, 2)]
    put_splits(made, {"tiny": own, "bare": [{case_id: no_validation(case_id) for case_id in LABELS}]})
    return made


def weights_of(store: Store, run_id: str) -> str:
    return str(read_run(store, run_id)["weights_sha256"])


# --- no validation subset ---------------------------------------------------------------------------------------------


def test_no_validation_subset_is_needed_to_keep_the_last(store: Store) -> None:
    """All epochs are trained, the last is evaluated, and what validation would tell is null."""
    result = train(store, replace(SMALL, keep="last"), 1, split_set="bare", threads=1)
    assert (result.best_epoch, result.n_epochs, result.kept) == (3, 3, "last")
    assert [each.n_cases for each in result.subset("val").classes] == [0, 0]
    rows = ask(store, "loss-curves").records()
    assert [(row["epoch"], row["val_loss"], row["val_accuracy"], row["kept"]) for row in rows] == [
        (1, None, None, False),
        (2, None, None, False),
        (3, None, None, True),
    ]
    assert main(["plot", "loss-curves", "--store", str(store.root), "-o", str(store.root / "x.svg")]) == 0


def test_the_best_epoch_cannot_be_told_without_validation(store: Store) -> None:
    """To keep the best is refused with the options that need no validation; nothing is begun."""
    with pytest.raises(DataError, match="so the best epoch cannot be told: --keep last or --evaluate-epoch needs none"):
        train(store, SMALL, 1, split_set="bare", threads=1)
    assert not list(store.running.glob("mil-*"))


def test_without_validation_the_learning_rate_goes_by_the_training_loss() -> None:
    """An epoch whose training loss does not fall lowers the rate."""
    bare = SplitCases({case_id: no_validation(case_id) for case_id in LABELS}, LABELS)
    config = replace(SMALL, keep="last", epochs=2, plateau_patience=0, lr=1e-5, dropout=0.0)
    training = Training(bags(), bare, config, n_classes=2, seed=0, device=CPU)
    training.train_epoch(Watcher(), lambda: False)
    training.scheduler.best = 0.0
    training.train_epoch(Watcher(), lambda: False)
    assert training.optimizer.param_groups[0]["lr"] == pytest.approx(0.3e-5)


def test_splits_are_drawn_and_taken_in_without_validation(store: Store, tmp_path: Path) -> None:
    """--val-share 0 draws none; a file of a split may lack val_cases, or have an empty list; `splits check` notes it."""
    report = make_splits(store, folds=2, split_set="drawn", val_share=0)
    assert [each.counts for each in report.splits] == [{"train": 6, "val": 0, "test": 6}] * 2
    np.savez(tmp_path / "s1.npz", train_cases=[1, 2], test_cases=[3])
    np.savez(tmp_path / "s2.npz", train_cases=[1, 2], val_cases=[], test_cases=[3])
    taken = ingest_splits(store, [tmp_path / "s1.npz", tmp_path / "s2.npz"])
    assert [each.counts for each in taken.splits] == [{"train": 2, "val": 0, "test": 1}] * 2


def test_a_check_of_splits_says_how_to_train_them(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """No validation subset is a note and no fault."""
    assert main(["splits", "check", "--split-set", "bare", "--store", str(store.root)]) == 0
    said = capsys.readouterr().out
    assert "bare: note: split 1 has no validation subset: train it with --keep last or --evaluate-epoch\n" in said
    assert "BROKEN" not in said


# --- the weights of one epoch -----------------------------------------------------------------------------------------


def test_the_weights_of_an_epoch_are_evaluated_in_place_of_the_best(store: Store) -> None:
    """--evaluate-epoch 2 gives the weights that a training of two epochs ends with, though the training goes on."""
    two = train(store, replace(SMALL, keep="last", epochs=2), 1, split_set="tiny", threads=1)
    chosen = train(store, replace(SMALL, evaluate_epoch=2), 1, split_set="tiny", threads=1)
    ours, theirs = (load_file(result.folder / "weights.safetensors") for result in (chosen, two))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert (chosen.best_epoch, chosen.n_epochs, chosen.kept) == (2, 3, "chosen")
    assert read_run(store, chosen.run_id)["best_epoch"] == 2


def test_early_stopping_waits_for_the_epoch() -> None:
    """A training whose validation loss never falls again still reaches the epoch, and stops then."""
    training = Training(bags(), cases(), replace(LONG, evaluate_epoch=4), n_classes=2, seed=0, device=CPU)
    while not training.finished:
        training.train_epoch(Watcher(), lambda: False)
        # As if the first epoch had been the best.
        training.history[0]["val_loss"] = 0.0
    assert (len(training.history), training.best_epoch) == (4, 4)


def test_a_stop_before_and_after_the_epoch_changes_nothing(store: Store) -> None:
    """A training that was stopped goes on to the same weights."""
    config = replace(SMALL, evaluate_epoch=2)
    twin = train(store, config, 1, split_set="tiny", threads=1, experiment="twin")
    for after in (8, 14):
        name = f"stopped-{after}"
        with pytest.raises(Interrupted):
            train(
                store, config, 1, split_set="tiny", threads=1, experiment=name,
                watcher=Strike(after, strike(signal.SIGTERM)),
            )  # fmt: skip
        again = train(store, config, 1, split_set="tiny", threads=1, experiment=name)
        assert weights_of(store, again.run_id) == weights_of(store, twin.run_id)


def test_an_epoch_that_cannot_be_is_refused() -> None:
    """Beyond the last one, negative, or together with --keep last."""
    with pytest.raises(UsageError, match="--evaluate-epoch 4: give a value of at most --epochs"):
        replace(SMALL, evaluate_epoch=4)
    with pytest.raises(UsageError, match="--evaluate-epoch -1: give a value 0 or more"):
        replace(SMALL, evaluate_epoch=-1)
    with pytest.raises(UsageError, match="--evaluate-epoch and --keep last both say which weights"):
        replace(SMALL, evaluate_epoch=2, keep="last")


# --- fewer slices -----------------------------------------------------------------------------------------------------


def test_a_bag_keeps_some_slices_of_each_stain_whole() -> None:
    """At most so many slices a stain, each with all of its patches and their features, by name; drawn fairly."""
    whole = bag("1")
    assert whole.slices == (("h&e", 0), ("h&e", 1), ("sox10", 0), ("sox10", 1))
    seen = set()
    for seed in range(20):
        some = whole.with_slices(1, np.random.default_rng(seed))
        seen.add(some.slices)
        assert [stain for stain, _ in some.slices] == ["h&e", "sox10"]
        assert some.stain_G.tolist() == [0, 1]
        assert some.slice_of_N.tolist() == some.slice_N.tolist()
        place = [(*some.slices[g], p) for g, p in zip(some.slice_N, some.patch_idx_N, strict=True)]
        there = [(*whole.slices[g], p) for g, p in zip(whole.slice_N, whole.patch_idx_N, strict=True)]
        rows = [i for i, each in enumerate(there) if each[:2] in some.slices]
        assert place == [there[i] for i in rows]
        assert torch.equal(some.feature_ND, whole.feature_ND[rows])
        assert len(some.xy_N2) == len(rows)
    assert len(seen) == 4
    assert whole.with_slices(2, np.random.default_rng(0)) is whole


def test_training_sees_some_slices_and_evaluation_all(store: Store) -> None:
    """--max-slices-per-stain 1 changes what is trained, and every patch of a case is evaluated all the same."""
    capped = replace(SMALL, max_slices_per_stain=1)
    plain = train(store, SMALL, 1, split_set="tiny", threads=1)
    some = train(store, capped, 1, split_set="tiny", threads=1)
    assert weights_of(store, plain.run_id) != weights_of(store, some.run_id)
    again = train(store, capped, 1, split_set="tiny", threads=1)
    assert weights_of(store, again.run_id) == weights_of(store, some.run_id)
    counts = [
        {(row["case_id"], row["stain"]): row["evaluated"] for row in ask(store, "coverage").records()}
        for _ in (plain, some)
    ]
    assert counts[0] == counts[1]


def test_a_draw_is_of_the_epoch_and_the_case() -> None:
    """The slices of one epoch tell nothing of the next, and are the same for the same seed."""
    draws = [generator(0, Purpose.SLICES, epoch, 0).permutation(20).tolist() for epoch in (1, 2, 1)]
    assert draws[0] == draws[2] != draws[1]


# --- configurations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "value"), [("evaluate_epoch", 3), ("max_slices_per_stain", 2)])
def test_only_a_configuration_that_uses_it_has_another_hash(name: str, value: int) -> None:
    """Unused it stands in no JSON and in no hash; used it does, and comes back from the JSON."""
    plain, used = (
        canonical_json(config, encoder="hed") for config in (TrainingConfig(), TrainingConfig(**{name: value}))
    )
    assert name not in json.loads(plain)
    # As if a later version had written it down.
    assert config_hash(json.dumps({**json.loads(plain), name: 0})) == config_hash(plain)
    assert config_hash(used) != config_hash(plain)
    assert getattr(config_from_json(used), name) == value
