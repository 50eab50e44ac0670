"""Columns of a table of splits: which rows name a case, and which number each text of a column stands for."""

from collections.abc import Container, Sequence
from pathlib import Path

from milstore.errors import DataError
from milstore.formats.csv_table import TextTable, read_csv
from milstore.formats.missing_marks import lines_of, plain
from milstore.formats.split_file import SplitReading, alone
from milstore.formats.split_numbering import COUNTED, counted_from_1, numbers_in
from milstore.store.names import clip, counted, named

SPLIT_COLUMNS = ("split", "case_id", "subset")
FOLD_COLUMNS = ("repeat", "fold", "bag_id")
_ADVICE = "if these rows are to be left out, add {option}"


def one_file(files: Sequence[Path]) -> Path:
    """The one file of all splits. UsageError if there are several."""
    if len(files) > 1:
        raise alone()
    return files[0]


def read_splits_csv(files: Sequence[Path], reading: SplitReading, needed: Sequence[str]) -> TextTable:
    """The one table of splits. DataError if it has no row, or lacks a column of `needed`."""
    path = one_file(files)
    said = reading.marks.said is not None
    table = read_csv(path, "a table of splits", [*SPLIT_COLUMNS, *FOLD_COLUMNS], drop_repeats=said)
    if not len(table):
        raise DataError(f"{table.path} has no row: it must name cases")
    if not set(needed) <= set(table.columns):
        raise DataError(
            f"{table.path} has the columns {named(table.columns)}: it needs {', '.join(SPLIT_COLUMNS)}, "
            f"or {', '.join(FOLD_COLUMNS)} for test folds, or case_id, subset for one split"
        )
    return table


def read_rows(
    table: TextTable, columns: Sequence[str], case_column: str, reading: SplitReading
) -> tuple[list[tuple[tuple[str, ...], int]], tuple[str, ...]]:
    """The rows of some columns with their lines, and in words those that the marks leave out."""
    marks = reading.marks
    for name in columns:
        known: Container[str] = reading.known if name == case_column else frozenset()
        marks.refuse(table.path, name, table.column(name), table.lines, _ADVICE, known)
    reading.refuse(table.path, f"column {clip(case_column)}", table.column(case_column), table.lines)
    rows, without = [], []
    for *row, line in zip(*(table.column(name) for name in columns), table.lines, strict=True):
        texts = tuple(map(str, row))
        if any(map(marks.mean_missing, texts)):
            without.append(int(line))
        else:
            rows.append((texts, int(line)))
    if not rows:
        raise DataError(f"{table.path} has no row that names a case, its split and its subset")
    told = [f"left out: {counted(len(without), 'row')} without a value ({lines_of(without)})"] if without else []
    return rows, (*told, *table.repeats_told())


def numbers_of_column(table: TextTable, column: str, texts: Sequence[tuple[str, int]]) -> tuple[dict[str, int], str]:
    """The number of each text of a column, and where it comes from, in words."""
    written: dict[str, list[str]] = {}
    for text, line in texts:
        _check_whole(table, column, text, line)
        written.setdefault(_same_number(text), []).append(text)
    found = numbers_in(list(written))
    numbers = found or counted_from_1(list(written))
    if len(set(numbers.values())) < len(numbers):
        alike = [own[0] for own in written.values() if list(numbers.values()).count(numbers[_same_number(own[0])]) > 1]
        raise DataError(f"{table.path} has several texts of one number in column {column} ({named(alike)}): keep one")
    told = f"numbered as in column {column} of {table.path.name}" if found else COUNTED
    return {text: numbers[same] for same, own in written.items() for text in own}, told


def _check_whole(table: TextTable, column: str, text: str, line: int) -> None:
    """Raises DataError if a text is a number that a split cannot have."""
    try:
        value = float(text)
    except ValueError:
        return
    if not (_same_number(text).isdecimal() and value < 10**9):
        raise DataError(f"{table.path}, line {line}, has {column} {clip(text)}: it must be a whole number from 0")


def _same_number(text: str) -> str:
    """One spelling for 1, 01 and 1.0, and for Fold 1 and fold 1.

    >>> _same_number("01"), _same_number("1.0"), _same_number("Fold 1")
    ('1', '1', 'fold1')
    """
    text = plain(text)
    return str(int(text)) if text.isascii() and text.isdigit() else text


def origins(numbers: dict[str, int]) -> dict[int, str]:
    """The name of each number in the file, where it is not the number itself."""
    return {number: text for text, number in numbers.items() if _same_number(text) != str(number)}
