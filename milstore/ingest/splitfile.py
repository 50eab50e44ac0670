"""Files that say which case is in which subset: .npz of one split, CSV of all, tables of test folds."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from milstore.errors import DataError, UsageError
from milstore.ingest.csvfile import TextTable, file_size, read_csv
from milstore.ingest.draw import Split
from milstore.ingest.npyfile import check_size, read_header
from milstore.schema.columns import SUBSETS
from milstore.store.names import clip, named, natural_key, normal_case_id

LARGEST = 1 << 26
_SYNONYMS = {"validation": "val"}
_SPLIT_COLUMNS = ("split", "case_id", "subset")
_FOLD_COLUMNS = ("repeat", "fold", "bag_id")


@dataclass(frozen=True, slots=True)
class TestFolds:
    """The test cases of one repeat of a cross-validation."""

    repeat: str
    tests: list[set[str]]


def read_split_files(files: Sequence[Path]) -> list[Split] | list[TestFolds]:
    """The splits of several .npz files (numbered in natural order of their names) or of one table.

    Raises:
        DataError: a file is damaged, lacks a part, or puts a case into two subsets.
        UsageError: the files are not of one kind.
    """
    if not files:
        raise UsageError("no file is named: give the .npz files of the splits, or one CSV table")
    kinds = {path.suffix.lower() == ".npz" for path in files}
    if kinds == {True}:
        return [_read_npz(path) for path in sorted(files, key=lambda path: natural_key(path.name))]
    if len(files) > 1:
        raise UsageError("several files must all be .npz files of one split each: give one CSV table alone")
    table = read_csv(files[0], "a table of splits", [*_SPLIT_COLUMNS, *_FOLD_COLUMNS])
    if not len(table):
        raise DataError(f"{table.path} has no row: it must name cases")
    if all(name in table.columns for name in _SPLIT_COLUMNS):
        return _read_table(table)
    if all(name in table.columns for name in _FOLD_COLUMNS[1:]) or {"fold", "case_id"} <= set(table.columns):
        return _read_folds(table)
    raise DataError(
        f"{table.path} has the columns {named(table.columns)}: it needs {', '.join(_SPLIT_COLUMNS)}, "
        f"or {', '.join(_FOLD_COLUMNS)} for test folds"
    )


def _put(split: Split, case_id: str, subset: str, where: str) -> None:
    if split.setdefault(case_id, subset) != subset:
        raise DataError(f"{where} has case {clip(case_id)} in {split[case_id]} and in {subset}: keep one")


def _read_npz(path: Path) -> Split:
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
                for case_id in _case_ids(archive, f"{subset}_cases", path):
                    _put(split, case_id, subset, str(path))
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
    texts = [value.decode() if isinstance(value, bytes) else str(value) for value in values.tolist()]
    return [normal_case_id(text) for text in texts]


def _read_table(table: TextTable) -> list[Split]:
    splits: dict[str, Split] = {}
    rows = zip(*(table.column(name) for name in _SPLIT_COLUMNS), table.lines, strict=True)
    for number, case, text, line in rows:
        subset = _SYNONYMS.get(text.lower(), text.lower())
        if subset not in SUBSETS:
            raise DataError(f"{table.path}, line {line}, has subset {clip(text)!r}: it must be {', '.join(SUBSETS)}")
        if not number or not case:
            raise DataError(f"{table.path}, line {line}, names no {'case' if number else 'split'}: fill it")
        _put(splits.setdefault(number, {}), normal_case_id(case), subset, f"{table.path}, split {clip(number)},")
    return [splits[number] for number in sorted(splits, key=natural_key)]


def _read_folds(table: TextTable) -> list[TestFolds]:
    cases = table.column("bag_id" if "bag_id" in table.columns else "case_id")
    repeats = table.columns.get("repeat", ["1"] * len(table))
    found: dict[str, dict[str, set[str]]] = {}
    fold_of: dict[tuple[str, str], str] = {}
    for repeat, fold, case, line in zip(repeats, table.column("fold"), cases, table.lines, strict=True):
        if not (repeat and fold and case):
            raise DataError(f"{table.path}, line {line}, has an empty value: fill it")
        case_id = normal_case_id(case)
        if fold_of.setdefault((repeat, case_id), fold) != fold:
            raise DataError(
                f"{table.path}, line {line}, has case {clip(case_id)} in two test folds of repeat {clip(repeat)}: keep one"
            )
        found.setdefault(repeat, {}).setdefault(fold, set()).add(case_id)
    for repeat, folds in found.items():
        if len(folds) < 2:
            raise DataError(f"{table.path} has one fold in repeat {clip(repeat)}: a cross-validation needs two or more")
    return [
        TestFolds(repeat, [folds[fold] for fold in sorted(folds, key=natural_key)])
        for repeat, folds in sorted(found.items(), key=lambda item: natural_key(item[0]))
    ]
