"""Files that say which case is in which subset: .npz of one split, CSV of all, tables of test folds."""

import zipfile
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from milstore.errors import DataError, UsageError
from milstore.formats.csv_table import TextTable, file_size, read_csv
from milstore.formats.missing_marks import UNSAID, Marks, lines_of, plain
from milstore.formats.npy import check_size, read_header
from milstore.formats.split_numbering import COUNTED, counted_from_1, numbers_in
from milstore.schema.columns import SUBSETS
from milstore.store.names import clip, counted, matching_case_id, named, natural_key

Split = dict[str, str]
"""Subset (train, val or test) of each case."""

LARGEST = 1 << 26
_SYNONYMS = {"validation": "val"}
_SPLIT_COLUMNS = ("split", "case_id", "subset")
_FOLD_COLUMNS = ("repeat", "fold", "bag_id")
_ADVICE = "if these rows are to be left out, add {option}"


@dataclass(frozen=True, slots=True)
class TestFolds:
    """The test cases of one repeat of a cross-validation."""

    repeat: str
    tests: dict[int, set[str]]
    """By the number of the fold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitFiles:
    """What the files say."""

    splits: dict[int, Split] = field(default_factory=dict)
    """Subset of each case, by the number of the split; empty where the files hold test folds."""
    folds: list[TestFolds] = field(default_factory=list)
    origins: dict[int, str] = field(default_factory=dict)
    """What each number stands for: a file, or a text in a column."""
    numbered: str = ""
    """Where the numbers come from, in words."""
    left_out: tuple[str, ...] = ()
    """Rows that were left out, in words."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """What is known before a file is read."""

    known: Container[str]
    """The cases of the store."""
    marks: Marks

    def case_id(self, text: str) -> str:
        return matching_case_id(text, self.known)

    def no_case(self, text: str) -> bool:
        """Whether a text stands for a missing id: by the user's word, or because no case is called so."""
        return self.marks.mean_missing(text) or (self.marks.are_doubtful(text) and text not in self.known)


def read_split_files(files: Sequence[Path], known: Container[str] = frozenset(), marks: Marks = UNSAID) -> SplitFiles:
    """The splits of several .npz files, each with the number in its name, or of one table with the numbers in its column.

    Names without any number are counted from 1 in natural order.

    Args:
        files: the files.
        known: cases of the store: an id such as 7.0 is read as 7 if that is one.
        marks: what stands for a missing value: rows of a table without case, split or subset are left out.

    Raises:
        DataError: a file is damaged, lacks a part, puts a case into two subsets, or two files have one number.
        UsageError: the files are not of one kind.
    """
    if not files:
        raise UsageError("no file is named: give the .npz files of the splits, or one CSV table")
    reading = _Reading(known, marks)
    kinds = {path.suffix.lower() == ".npz" for path in files}
    if kinds == {True}:
        return _read_files(files, reading)
    if len(files) > 1:
        raise UsageError("several files must all be .npz files of one split each: give one CSV table alone")
    table = read_csv(
        files[0], "a table of splits", [*_SPLIT_COLUMNS, *_FOLD_COLUMNS], drop_repeats=marks.said is not None
    )
    if not len(table):
        raise DataError(f"{table.path} has no row: it must name cases")
    if all(name in table.columns for name in _SPLIT_COLUMNS):
        return _read_table(table, reading)
    if all(name in table.columns for name in _FOLD_COLUMNS[1:]) or {"fold", "case_id"} <= set(table.columns):
        return _read_folds(table, reading)
    raise DataError(
        f"{table.path} has the columns {named(table.columns)}: it needs {', '.join(_SPLIT_COLUMNS)}, "
        f"or {', '.join(_FOLD_COLUMNS)} for test folds"
    )


def _put(split: Split, case_id: str, subset: str, where: str) -> None:
    if split.setdefault(case_id, subset) != subset:
        raise DataError(f"{where} has case {clip(case_id)} in {split[case_id]} and in {subset}: keep one")


def _read_files(files: Sequence[Path], reading: _Reading) -> SplitFiles:
    names = [path.stem for path in files]
    if len(set(names)) < len(names):
        # The same name in several folders: then these may be numbered.
        names = [str(path.with_suffix("")) for path in files]
    if len(set(names)) < len(names):
        raise DataError(f"{named(sorted({name for name in names if names.count(name) > 1}))} is named twice")
    found = numbers_in(names)
    numbers = found or counted_from_1(names)
    path_of: dict[int, Path] = {}
    for name, path in zip(names, files, strict=True):
        other = path_of.setdefault(numbers[name], path)
        if other != path:
            raise DataError(f"{other} and {path} both hold split {numbers[name]}: name each by a number of its own")
    ordered = dict(sorted(path_of.items()))
    return SplitFiles(
        splits={number: _read_npz(path, reading) for number, path in ordered.items()},
        origins={number: path.name for number, path in ordered.items()},
        numbered="numbered as in the names of the files" if found else COUNTED,
    )


