"""Reads splits from files of any known format."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from milstore.errors import DataError, UsageError
from milstore.formats.interface import SplitFormat, reported
from milstore.formats.missing_marks import UNSAID, Marks
from milstore.formats.registry import BUILT_IN, FORMATS, find_format, recognised
from milstore.plugins import recognises
from milstore.schema.columns import SUBSETS
from milstore.store.case_ids import CaseIds
from milstore.store.names import clip, named, natural_key

Split = dict[str, str]
"""Subset (train, val or test) of each case."""


_SYNONYMS = {"validation": "val", "valid": "val", "training": "train", "testing": "test"}


@dataclass(frozen=True, slots=True)
class TestFolds:
    """The test cases of one repeat of a cross-validation."""

    repeat: str
    tests: dict[int, set[str]]
    """By the number of the fold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitFiles:
    """The splits in the files."""

    splits: dict[int, Split] = field(default_factory=dict)
    """Subset of each case, by the number of the split; empty where the files hold test folds."""
    folds: list[TestFolds] = field(default_factory=list)
    origins: dict[int, str] = field(default_factory=dict)
    """What each number stands for: a file, or a text in a column."""
    numbered: str = ""
    """Where the numbers come from, in words."""
    left_out: tuple[str, ...] = ()
    """Rows that were left out, and what else is to be told, in words."""
    families: dict[str, dict[int, Split]] = field(default_factory=dict)
    """In the place of `splits`: those of several split sets, each by what is added to the name."""
    draws_validation: bool = False
    """Whether the tool knows no validation subset, so that it is to be drawn from train."""
    by_slide: bool = False
    """Whether `splits` are of slides, by their ids or the names of their files, and not of cases."""


@dataclass(frozen=True, slots=True)
class SplitReading:
    """What is known before a file is read."""

    known: CaseIds
    """The cases of the store."""
    marks: Marks

    def case_id(self, text: str) -> str:
        """A case's id as the store has it."""
        return self.known.read(text)

    def refuse(self, source: object, column: str, texts: Sequence[str], lines: Sequence[int] | None = None) -> None:
        """DataError, with the lines, if texts of a column cannot be ids of cases."""
        self.known.refuse(source, column, texts, lines)

    def no_case(self, text: str) -> bool:
        """Whether a text stands for a missing id: by the user's word, or because no case is called so."""
        return self.marks.mean_missing(text) or (self.marks.are_doubtful(text) and text not in self.known)


def read_split_files(
    files: Sequence[Path],
    known: Iterable[str] = (),
    marks: Marks = UNSAID,
    format: str | None = None,
) -> SplitFiles:
    """The splits of several .npz files, each with the number in its name, or of one table with the numbers in its column.
    A folder stands for the files in it.

    Names without any number are counted from 1 in natural order.

    Args:
        files: the files.
        known: cases of the store.
        marks: what stands for a missing value: rows of a table without case, split or subset are left out.
        format: name of the files' format, or ./file.py:Class; found by their content if left out.

    Raises:
        DataError: a file is damaged, lacks a part, puts a case into two subsets, or two files have one number.
        UsageError: the files are not of one kind.
    """
    files = split_files_in(files)
    if not files:
        raise UsageError("no file is named: give the .npz files of the splits, or one CSV table")
    names = {format or recognised("splits", [path]) or "split-table" for path in files}
    if len(names) > 1:
        raise alone()
    fmt: SplitFormat = find_format("splits", names.pop())
    ids = CaseIds(known)
    with reported(files[0]):
        found = fmt.read(files, SplitReading(ids, marks))
    if not isinstance(found, SplitFiles):
        raise DataError(f"{files[0]}: format {format} gives a {type(found).__name__} for it, not SplitFiles")
    return dataclasses.replace(found, left_out=(*found.left_out, *ids.told()))


def split_files_in(paths: Iterable[Path]) -> list[Path]:
    """The files of splits that paths stand for: each itself, or those that lie in a folder, in natural order, but for what is
    plainly something else.

    DataError for a folder without any.
    """
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        endings = FORMATS["splits"].endings()
        inside = sorted(path.iterdir(), key=lambda each: natural_key(each.name))
        own = [each for each in inside if each.suffix[1:].lower() in endings and each.is_file()]
        # Summaries and the like may lie beside splits.
        own = [each for each in own if _is_of_splits(each)] or own
        if not own:
            folders = [each.name for each in inside if each.is_dir()]
            advice = f"name one of its folders ({named(folders)})" if folders else "name the files of the splits"
            raise DataError(f"{path} holds no file of splits: {advice}")
        files += own
    return files


def _is_of_splits(path: Path) -> bool:
    formats = FORMATS["splits"]
    return any(recognises(formats.find(name), path) for name in BUILT_IN["splits"])


def subset_of(text: str) -> str | None:
    """train, val or test, as people write it; None if a text is none of them.

    >>> subset_of("Validation"), subset_of("TEST"), subset_of("1")
    ('val', 'test', None)
    """
    subset = _SYNONYMS.get(text.lower(), text.lower())
    return subset if subset in SUBSETS else None


def alone() -> UsageError:
    """The error that a table of all splits must be a single file."""
    return UsageError(
        "several files must all be of one split each (.npz, or CSV with case_id and subset): of all splits, give one CSV table alone"
    )


def put_case(split: Split, case_id: str, subset: str, where: str, what: str = "case") -> None:
    """Set the subset of a case or slide. Raises DataError if it has another one."""
    if split.setdefault(case_id, subset) != subset:
        raise DataError(f"{where} has {what} {clip(case_id)} in {split[case_id]} and in {subset}: keep one")
