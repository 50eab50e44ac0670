"""What a training tells while it goes on. A library call is silent; the command line passes a bar or lines."""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column

EpochRow = Mapping[str, float]
"""A row of the table `epochs`."""


class Watcher:
    """Hears how a training goes on, and says nothing."""

    def note(self, text: str) -> None:
        """Something that the user should know."""

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


class Lines(Watcher):
    """A plain line an epoch, for logs."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._epochs = 0

    def note(self, text: str) -> None:
        """The text as a line."""
        self._say(text)

    def begin(self, run_id: str, *, epoch: int, epochs: int, cases: int) -> None:
        """Names the run."""
        self._epochs = epochs
        goes_on = f", going on after epoch {epoch}" if epoch else ""
        self.note(f"run {run_id}: {cases} training cases, at most {epochs} epochs{goes_on}")

    def epoch(self, row: EpochRow, *, best: bool) -> None:
        """Its losses, accuracies, learning rate and seconds."""
        self.note(
            f"epoch {row['epoch']:>3}/{self._epochs}  "
            f"train loss {row['train_loss']:.4f} accuracy {row['train_accuracy']:.2f}  "
            f"val loss {row['val_loss']:.4f} accuracy {row['val_accuracy']:.2f}  "
            f"lr {row['learning_rate']:.1e}  {row['seconds']:.1f} s{'  best' if best else ''}"
        )


class Bars(Watcher):
    """A bar for the epochs and one for the cases of the epoch, with the last losses, for a terminal."""

    def __init__(self, say: Callable[[str], None], console: Console) -> None:
        self._say = say
        self._console = console
        self._progress: Progress | None = None

    def note(self, text: str) -> None:
        """The text as a line; while bars are drawn, rich puts it above them."""
        self._say(text)

    def begin(self, run_id: str, *, epoch: int, epochs: int, cases: int) -> None:
        """Draws the bars."""
        self.end()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}", markup=False, table_column=Column(no_wrap=True)),
            console=self._console,
        )
        self._epochs = self._progress.add_task("epochs", total=epochs, completed=epoch, figures="")
        self._cases = self._progress.add_task("cases", total=cases, figures="")
        self.note(f"run {run_id}")
        self._progress.start()

    def case(self) -> None:
        """One case further."""
        if self._progress is not None:
            self._progress.advance(self._cases)

    def epoch(self, row: EpochRow, *, best: bool) -> None:
        """One epoch further, with its figures."""
        if self._progress is None:
            return
        figures = f"loss {row['train_loss']:.3f}  val {row['val_loss']:.3f}  lr {row['learning_rate']:.1e}"
        self._progress.update(self._epochs, advance=1, figures=figures + ("  best" if best else ""))
        self._progress.reset(self._cases)

    def end(self) -> None:
        """Leaves the bar of the epochs as it is; the one of the cases has nothing more to say."""
        if self._progress is not None:
            self._progress.update(self._cases, visible=False)
            self._progress.stop()
            self._progress = None


def watcher(say: Callable[[str], None], console: Console) -> Watcher:
    """Bars where the console is a terminal, else lines through `say`."""
    return Bars(say, console) if console.is_terminal else Lines(say)
