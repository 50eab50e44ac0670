"""Reads and checks the numbers in a table of slides: resolution, magnification and size."""

import math
from collections import Counter
from typing import Any

from milstore.errors import DataError
from milstore.formats.csv_table import TextTable
from milstore.formats.missing_marks import Marks
from milstore.ingest.slide_columns import SlideColumns
from milstore.store.names import clip, counted

_COARSEST = 20.0
"""Micrometres a pixel of level 0 beyond which it must be something else, such as nanometres."""
_USUAL = (0.05, 4.0)
"""Micrometres a pixel of level 0 that scanners have."""
_LARGEST = 2**31 - 1


class Numbers:
    """Reads them row by row. Cells that are empty, or marks of a missing value, say nothing."""

    def __init__(self, table: TextTable, columns: SlideColumns, marks: Marks) -> None:
        self._table = table
        self._marks = marks
        self._columns = {
            name: columns.of[name] for name in ("mpp", "magnification", "width", "height") if name in columns.of
        }
        self._odd: Counter[float] = Counter()

    def of_row(self, row: int) -> dict[str, Any]:
        """The numbers of a row. Raises DataError if one is impossible."""
        found: dict[str, Any] = {}
        for name, column in self._columns.items():
            text = self._table.column(column)[row]
            if text and not self._marks.mean_missing(text):
                where = f"{self._table.path}, line {self._table.lines[row]}"
                number = _number(text, f"{where}: {clip(column)}")
                found[name] = self._checked(name, number, text, f"{where}: {clip(column)}")
        return found

    def _checked(self, name: str, number: float, text: str, where: str) -> float | int:
        if not number > 0:
            raise DataError(
                f"{where} is {clip(text)!r}, and must be greater than 0: correct it, or leave the cell empty"
            )
        if name == "mpp":
            if number > _COARSEST:
                raise DataError(
                    f"{where} is {clip(text)!r} micrometres a pixel, which no slide has (0.25 or 0.5 is usual; 250 would be "
                    "nanometres): give micrometres"
                )
            if not _USUAL[0] <= number <= _USUAL[1]:
                self._odd[number] += 1
        if name in ("width", "height"):
            if number != int(number) or number > _LARGEST:
                raise DataError(f"{where} is {clip(text)!r}, and must be a whole number of pixels: correct it")
            return int(number)
        return number

    def notes(self) -> list[str]:
        """Notes on improbable values."""
        usual = f"{_USUAL[0]:g} to {_USUAL[1]:g}"
        return [
            f"improbable: {number:g} micrometres a pixel at level 0 of {counted(count, 'slide')} ({usual} is usual)"
            for number, count in self._odd.items()
        ]


def _number(text: str, where: str) -> float:
    """A number, with a decimal comma or point. DataError if it is none."""
    plain = text.removesuffix("x").removesuffix("X") if text[:1].isdigit() else text
    plain = plain.replace(",", ".") if plain.count(",") == 1 and "." not in plain else plain
    try:
        number = float(plain)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{where} is {clip(text)!r}, which is no number: correct it, or leave the cell empty")
    return number
