"""Shows an answer on the terminal: the useful columns, the first rows, and values common to all rows once."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from milstore.asking.result import Result
from milstore.cli.output import cell, line_width, say, show_table, write_lines
from milstore.cli.tables import length
from milstore.errors import UsageError
from milstore.store.names import nearest

FIRST_ROWS = 20
"""Rows that a terminal shows unless all are asked for."""
_RUNS = {"run_id": "run", "run_a": "run a", "run_b": "run b"}
"""Columns that hold runs, and how they are headed where a short name stands in place of an id."""
_CAPTION = (
    *(
        *_RUNS,
        "experiment",
        "stain",
        "slice_name",
        "case_id",
        "subset",
        "true_class",
        "true_label",
        "pred_class",
        "pred_label",
        "outcome",
    ),
    *("split_set", "positive_class"),
)
"""What need not stand in every row of a table for people, where it is the same in all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """Which part of an answer is to be shown."""

    columns: str | None = None
    """Names of columns, with commas between them; the answer's own choice without."""
    wide: bool = False
    """All columns."""
    every: bool = False
    """All rows, on a terminal too."""

    def names(self, columns: Sequence[str]) -> list[str] | None:
        """The columns that are requested by name; None if none are. Raises UsageError for one that the answer lacks."""
        if self.columns is None:
            return None
        if self.wide:
            raise UsageError("--wide shows all columns: leave out --columns")
        wanted = list(dict.fromkeys(name.strip() for name in self.columns.split(",") if name.strip()))
        for name in wanted:
            if name not in columns:
                raise UsageError(f"the answer has no column {name!r}: {nearest(name, columns)}")
        if not wanted:
            raise UsageError(f"--columns names none: the answer has {', '.join(columns)}")
        return wanted

    def chosen(self, result: Result) -> Result:
        """The answer with the columns that are asked for by name alone."""
        names = self.names(result.columns)
        return result if names is None else result.with_columns(names)


def show_answer(result: Result, view: View) -> None:
    """Print an answer as a table for people, under what is the same in every row of it."""
    columns, rows = result.columns, result.rows()
    names = view.names(columns)
    if not rows:
        say("no rows")
    if result.title:
        write_lines([cell(result.title)])
    if names is None:
        constant = _constant(result)
        wanted = columns if view.wide else _with_runs(result) if result.shown else columns
        names = [name for name in wanted if name in columns and name not in constant]
        write_lines(_caption(constant, result, short=not view.wide))
        write_lines(result.answer())
    first = rows if view.every or not sys.stdout.isatty() else result.leading(FIRST_ROWS)
    at = [columns.index(name) for name in names]
    short = view.columns is None and not view.wide
    heads = [_RUNS.get(name, name) if short and result.run_names else name for name in names]
    show_table(heads, [_row(row, at, columns, result, short=short) for row in first], whole=_RUNS.values())
    if len(first) < len(rows):
        say(f"{len(rows) - len(first)} more: --all")


def _constant(result: Result) -> dict[str, Any]:
    """What is the same in every row of an answer to a question, of what need not stand there."""
    columns, rows = result.columns, result.rows()
    # Of one row nothing is repeated, and who writes SQL gets the columns that it names.
    if len(rows) < 2 or not result.title:
        return {}
    return {
        name: rows[0][i]
        for i, name in enumerate(columns)
        if name in _CAPTION and all(row[i] == rows[0][i] for row in rows)
    }


def _row(row: Sequence[Any], at: Sequence[int], columns: Sequence[str], result: Result, *, short: bool) -> list[Any]:
    return [result.run_names.get(row[i], row[i]) if short and columns[i] in _RUNS else row[i] for i in at]


def _with_runs(result: Result) -> list[str]:
    """The columns for people; where several runs or subsets answer for one case, these stand beside it."""
    shown, columns = list(result.shown), result.columns
    if "case_id" not in columns:
        return shown
    behind = shown.index("case_id") + 1 if "case_id" in shown else 0
    for name, told in (("subset", "subset"), ("run_id", "split")):
        if name in columns and not {name, told} & {*shown}:
            at, case = columns.index(name), columns.index("case_id")
            pairs = {(row[at], row[case]) for row in result.rows()}
            if len(pairs) > len({case_id for _, case_id in pairs}):
                shown.insert(behind, name)
    return shown


def _caption(constant: dict[str, Any], result: Result, *, short: bool) -> list[str]:
    """What is the same in every row, as lines."""
    said = []
    for name, value in constant.items():
        if short and name in _RUNS and value in result.run_names:
            said.append(result.run_names[value] if name == "run_id" else f"{_RUNS[name]}: {result.run_names[value]}")
        elif value is not None and not (short and (name, value) == ("subset", "test")):
            said.append(f"{name} {cell(value)}")
    width = line_width()
    lines: list[str] = []
    for text in said:
        # A value stays beside its name.
        if lines and (width is None or length(f"{lines[-1]}, {text}") <= width):
            lines[-1] += f", {text}"
        else:
            lines.append(text)
    return lines
