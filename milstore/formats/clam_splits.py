"""Splits as CLAM writes them: of slides, a file a split, numbered from 0.

`splits_0.csv` has an unnamed column with the number of the row, and train, val and test, each a column of slides; the short
ones end in empty cells. `splits_0_bool.csv` has a row a slide, and True in the column of its subset. `splits_0_descriptor.csv`
counts slides by class, and is no split.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from milstore.errors import DataError
from milstore.formats.csv_table import TextTable, columns_of_csv, looks_like_csv, read_csv
from milstore.formats.npz_splits import numbered_files
from milstore.formats.split_file import Split, SplitFiles, SplitReading
from milstore.schema.columns import SUBSETS
from milstore.store.names import clip, named

_ROW = "row"
"""What the unnamed first column is called here."""
_TRUTH = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
_FILE = re.compile(r"(.*)_(\d+)(_bool|_descriptor)?")


class ClamSplits:
    """A split a file, by CLAM: CSV with the columns train, val and test of slides, its number in the file's name."""

    endings = ("csv",)

    def recognises(self, path: Path) -> bool:
        """A CSV file with an unnamed column, then train, val and test."""
        return looks_like_csv(path) and columns_of_csv(path) == ["", *SUBSETS]

    def read(self, files: Sequence[Path], reading: SplitReading) -> SplitFiles:
        """The subset of each slide in each split. Of two files of one split, that with the columns of slides is read."""
        chosen, left_out = chosen_files(files)
        path_of, origins, numbered = _numbered(chosen)
        return SplitFiles(
            splits={number: _read(path, reading) for number, path in path_of.items()},
            origins=origins,
            numbered=numbered,
            left_out=(f"not taken: {named(left_out)}, which say the same or are no splits",) if left_out else (),
            by_slide=True,
        )


def chosen_files(files: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """The files of splits among those of a folder, each split once, and the names of the others.

    DataError if none is a split.
    """
    kinds = {path: _FILE.fullmatch(path.stem) for path in files}
    plain = {(path.parent, found[1], found[2]) for path, found in kinds.items() if found and not found[3]}
    chosen, left_out = [], []
    for path, found in kinds.items():
        kind = found[3] if found else None
        again = kind == "_bool" and found is not None and (path.parent, found[1], found[2]) in plain
        if kind == "_descriptor" or again:
            left_out.append(path.name)
        else:
            chosen.append(path)
    if not chosen:
        raise DataError(
            f"{files[0]} counts the slides of each class, and is no split: name splits_0.csv, or its folder"
        )
    return chosen, left_out


def _numbered(files: Sequence[Path]) -> tuple[dict[int, Path], dict[int, str], str]:
    """As `numbered_files`; the number of splits_0_bool.csv stands before its last word."""
    found = {path: match for path in files if (match := _FILE.fullmatch(path.stem)) is not None}
    if len(found) < len(files) or not any(match[3] for match in found.values()):
        return numbered_files(files)
    path_of: dict[int, Path] = {}
    for path, match in found.items():
        other = path_of.setdefault(int(match[2]), path)
        if other != path:
            raise DataError(f"{other} and {path} both hold split {match[2]}: name each by a number of its own")
    ordered = dict(sorted(path_of.items()))
    return ordered, {number: path.name for number, path in ordered.items()}, "numbered as in the names of the files"


def _read(path: Path, reading: SplitReading) -> Split:
    table = read_csv(path, "a file of one split", [*SUBSETS], unnamed=_ROW)
    split: Split = {}
    if not set(SUBSETS) <= set(table.columns) or _ROW not in table.columns:
        raise DataError(f"{path} has the columns {named(table.columns)}: it needs an unnamed one, train, val and test")
    if not len(table):
        raise DataError(f"{path} has no row: it must name the slides of train, val and test")
    if _is_bool(table):
        for slide, *cells in zip(table.column(_ROW), *(map(str.lower, table.column(s)) for s in SUBSETS), strict=True):
            subsets = [subset for subset, cell in zip(SUBSETS, cells, strict=True) if _TRUTH[cell]]
            if len(subsets) > 1:
                raise DataError(f"{path} has slide {clip(slide)} in {named(subsets)}: keep one")
            for subset in subsets:
                _put(split, slide, subset, path)
        return split
    for subset in SUBSETS:
        for slide, line in zip(table.column(subset), table.lines, strict=True):
            if slide and reading.marks.mean_missing(slide):
                continue
            if slide.lower() in _TRUTH and slide.isalpha():
                raise DataError(f"{path}, line {line}, has {clip(slide)!r} in {subset}: it must name a slide")
            if slide:
                _put(split, slide, subset, path)
    return split


def _is_bool(table: TextTable) -> bool:
    """Whether every cell is True or False, and not the name of a slide."""
    cells = {cell.lower() for subset in SUBSETS for cell in table.column(subset)}
    rows = table.column(_ROW)
    numbered = rows == [str(i) for i in range(len(rows))]
    return cells <= {"true", "false"} or (cells <= set(_TRUTH) and not numbered)


def _put(split: Split, slide: str, subset: str, path: Path) -> None:
    if split.setdefault(slide, subset) != subset:
        raise DataError(f"{path} has slide {clip(slide)} in {split[slide]} and in {subset}: keep one")
