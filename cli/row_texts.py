"""The rows of an answer as text: CSV, JSON and Markdown."""

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Protocol

from milstore.asking.fetching import as_json, as_text
from milstore.asking.result import Result
from milstore.cli.output import cell, printable
from milstore.store.names import counted

_QUOTE = '"'
_NEEDS_QUOTES = (",", '"', "\r", "\n")
_NUMBERS = (int, float, Decimal)
_FORMULA = ("=", "+", "-", "@")
"""What a text begins with that a spreadsheet takes for a formula, and runs."""
_ENTITY = re.compile(r"&(?=#?\w+;)")
"""An & that would not be shown as such."""
Rows = Sequence[Sequence[Any]]


class RowTexts(Protocol):
    """Writes rows as text, a few at a time."""

    def begin(self, names: Sequence[str]) -> str:
        """What comes before the first row."""

    def rows(self, rows: Rows) -> str:
        """Some rows."""

    def end(self) -> str:
        """What comes after the last row."""

    def notes(self) -> list[str]:
        """Notes on the rows, printed after the last."""


class CsvRows:
    """CSV. An empty text stands in quotes, so that it is not taken for a value that is missing."""

    def __init__(self, *, safe: bool) -> None:
        """With `safe`, a single quote is put before texts that a spreadsheet would take for a formula."""
        self._safe = safe
        self._formulas = 0

    def begin(self, names: Sequence[str]) -> str:
        """The names of the columns."""
        return self._line(names)

    def rows(self, rows: Rows) -> str:
        """A line a row."""
        return "".join(map(self._line, rows))

    def end(self) -> str:
        """Nothing."""
        return ""

    def notes(self) -> list[str]:
        """How many texts look like formulas."""
        if not self._formulas:
            return []
        done = "a single quote stands before each" if self._safe else "--safe-cells puts a single quote before each"
        cells = counted(self._formulas, "cell")
        return [f"a spreadsheet takes text that begins with =, +, - or @ for a formula, here {cells}: {done}"]

    def _line(self, values: Sequence[Any]) -> str:
        fields = [self._field(value) for value in values]
        # A line of nothing is skipped by those who read it.
        return (",".join(fields) or '""') + "\n"

    def _field(self, value: Any) -> str:
        if isinstance(value, _NUMBERS):
            return as_text(value) if isinstance(value, Decimal) else str(value)
        if value is None:
            return ""
        text = value if isinstance(value, str) else as_text(value)
        if text.startswith(_FORMULA):
            self._formulas += 1
            text = f"'{text}" if self._safe else text
        if not text or any(mark in text for mark in _NEEDS_QUOTES):
            return f'"{text.replace(_QUOTE, _QUOTE * 2)}"'
        return text


class JsonRows:
    """JSON, which has no NaN and no infinity: they are null, and counted."""

    def __init__(self) -> None:
        self._names: Sequence[str] = ()
        self._odd = 0
        self._any = False

    def begin(self, names: Sequence[str]) -> str:
        """The beginning of the list."""
        self._names = names
        return "["

    def rows(self, rows: Rows) -> str:
        """An object a row."""
        return "".join(map(self._object, rows))

    def end(self) -> str:
        """The end of the list."""
        return "\n]\n" if self._any else "]\n"

    def notes(self) -> list[str]:
        """How many values JSON lacks."""
        if not self._odd:
            return []
        lacking = counted(self._odd, "value")
        return [f"{lacking} that JSON lacks (NaN, infinity) stand there as null: --format csv keeps them"]

    def _object(self, row: Sequence[Any]) -> str:
        before = ",\n " if self._any else "\n "
        self._any = True
        record = {name: as_json(value, self._null) for name, value in zip(self._names, row, strict=True)}
        return before + json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False).replace("\n", "\n ")

    def _null(self, _: float) -> None:
        self._odd += 1


def markdown(result: Result) -> str:
    """The rows as a table of Markdown, in which no text is taken for HTML or for a mark of Markdown's."""

    def row(cells: Sequence[str]) -> str:
        return "| " + " | ".join(map(_plain, cells)) + " |\n"

    lines = [row([printable(name) for name in result.columns]), "|" + "---|" * len(result.columns) + "\n"]
    lines += [row([cell(value) for value in values]) for values in result.rows()]
    return "".join(lines)


def _plain(text: str) -> str:
    """A text that Markdown shows as it is.

    >>> _plain("<img src=x>|a&lt;b"), _plain("h&e"), _plain("[a](javascript:x)")
    ('&lt;img src=x&gt;\\\\|a&amp;lt;b', 'h&e', '[a]\\\\(javascript:x)')
    """
    text = text.replace("\\", "\\\\").replace("|", "\\|").replace("](", "]\\(")
    return _ENTITY.sub("&amp;", text).replace("<", "&lt;").replace(">", "&gt;")