def _read_npz(path: Path, reading: _Reading) -> Split:
    split: Split = {}
    if file_size(path, "a file of one split") > LARGEST:
        raise DataError(f"{path} is too large for a file of one split")
    try:
        with zipfile.ZipFile(path) as archive:
            present = [name.removesuffix(".npy") for name in archive.namelist()]
            missing = [f"{subset}_cases" for subset in SUBSETS if f"{subset}_cases" not in present]
            if missing:
                raise DataError(f"{path} has no {named(missing)}: it has {named(present)}")
            for subset in SUBSETS:
                for text in _case_ids(archive, f"{subset}_cases", path):
                    if reading.no_case(text):
                        raise DataError(f"{path} has {clip(text)!r} in {subset}_cases, which names no case: drop it")
                    _put(split, reading.case_id(text), subset, str(path))
    except DataError:
        raise
    except Exception as error:
        # zipfile, zlib and NumPy raise what they meet.
        raise DataError(f"{path} is damaged or no .npz file ({clip(str(error), 100)}): make it anew") from error
    return split


def _case_ids(archive: zipfile.ZipFile, name: str, path: Path) -> list[str]:
    where = f"{name} in {path}"
    entry = archive.getinfo(f"{name}.npy")
    with archive.open(entry) as stream:
        shape, _, dtype = read_header(stream, where)
        check_size(shape, dtype, entry.file_size - stream.tell(), where)
    if len(shape) != 1 or dtype.kind not in "iuUS" or entry.file_size > LARGEST:
        raise DataError(f"{where} has shape {shape} and type {dtype}: it must be a list of case ids, numbers or texts")
    with archive.open(entry) as stream:
        values: Any = np.lib.format.read_array(stream, allow_pickle=False)
        stream.read(1)  # the checksum is compared at the end
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values.tolist()]


def _read_table(table: TextTable, reading: _Reading) -> SplitFiles:
    rows, left_out = _rows(table, _SPLIT_COLUMNS, "case_id", reading)
    numbers, numbered = _numbers(table, "split", [(row[0], line) for row, line in rows])
    splits: dict[int, Split] = {}
    for (text, case, subset_text), line in rows:
        subset = _SYNONYMS.get(subset_text.lower(), subset_text.lower())
        if subset not in SUBSETS:
            raise DataError(
                f"{table.path}, line {line}, has subset {clip(subset_text)!r}: it must be {', '.join(SUBSETS)}"
            )
        where = f"{table.path}, split {clip(text)},"
        _put(splits.setdefault(numbers[text], {}), reading.case_id(case), subset, where)
    return SplitFiles(
        splits=dict(sorted(splits.items())), origins=_origins(numbers), numbered=numbered, left_out=left_out
    )


def _rows(
    table: TextTable, columns: Sequence[str], case_column: str, reading: _Reading
) -> tuple[list[tuple[tuple[str, ...], int]], tuple[str, ...]]:
    """The rows of some columns with their lines, and in words those that the marks leave out."""
    marks = reading.marks
    for name in columns:
        known = reading.known if name == case_column else frozenset()
        marks.refuse(table.path, name, table.column(name), table.lines, _ADVICE, known)
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


def _numbers(table: TextTable, column: str, texts: Sequence[tuple[str, int]]) -> tuple[dict[str, int], str]:
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
    """DataError if a text is a number, but none that a split can have."""
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


def _origins(numbers: dict[str, int]) -> dict[int, str]:
    """What each number is called in the file, where that is not the number itself."""
    return {number: text for text, number in numbers.items() if _same_number(text) != str(number)}


def _read_folds(table: TextTable, reading: _Reading) -> SplitFiles:
    case_column = "bag_id" if "bag_id" in table.columns else "case_id"
    columns = [*(["repeat"] if "repeat" in table.columns else []), "fold", case_column]
    rows, left_out = _rows(table, columns, case_column, reading)
    numbers, numbered = _numbers(table, "fold", [(row[-2], line) for row, line in rows])
    found: dict[str, dict[int, set[str]]] = {}
    fold_of: dict[tuple[str, str], int] = {}
    for (*repeats, fold, case), line in rows:
        repeat, case_id = repeats[0] if repeats else "1", reading.case_id(case)
        if fold_of.setdefault((repeat, case_id), numbers[fold]) != numbers[fold]:
            raise DataError(
                f"{table.path}, line {line}, has case {clip(case_id)} in two test folds of repeat {clip(repeat)}: keep one"
            )
        found.setdefault(repeat, {}).setdefault(numbers[fold], set()).add(case_id)
    for repeat, folds in found.items():
        if len(folds) < 2:
            raise DataError(f"{table.path} has one fold in repeat {clip(repeat)}: a cross-validation needs two or more")
    return SplitFiles(
        folds=[
            TestFolds(repeat, dict(sorted(folds.items())))
            for repeat, folds in sorted(found.items(), key=lambda item: natural_key(item[0]))
        ],
        origins=_origins(numbers),
        numbered=numbered,
        left_out=left_out,
    )
