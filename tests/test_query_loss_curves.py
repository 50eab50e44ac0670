"""`loss-curves`: the epochs of every run, where the rate dropped, and which epoch was kept."""

from pathlib import Path

import pytest

from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.store import Store
from tests.drawing import drawn, rows_of, subtitle_of
from tests.making import THREE_LABELS, THREE_PATCHES, levels, make_run, make_store


def _epoch(epoch: int, train: float, val: float, rate: float) -> dict[str, float]:
    return {
        "epoch": epoch, "train_loss": train, "train_accuracy": 0.5, "val_loss": val, "val_accuracy": 0.25,
        "learning_rate": rate, "seconds": 1.0,
    }  # fmt: skip


@pytest.fixture
def learning(tmp_path: Path) -> Store:
    """Two seeds of one split; the first drops its rate at epoch 3 and keeps epoch 2."""
    store = make_store(tmp_path / "learning", THREE_LABELS, THREE_PATCHES)
    chances = {"2": (0.1, 0.9), "10": (0.3, 0.7), "46": (0.8, 0.2)}
    subsets = {"2": "test", "10": "val", "46": "train"}
    attention = levels(dict.fromkeys(THREE_PATCHES, 1.0))
    first = [_epoch(1, 0.7, 0.6, 3e-4), _epoch(2, 0.6, 0.5, 3e-4), _epoch(3, 0.5, 0.55, 9e-5)]
    make_run(store, "exp-s1-0", subsets, THREE_LABELS, chances, attention, epochs=first, n_epochs=3, best_epoch=2)
    second = [_epoch(1, 0.8, 0.7, 3e-4)]
    make_run(store, "exp-s1-5", subsets, THREE_LABELS, chances, attention, epochs=second, n_epochs=1, seed=5)
    return store


def test_an_epoch_comes_with_its_losses_and_what_happened_at_it(learning: Store) -> None:
    """A row an epoch of every run; a drop is where the rate is lower than the epoch before."""
    result = ask(learning, "loss-curves")
    assert result.columns == [
        "split", "seed", "epoch", "train_loss", "val_loss", "train_accuracy", "val_accuracy", "learning_rate",
        "rate_dropped", "kept", "run_id",
    ]  # fmt: skip
    assert result.rows() == [
        (1, 0, 1, 0.7, 0.6, 0.5, 0.25, 3e-4, False, False, "exp-s1-0"),
        (1, 0, 2, 0.6, 0.5, 0.5, 0.25, 3e-4, False, True, "exp-s1-0"),
        (1, 0, 3, 0.5, 0.55, 0.5, 0.25, 9e-5, True, False, "exp-s1-0"),
        (1, 5, 1, 0.8, 0.7, 0.5, 0.25, 3e-4, False, True, "exp-s1-5"),
    ]


def test_a_seed_narrows_it(learning: Store) -> None:
    """`--seed` leaves the runs of one seed."""
    assert {row["run_id"] for row in ask(learning, "loss-curves", Choice(seed=5)).records()} == {"exp-s1-5"}


def test_each_run_has_a_panel_that_names_it(learning: Store) -> None:
    """Where there are several seeds, the panel names the seed too, and always the kept epoch."""
    spec = drawn(learning, "loss-curves")
    assert {row["panel"] for row in rows_of(spec)} == {
        "split 1, seed 0 · kept 2",
        "split 1, seed 5 · kept 1",
    }
    assert subtitle_of(spec).startswith(
        "Kept epochs 2 of 3, 1 of 1; validation loss ended higher than there in 1 of 2 runs (by up to 0.05). "
        "experiment exp, 2 runs"
    )


def test_a_long_training_is_thinned_but_keeps_what_matters(tmp_path: Path) -> None:
    """Of 6,000 epochs at most 5,000 are drawn, among them the kept one and every drop."""
    store = make_store(tmp_path / "long", THREE_LABELS, THREE_PATCHES)
    epochs = [_epoch(i, 1 / i, 1 / i, 3e-4 if i < 3001 else 9e-5) for i in range(1, 6001)]
    make_run(
        store, "exp-s1-0", dict.fromkeys(THREE_LABELS, "test"), THREE_LABELS,
        dict.fromkeys(THREE_LABELS, (0.4, 0.6)), levels(dict.fromkeys(THREE_PATCHES, 1.0)),
        epochs=epochs, n_epochs=6000, best_epoch=4567,
    )  # fmt: skip
    rows = rows_of(drawn(store, "loss-curves"))
    assert [row["epoch"] for row in rows if row["kept"]] == [4567]
    assert [row["epoch"] for row in rows if row["rate_dropped"]] == [3001]
