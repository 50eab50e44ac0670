"""What a training shows while it goes on."""

import io

from rich.console import Console

from milstore.training.progress import Bars, EpochRow, Lines, watcher

ROW: EpochRow = {
    "epoch": 1,
    "train_loss": 0.5,
    "train_accuracy": 0.75,
    "val_loss": 0.625,
    "val_accuracy": 0.5,
    "learning_rate": 3e-4,
    "seconds": 1.25,
}


def test_bars_end_with_the_epochs() -> None:
    """On a terminal a training ends with the bar of its epochs and their last figures, without a bar of no cases."""
    said: list[str] = []
    # What is drawn after the last line was wiped is what stands there at the end.
    console = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None, legacy_windows=False)
    shown = watcher(said.append, console)
    assert isinstance(shown, Bars)
    shown.begin("mil-s1", epoch=0, epochs=2, cases=3)
    shown.case()
    shown.epoch(ROW, best=True)
    shown.end()
    assert said == ["run mil-s1"]
    last = console.file.getvalue().split("\x1b[2K")[-1]  # type: ignore[attr-defined]
    assert "epochs" in last
    assert "1/2" in last
    assert "loss 0.500  val 0.625  lr 3.0e-04  best" in last
    assert "cases" not in last


def test_lines_where_there_is_no_terminal() -> None:
    """In a log file an epoch is a line."""
    said: list[str] = []
    shown = watcher(said.append, Console(file=io.StringIO()))
    assert isinstance(shown, Lines)
    shown.begin("mil-s1", epoch=0, epochs=2, cases=3)
    shown.epoch(ROW, best=False)
    shown.end()
    assert said == [
        "run mil-s1: 3 training cases, at most 2 epochs",
        "epoch   1/2  train loss 0.5000 accuracy 0.75  val loss 0.6250 accuracy 0.50  lr 3.0e-04  1.2 s",
    ]
