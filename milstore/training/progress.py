"""Reports the progress of a training. A library call is silent; the command line passes a screen or lines."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

EpochRow = Mapping[str, Any]
"""A row of the table `epochs`."""
_PACE_OF = 5
"""Epochs whose seconds tell how long the next will take."""
_REFRESHES = 4


class Watcher:
    """Receives the progress of a training, and does nothing with it."""

    def note(self, text: str) -> None:
        """Something that the user should know."""

    def turn(self, place: str, number: int, total: int) -> None:
        """The next run is for `place`, such as `split 2 of 5`: number `number` (from 1) of `total` in this call."""

    def begin(self, run_id: str, *, epoch: int, epochs: int, cases: int) -> None:
        """A run starts, or goes on after `epoch` epochs of at most `epochs`, each with `cases` steps."""

    def case(self) -> None:
        """A case was trained on."""

    def epoch(self, row: EpochRow, *, best: bool) -> None:
        """An epoch ended; `best` if its validation loss is the lowest so far."""

    def end(self) -> None:
        """The training of the run ended, whether it is finished or not."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


class _Course(Watcher):
    """Follows how far a call is: of its runs and of the epochs of each."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._place, self._number, self._total = "", 1, 1
        self._done = self._epochs = 0
        self._seconds: list[float] = []
        self._between = 0.0
        """Seconds that evaluating a run and storing it took, and beginning the next."""
        self._ended: float | None = None
        self._best: EpochRow | None = None

    def note(self, text: str) -> None:
        """The text as a line; while a screen is drawn, rich puts it above."""
        self._say(text)

    def turn(self, place: str, number: int, total: int) -> None:
        """Keep where this run stands in the call."""
        self._place, self._number, self._total = place, number, total

    def begin(self, run_id: str, *, epoch: int, epochs: int, cases: int) -> None:
        """Start counting from this run."""
        if self._ended is not None:
            self._between, self._ended = time.monotonic() - self._ended, None
        self._done, self._epochs, self._best = epoch, epochs, None

    def epoch(self, row: EpochRow, *, best: bool) -> None:
        """One epoch further."""
        self._done, self._ended = int(row["epoch"]), time.monotonic()
        self._seconds = [*self._seconds, row["seconds"]][-_PACE_OF:]
        lowest = None if self._best is None else self._best["val_loss"]
        if row["val_loss"] is not None and (lowest is None or row["val_loss"] < lowest):
            self._best = row

    def _left(self) -> tuple[float, float] | None:
        """Seconds that this run, and all runs that are left of the call, can still take; None before an epoch ended."""
        if not self._seconds:
            return None
        pace = sum(self._seconds) / len(self._seconds)
        here = pace * (self._epochs - self._done) + self._between
        return here, here + (pace * self._epochs + self._between) * (self._total - self._number)


class Lines(_Course):
    """A plain line an epoch, for logs."""

    def begin(self, run_id: str, *, epoch: int, epochs: int, cases: int) -> None:
        """Names the run, and the time left for all where there are several."""
        super().begin(run_id, epoch=epoch, epochs=epochs, cases=cases)
        place = f"{self._place}, " if self._place else ""
        goes_on = f", going on after epoch {epoch}" if epoch else ""
        left = self._left()
        in_all = f", at most {duration(left[1])} left in all" if left and self._total > 1 else ""
        self.note(f"{place}run {run_id}: {cases} training cases, at most {epochs} epochs{goes_on}{in_all}")

    def epoch(self, row: EpochRow, *, best: bool) -> None:
        """Its losses, accuracies, learning rate and seconds."""
        super().epoch(row, best=best)
        val = "no validation"
        if row["val_loss"] is not None:
            val = f"val loss {row['val_loss']:.4f} accuracy {row['val_accuracy']:.2f}"
        self.note(
            f"epoch {row['epoch']:>3}/{self._epochs}  "
            f"train loss {row['train_loss']:.4f} accuracy {row['train_accuracy']:.2f}  {val}  "
            f"lr {row['learning_rate']:.1e}  {row['seconds']:.1f} s{'  best' if best else ''}"
        )


class _Drawn(Progress):
    """Bars, and lines of text around them, each cut rather than broken where it is too long."""

    above: tuple[str, ...] = ()
    below: tuple[str, ...] = ()

    def get_renderables(self) -> Iterable[RenderableType]:
        """Everything from top to bottom."""
        yield from (Text(line, no_wrap=True, overflow="ellipsis") for line in self.above)
        yield self.make_tasks_table(self.tasks)
        yield from (Text(line, no_wrap=True, overflow="ellipsis") for line in self.below)


class Screen(_Course):
    """For a terminal: which split of how many, a bar for the epochs and one for the cases, the last and the best losses,
    and the time left for this split and for all. It goes away when the run ends, for what is said of it then."""

    def __init__(self, say: Callable[[str], None], console: Console) -> None:
        super().__init__(say)
        self._console = console
        self._drawn: _Drawn | None = None
        self._last: EpochRow | None = None

    def begin(self, run_id: str, *, epoch: int, epochs: int, cases: int) -> None:
        """Draws the bars."""
        self.end()
        super().begin(run_id, epoch=epoch, epochs=epochs, cases=cases)
        self._last = None
        self._drawn = _Drawn(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            refresh_per_second=_REFRESHES,
        )
        self._of_epochs = self._drawn.add_task("epochs", total=epochs, completed=epoch)
        self._of_cases = self._drawn.add_task("cases", total=cases)
        self._drawn.above = (self._place or "training", f"run {run_id}")
        self._drawn.below = self._lines()
        self._drawn.start()

    def case(self) -> None:
        """One case further."""
        if self._drawn is not None:
            self._drawn.advance(self._of_cases)

    def epoch(self, row: EpochRow, *, best: bool) -> None:
        """One epoch further, with its figures."""
        super().epoch(row, best=best)
        self._last = row
        if self._drawn is not None:
            self._drawn.below = self._lines()
            self._drawn.update(self._of_epochs, completed=self._done)
            self._drawn.reset(self._of_cases)

    def _lines(self) -> tuple[str, ...]:
        """What stands below the bars: each line fits 80 columns."""
        last, best, left = self._last, self._best, self._left()
        lines = []
        if last is not None:
            val = "" if last["val_loss"] is None else f"  val {last['val_loss']:.3f}"
            lines.append(f"last  loss {last['train_loss']:.3f}{val}  lr {last['learning_rate']:.1e}")
        if best is not None:
            lines.append(f"best  val {best['val_loss']:.3f} in epoch {best['epoch']}")
        if left is not None:
            in_all = f", {duration(left[1])} for all {self._total}" if self._total > 1 else ""
            lines.append(f"left  at most {duration(left[0])}{in_all}")
        return tuple(lines)

    def end(self) -> None:
        """Removes the screen."""
        if self._drawn is not None:
            self._drawn.stop()
            self._drawn = None


def duration(seconds: float) -> str:
    """A time as people say it, rounded up.

    >>> [duration(seconds) for seconds in (0.2, 59.6, 150, 7260)]
    ['1 s', '1 min', '3 min', '2 h 1 min']
    """
    if math.ceil(seconds) < 60:
        return f"{math.ceil(seconds)} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def watcher(say: Callable[[str], None], console: Console) -> Watcher:
    """A screen where the console is a terminal, else lines through `say`."""
    return Screen(say, console) if console.is_terminal else Lines(say)
