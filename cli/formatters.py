"""Writes an answer in the requested format, streamed where the rows are not needed together."""

import sys
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from milstore.asking.asked import Odd
from milstore.asking.result import Result
from milstore.cli.output import printable, say
from milstore.cli.row_texts import CsvRows, JsonRows, RowTexts, markdown
from milstore.cli.showing import View, show_answer
from milstore.cli.terminal import lacking
from milstore.errors import DataError, UsageError
from milstore.store.io import write_text, write_whole
from milstore.store.names import clip

FORMATS = ("table", "csv", "json", "parquet", "markdown")
MOST = 10_000
"""Rows of an answer that is for people."""


def write_answer(
    result: Result,
    format_: str,
    output: Path | None,
    report: Callable[[list[dict[str, Any]]], str] | None = None,
    view: View | None = None,
    *,
    safe_cells: bool = False,
) -> None:
    """Print an answer, or write it to a file.

    Tables and Markdown have 10,000 rows at most; CSV, JSON and Parquet all, of which few are held at a time. The time
    limit of the question covers the writing, too.

    Args:
        result: the answer.
        format_: table, csv, json, parquet, markdown, or report where there is one.
        output: the file; the terminal without one.
        report: writes the rows as a text.
        view: what of the answer is wanted; without it what is for people, and the first rows on a terminal.
        safe_cells: for CSV: put a quote before texts that a spreadsheet would take for a formula.

    Raises:
        UsageError: the format does not exist, its bytes cannot go to a terminal, the answer lacks a column, or the time
            is over.
        DataError: the file cannot be written.
    """
    formats = (*FORMATS, "report") if report else FORMATS
    if format_ not in formats:
        raise UsageError(f"there is no format {format_!r} here: use {', '.join(formats)}")
    if safe_cells and format_ != "csv":
        raise UsageError("--safe-cells is for --format csv: other formats hold no formulas")
    view = view or View()
    if format_ == "parquet":
        _write_parquet(result, output, view)
    elif format_ in ("csv", "json"):
        _write_rows(result, CsvRows(safe=safe_cells) if format_ == "csv" else JsonRows(), output, view)
    else:
        _write_for_people(result, format_, output, report, view)


def _tell(result: Result) -> None:
    for note in result.notes:
        say(f"note: {note}")


def _write_for_people(
    result: Result,
    format_: str,
    output: Path | None,
    report: Callable[[list[dict[str, Any]]], str] | None,
    view: View,
) -> None:
    # What is to be told of the columns is known when the rows are there.
    more = False
    if format_ == "report":
        result.rows()
    else:
        more = result.first(MOST)
    _tell(result)
    if format_ == "table" and output is None:
        show_answer(result, view)
    elif format_ == "table":
        raise UsageError("a table is for the terminal: choose --format csv, json, parquet or markdown for a file")
    else:
        result = view.chosen(result)
        _emit(report(result.records()) if format_ == "report" and report else markdown(result), output)
    if more:
        say(f"note: these are the first {MOST} rows, and there are more: --format csv, json or parquet gives them all")


def _emit(text: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(text)
    else:
        _saved(output, partial(write_text, output, text))


def _saved(output: Path, save: Callable[[], None]) -> None:
    try:
        save()
    except OSError as error:
        raise DataError(f"{output} cannot be written: {error.strerror}") from error
    say(f"wrote {output}")


# --- CSV and JSON -----------------------------------------------------------------------------------------------------


def _write_rows(result: Result, texts: RowTexts, output: Path | None, view: View) -> None:
    with _parts(result) as (names, parts):
        _tell(result)
        chosen = view.names(names)
        at = None if chosen is None else [names.index(name) for name in chosen]

        def write(put: Callable[[str], object]) -> None:
            # The first rows go with what stands before them: what is refused for them leaves nothing behind.
            begun = texts.begin(chosen or names)
            for part in parts:
                put(begun + texts.rows(part if at is None else [tuple(row[i] for i in at) for row in part]))
                begun = ""
            put(begun + texts.end())

        if output is None:
            write(_put_data)
        else:
            _saved(output, partial(write_whole, output, lambda path: _write_open(path, write)))
    for note in texts.notes():
        say(f"note: {note}")


@contextmanager
def _parts(result: Result) -> Any:
    """Names of the columns, and the rows a few at a time where that can be."""
    if result.asked is None:
        yield result.columns, [result.rows()]
        return
    with result.asked.rows() as parts:
        yield result.named(parts.names), parts


def _write_open(path: Path, write: Callable[[Callable[[str], object]], None]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        write(stream.write)


def _put_data(text: str) -> None:
    # Data is never changed on its way.
    if letter := lacking(text):
        raise UsageError(
            f"the answer holds {letter!a}, which the terminal's encoding ({sys.stdout.encoding}) lacks: write it to a "
            "file by --output, or set PYTHONIOENCODING=utf-8"
        )
    # A terminal would do what its control characters say. A file or a pipe gets the data as it is.
    sys.stdout.write("\n".join(map(printable, text.split("\n"))) if sys.stdout.isatty() else text)


# --- Parquet ----------------------------------------------------------------------------------------------------------


def _write_parquet(result: Result, output: Path | None, view: View) -> None:
    import pyarrow as pa

    if output is None and sys.stdout.isatty():
        raise UsageError("parquet is not for terminals: name a file by --output")
    try:
        if output is not None:
            _saved(output, partial(write_whole, output, lambda path: _put_parquet(result, path, view)))
            return
        import shutil
        import tempfile

        # A reader of Parquet needs its end, so nobody loses by waiting for it; and it may have to be begun again.
        with tempfile.TemporaryDirectory(prefix="milstore-") as folder:
            path = Path(folder) / "answer.parquet"
            _put_parquet(result, path, view)
            with path.open("rb") as stream:
                shutil.copyfileobj(stream, sys.stdout.buffer)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        reason = clip(" ".join(str(error).split()), 200)
        raise UsageError(f"this answer cannot be written as Parquet ({reason}): cast the column to varchar") from error


def _put_parquet(result: Result, path: Path, view: View) -> None:
    import pyarrow.parquet as pq

    if result.asked is None:
        table = result.arrow()
        _tell(result)
        names = view.names(table.column_names)
        pq.write_table(table if names is None else table.select(names), path)
        return
    with result.asked.batches() as parts:
        columns = result.named(parts.names)
        _tell(result)
        names = view.names(columns) or columns
        # Begun again at most once a column: what Arrow has not is text then.
        for _ in range(len(columns) + 1):
            schema, rows = parts.begin()
            try:
                import pyarrow as pa

                with pq.ParquetWriter(path, pa.schema([schema.field(name) for name in names])) as writer:
                    for batch in rows:
                        writer.write_batch(batch.select(names))
                return
            except Odd:
                continue
