"""Output of commands: data to stdout, everything else to stderr, and data never interpreted as markup."""

import os
import shutil
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO, cast

from milstore.asking.cells import cell as people_read
from milstore.cli import tables
from milstore.errors import Interrupted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table
    from rich.text import Text

_state = {"quiet": False}
_WIDEST = 100_000
_LONGEST_LINE = 4000
_NARROWEST = 40


def set_quiet(quiet: bool) -> bool:
    """Turn messages on stderr on or off."""
    _state["quiet"] = _state["quiet"] or quiet
    return quiet


def reset_quiet() -> None:
    """Turn messages on again, at the start of a command line."""
    _state["quiet"] = False


def is_quiet() -> bool:
    """Whether messages are turned off."""
    return _state["quiet"]


def printable(text: str) -> str:
    """The text without control characters, which could steer the terminal; a line break becomes a space.

    >>> printable("a\\x1b[31mb\\nc")
    'a[31mb c'
    """
    if text.isascii() and text.isprintable():
        return text
    import unicodedata

    spaced = text.replace("\n", " ").replace("\t", " ")
    return "".join(letter for letter in spaced if unicodedata.category(letter) not in ("Cc", "Cf", "Cs"))


def say(text: str) -> None:
    """Print a message to stderr, unless --quiet."""
    if not _state["quiet"]:
        sys.stderr.write("\n".join(_fitted(printable(line)) for line in text.splitlines()) + "\n")


def fail(message: str) -> None:
    """The one line of an error."""
    report(f"error: {message}")


def report(message: str) -> None:
    """The one line that a command ends with, even with --quiet."""
    shown = printable(message)
    # Whatever a file may hold, what is said of it stays a line that can be read.
    sys.stderr.write(f"{_fitted(shown if len(shown) <= _LONGEST_LINE else shown[: _LONGEST_LINE - 1] + '…')}\n")


def _fitted(line: str) -> str:
    """A line as it stands on the terminal: broken between words, unless it has a command that people copy."""
    if len(line) <= _NARROWEST or not sys.stderr.isatty() or "milstore " in line:
        return line
    import textwrap

    width = max(_NARROWEST, shutil.get_terminal_size().columns)
    return textwrap.fill(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


class _Heard:
    """A stream of words. When nobody reads it any more (a pipe's reader is gone, a terminal was closed) the work that
    speaks goes on, and its words go nowhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, unless the reader is gone."""
        try:
            return self._stream.write(text)
        except OSError:
            self._hush()
            return len(text)

    def flush(self) -> None:
        """Flush, unless the reader is gone."""
        try:
            self._stream.flush()
        except OSError:
            self._hush()

    def _hush(self) -> None:
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            # What waits in the stream's buffer goes there too, now and when the program ends.
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def heard() -> Iterator[None]:
    """Within this block, messages to a closed stderr raise nothing."""
    before = sys.stderr
    sys.stderr = cast(TextIO, _Heard(before))
    try:
        yield
    finally:
        sys.stderr = before


def refuse(error: Exception) -> None:
    """The one line of an error, and under it what it has besides: the place in a statement, or lines to type or paste."""
    # Being stopped is no error, and says itself what goes on.
    (report if isinstance(error, Interrupted) else fail)(str(error))
    for note in getattr(error, "__notes__", ()):
        sys.stderr.write("".join(f"{printable(line)}\n" for line in note.splitlines()))


def console(*, stderr: bool = False) -> "Console":
    """A rich console that is as wide as the terminal, and never cuts what goes into a file or a pipe."""
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            """Unlike rich, which ends the program with 1: a reader such as head has closed the pipe."""
            raise BrokenPipeError

    stream = sys.stderr if stderr else sys.stdout
    return Plain(file=stream, width=None if stream.isatty() else _WIDEST, highlight=False, markup=False, emoji=False)


def show_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None, whole: Collection[str] = ()
) -> None:
    """A table for people, to stdout: as wide as the terminal at most, and unwrapped where there is none.

    The texts of the columns `whole` are not broken, as numbers never are.
    """
    write_lines([printable(title)] if title else [])
    sys.stdout.write(table_text(columns, list(rows), line_width(), whole))


def line_width() -> int | None:
    """How many letters a line of stdout may have; None where that is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def write_lines(texts: Iterable[str]) -> None:
    """Lines to stdout, wrapped between words on a terminal."""
    width = line_width()
    for text in texts:
        lines = [text] if width is None else tables.wrapped(text, width)
        sys.stdout.write("".join(f"{line}\n" for line in lines))


def table_text(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], width: int | None, whole: Collection[str] = ()
) -> str:
    """The table of some rows, in lines of at most so many letters. Numbers stand to the right."""
    made = []
    for i, name in enumerate(columns):
        values = [row[i] for row in rows]
        numeric = tables.is_numeric(values)
        texts = list(map(printable, tables.column_texts(values)))
        made.append(tables.Column(printable(name), texts, numeric, numeric or name in whole))
    return tables.table(made, width)


def make_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> "Table":
    """A rich table, for output that is redrawn repeatedly."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=Text(printable(title)) if title else None)
    for i, column in enumerate(columns):
        numeric = tables.is_numeric([row[i] for row in rows])
        # Never cut an identifier or a number; words may wrap.
        table.add_column(
            Text(printable(column)), justify="right" if numeric else "left", overflow="fold", no_wrap=numeric
        )
    for row in rows:
        table.add_row(*(Text(cell(value)) for value in row))
    return table


def cell(value: Any) -> str:
    """A value as people read it, without what could steer the terminal."""
    return printable(people_read(value))


def progress(speed: str | None = None) -> "Progress":
    """Progress bars on stderr; none where stderr is no terminal, or with --quiet. `speed` is the unit to say it in."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    class Speed(ProgressColumn):
        """The current speed."""

        def render(self, task: Task) -> "Text":
            from rich.text import Text

            found = task.finished_speed or task.speed
            return Text("" if found is None else f"{found:,.0f} {speed}")

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        *([Speed()] if speed else []),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console(stderr=True),
        disable=_state["quiet"] or not sys.stderr.isatty(),
    )
