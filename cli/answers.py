"""Writes an answer in the format that was asked for."""

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from milstore.asking import Result
from milstore.cli.output import cell, say, show_table
from milstore.errors import DataError, UsageError
from milstore.store.files import write_whole

FORMATS = ("table", "csv", "json", "parquet", "markdown")
_CAPTION = (
    *("run_id", "experiment", "case_id", "subset", "true_label", "pred_label", "positive_class"),
    *("rho", "p_value", "rho_relative", "p_value_relative", "n", "n_cases"),
)
"""What need not stand in every row of a table for people, where it is the same in all."""


def write_answer(
    result: Result, format_: str, output: Path | None, report: Callable[[list[dict[str, Any]]], str] | None = None
) -> None:
    """Print an answer, or write it to a file.

    Raises:
        UsageError: the format does not exist, or its bytes cannot go to a terminal.
        DataError: the file cannot be written.
    """
    formats = (*FORMATS, "report") if report else FORMATS
    if format_ not in formats:
        raise UsageError(f"there is no format {format_!r} here: use {', '.join(formats)}")
    for note in result.notes:
        say(f"note: {note}")
    if format_ == "parquet":
        _write_parquet(result, output)
    elif format_ == "table" and output is None:
        _show(result)
    else:
        text = report(result.records()) if format_ == "report" and report else _text(result, format_)
        _emit(text, output)


def _emit(text: str, output: Path | None) -> None:
    if output is None:
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
    import pyarrow.parquet as pq

    table = result.arrow()
    if output is not None:
        _save(output, lambda path: pq.write_table(table, path))
    elif sys.stdout.isatty():
        raise UsageError("parquet is not for terminals: name a file by --output")
    else:
        pq.write_table(table, sys.stdout.buffer)


def _text(result: Result, format_: str) -> str:
    if format_ == "json":
        records = [{name: _plain(value) for name, value in record.items()} for record in result.records()]
        return json.dumps(records, indent=1, ensure_ascii=False, allow_nan=False, default=str) + "\n"
    if format_ == "csv":
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(result.columns)
        writer.writerows(result.rows())
        return stream.getvalue()
    if format_ == "markdown":
        return _markdown(result)
    raise UsageError("a table is for the terminal: choose --format csv, json, parquet or markdown for a file")


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    return None if isinstance(value, float) and (value != value or abs(value) == float("inf")) else value  # noqa: PLR0124


def _markdown(result: Result) -> str:
    def row(cells: list[str]) -> str:
        return "| " + " | ".join(text.replace("\\", "\\\\").replace("|", "\\|") for text in cells) + " |\n"

    lines = [row(result.columns), "|" + "---|" * len(result.columns) + "\n"]
    lines += [row([cell(value) for value in values]) for values in result.rows()]
    return "".join(lines)


def _show(result: Result) -> None:
    """A table for people: what is the same in every row stands above it, once."""
    columns, rows = result.columns, result.rows()
    if not rows:
        say("no rows")
    constant = {
        i: rows[0][i]
        for i, name in enumerate(columns)
        if name in _CAPTION and len(rows) > 1 and all(row[i] == rows[0][i] for row in rows)
    }
    if result.title:
        sys.stdout.write(f"{cell(result.title)}\n")
    if constant:
        sys.stdout.write(", ".join(f"{columns[i]} {cell(value)}" for i, value in constant.items()) + "\n")
    shown = [i for i in range(len(columns)) if i not in constant]
    show_table([columns[i] for i in shown], [[row[i] for i in shown] for row in rows])
