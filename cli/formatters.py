"""Writes an answer in the format that was asked for."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from milstore.asking.fetching import as_json, as_text
from milstore.asking.result import Result
from milstore.cli.output import cell, say
from milstore.cli.showing import View, show_answer
from milstore.cli.terminal import lacking
from milstore.errors import DataError, UsageError
from milstore.store.io import write_whole
from milstore.store.names import clip, counted

FORMATS = ("table", "csv", "json", "parquet", "markdown")
_QUOTE = '"'
_NEEDS_QUOTES = frozenset(',"\r\n')


def write_answer(
    result: Result,
    format_: str,
    output: Path | None,
    report: Callable[[list[dict[str, Any]]], str] | None = None,
    view: View | None = None,
) -> None:
    """Print an answer, or write it to a file.

    Args:
        result: the answer.
        format_: table, csv, json, parquet, markdown, or report where there is one.
        output: the file; the terminal without one.
        report: writes the rows as a text.
        view: what of the answer is wanted; without it what is for people, and the first rows on a terminal.

    Raises:
        UsageError: the format does not exist, its bytes cannot go to a terminal, or the answer lacks a column.
        DataError: the file cannot be written.
    """
    formats = (*FORMATS, "report") if report else FORMATS
    if format_ not in formats:
        raise UsageError(f"there is no format {format_!r} here: use {', '.join(formats)}")
    # What is to be told of the columns is known when they are there.
    if format_ == "parquet":
        result.arrow()
    else:
        result.rows()
    for note in result.notes:
        say(f"note: {note}")
    view = view or View()
    if format_ == "table" and output is None:
        show_answer(result, view)
        return
    result = view.chosen(result)
    if format_ == "parquet":
        _write_parquet(result, output)
    else:
        text = report(result.records()) if format_ == "report" and report else _text(result, format_)
        _emit(text, output, is_data=format_ in ("csv", "json"))


def _emit(text: str, output: Path | None, *, is_data: bool) -> None:
    if output is None:
        # Data is never changed on its way.
        if is_data and (letter := lacking(text)):
            raise UsageError(
                f"the answer holds {letter!a}, which the terminal's encoding ({sys.stdout.encoding}) lacks: write it to a "
                "file by --output, or set PYTHONIOENCODING=utf-8"
            )
        sys.stdout.write(text)
        return
    _save(output, lambda path: _write_text(path, text))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="")


def _save(output: Path, writer: Callable[[Path], None]) -> None:
    try:
        write_whole(output, writer)
    except OSError as error:
        raise DataError(f"{output} cannot be written: {error.strerror}") from error
    say(f"wrote {output}")


def _write_parquet(result: Result, output: Path | None) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = result.arrow()
    if output is None and sys.stdout.isatty():
        raise UsageError("parquet is not for terminals: name a file by --output")
    try:
        if output is not None:
            _save(output, lambda path: pq.write_table(table, path))
        else:
            pq.write_table(table, sys.stdout.buffer)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        reason = clip(" ".join(str(error).split()), 200)
        raise UsageError(f"this answer cannot be written as Parquet ({reason}): cast the column to varchar") from error


def _text(result: Result, format_: str) -> str:
    if format_ == "json":
        return _json(result)
    if format_ == "csv":
        lines = [result.columns, *result.rows()]
        return "".join(_csv_line(["" if value is None else as_text(value) for value in line], line) for line in lines)
    if format_ == "markdown":
        return _markdown(result)
    raise UsageError("a table is for the terminal: choose --format csv, json, parquet or markdown for a file")


def _json(result: Result) -> str:
    """The rows as JSON, which has no NaN and no infinity: they are null, and counted."""
    odd = 0

    def null(_: float) -> None:
        nonlocal odd
        odd += 1

    records = [{name: as_json(value, null) for name, value in record.items()} for record in result.records()]
    if odd:
        say(
            f"note: {counted(odd, 'value')} that JSON lacks (NaN, infinity) stand there as null: --format csv keeps them"
        )
    return json.dumps(records, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _csv_line(texts: Sequence[str], values: Sequence[Any]) -> str:
    """A line of CSV. An empty text stands in quotes, so that it is not taken for a value that is missing."""
    fields = [
        f'"{text.replace(_QUOTE, _QUOTE * 2)}"'
        if (text == "" and value is not None) or _NEEDS_QUOTES & set(text)
        else text
        for text, value in zip(texts, values, strict=True)
    ]
    # A line of nothing is skipped by those who read it.
    return (",".join(fields) or '""') + "\n"


def _markdown(result: Result) -> str:
    def row(cells: list[str]) -> str:
        return "| " + " | ".join(text.replace("\\", "\\\\").replace("|", "\\|") for text in cells) + " |\n"

    lines = [row(result.columns), "|" + "---|" * len(result.columns) + "\n"]
    lines += [row([cell(value) for value in values]) for values in result.rows()]
    return "".join(lines)
