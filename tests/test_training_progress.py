"""What a training shows while it goes on."""

import io
import re
from types import SimpleNamespace

import pytest
from rich.console import Console, Group

from milstore.training.progress import EpochRow, Lines, Screen, watcher

ROW: EpochRow = {
    "epoch": 1,
    "train_loss": 0.5,
    "train_accuracy": 0.75,
    "val_loss": 0.625,
    "val_accuracy": 0.5,
    "learning_rate": 3e-4,
    "seconds": 1.25,
}


def screen(said: list[str]) -> Screen:
    """A screen of 80 columns that draws into a text."""
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None, legacy_windows=False)
    shown = watcher(said.append, console)
    assert isinstance(shown, Screen)
    return shown


def picture(shown: Screen) -> list[str]:
    """What it draws now, line by line."""
    assert shown._drawn is not None
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(Group(*shown._drawn.get_renderables()))
    drawn: str = console.file.getvalue()  # type: ignore[attr-defined]
    return [line.rstrip() for line in drawn.splitlines()]


def test_the_screen_tells_which_split_the_best_value_and_the_time_left_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a terminal: split 2 of 5, the last and the best validation loss with its epoch, and the time left for this split
    and for all, of which evaluating and storing a run is a part."""
    clock = iter([100.0, 107.0, 108.0, 109.0])
    monkeypatch.setattr("milstore.training.progress.time", SimpleNamespace(monotonic=lambda: next(clock)))
    shown = screen([])
    shown.turn("split 1 of 5", 1, 5)
    shown.begin("mil-s1", epoch=0, epochs=10, cases=3)
    shown.epoch({**ROW, "seconds": 6.0}, best=True)
    assert picture(shown)[-1] == "left  at most 54 s, 5 min for all 5"
    shown.end()
    shown.turn("split 2 of 5", 2, 5)
    shown.begin("mil-s2", epoch=0, epochs=10, cases=3)
    shown.epoch({**ROW, "epoch": 1, "seconds": 6.0}, best=True)
    shown.epoch({**ROW, "epoch": 2, "val_loss": 0.75, "seconds": 6.0}, best=False)
    lines = picture(shown)
    shown.end()
    assert lines[:2] == ["split 2 of 5", "run mil-s2"]
    assert re.fullmatch(r"epochs .* 2/10 +\d:\d\d:\d\d", lines[2])
    assert re.fullmatch(r"cases .* 0/3 +\d:\d\d:\d\d", lines[3])
    # Eight epochs of 6 s and 7 s between two runs; then three runs of ten epochs.
    assert lines[4:] == [
        "last  loss 0.500  val 0.750  lr 3.0e-04",
        "best  val 0.625 in epoch 1",
        "left  at most 55 s, 5 min for all 5",
    ]


def test_the_screen_fits_80_columns_whatever_the_names() -> None:
    """A name that is too long is cut: no line is broken, so that no word is."""
    shown = screen([])
    shown.turn(f"{'fox' * 30}-r1, split 2 of 5", 7, 25)
    shown.begin("mil-" + "x" * 90, epoch=0, epochs=1000, cases=10000)
    shown.epoch(ROW, best=True)
    lines = picture(shown)
    shown.end()
    assert len(lines) == 7
    assert max(map(len, lines)) <= 80


def test_the_screen_goes_away_at_the_end() -> None:
    """When a run ends there is nothing left of its bars: what is to stay is said in a line."""
    said: list[str] = []
    shown = screen(said)
    shown.begin("mil-s1", epoch=0, epochs=2, cases=3)
    shown.note("note: a word")
    shown.epoch(ROW, best=True)
    shown.end()
    text = shown._console.file.getvalue()  # type: ignore[attr-defined]
    assert text.rindex("\x1b[2K") > text.rindex("best  val")
    assert said == ["note: a word"]


def test_a_run_that_validates_nothing_has_no_best_value() -> None:
    """Without a validation subset neither screen nor lines speak of it."""
    row = {**ROW, "val_loss": None, "val_accuracy": None}
    shown = screen([])
    shown.begin("mil-s1", epoch=0, epochs=1, cases=3)
    shown.epoch(row, best=False)
    assert picture(shown)[4:] == ["last  loss 0.500  lr 3.0e-04", "left  at most 0 s"]
    shown.end()
    said: list[str] = []
    lines = Lines(said.append)
    lines.begin("mil-s1", epoch=0, epochs=1, cases=3)
    lines.epoch(row, best=False)
    assert said[1] == "epoch   1/1  train loss 0.5000 accuracy 0.75  no validation  lr 3.0e-04  1.2 s"


def test_lines_where_there_is_no_terminal() -> None:
    """In a log file an epoch is a line."""
    said: list[str] = []
    shown = watcher(said.append, Console(file=io.StringIO()))
    assert isinstance(shown, Lines)
    shown.turn("fox-r1, split 1 of 2", 1, 2)
    shown.begin("mil-s1", epoch=0, epochs=2, cases=3)
    shown.epoch(ROW, best=False)
    shown.end()
    assert said == [
        "fox-r1, split 1 of 2, run mil-s1: 3 training cases, at most 2 epochs",
        "epoch   1/2  train loss 0.5000 accuracy 0.75  val loss 0.6250 accuracy 0.50  lr 3.0e-04  1.2 s",
    ]
