"""One split in a table: a row a case, and its subset."""

from collections.abc import Sequence
from pathlib import Path

from milstore.errors import DataError
from milstore.formats.csv_table import looks_like_csv, read_csv
from milstore.formats.npz_splits import numbered_files
from milstore.formats.split_columns import read_rows
from milstore.formats.split_file import Split, SplitFiles, SplitReading, put_case, subset_of
from milstore.schema.columns import SUBSETS
from milstore.store.names import clip

_SUBSET = ("subset", "split", "set")
"""What the column of the subsets may be called; `split` also has the numbers of tables of several splits."""
_LARGEST = 1 << 26


class SubsetTable:
    """A split a file: CSV with case_id and subset (train, val or test), its number in the file's name."""

    endings = ("csv", "tsv", "txt")

    def recognises(self, path: Path) -> bool:
        """A CSV file with case_id and a column of subsets, and none that tells splits or folds apart."""
        if not looks_like_csv(path) or path.stat().st_size > _LARGEST:
            return False
        table = read_csv(path, "a table of splits", ["case_id", *_SUBSET], drop_repeats=True)
        if "case_id" not in table.columns or "fold" in table.columns or {"split", "subset"} <= set(table.columns):
            return False
        return any(name in table.columns and any(map(subset_of, table.column(name))) for name in _SUBSET)

    def read(self, files: Sequence[Path], reading: SplitReading) -> SplitFiles:
        """The subset of each case; of one file whose name holds no number, as split 1."""
        path_of, origins, numbered = numbered_files(files)
        told: list[str] = []
        splits = {number: _read(path, reading, told) for number, path in path_of.items()}
        return SplitFiles(splits=splits, origins=origins, numbered=numbered, left_out=tuple(told))


def _read(path: Path, reading: SplitReading, told: list[str]) -> Split:
    said = reading.marks.said is not None
    table = read_csv(path, "a table of splits", ["case_id", *_SUBSET], drop_repeats=said)
    column = next((name for name in _SUBSET if name in table.columns), _SUBSET[0])
    rows, left_out = read_rows(table, ("case_id", column), "case_id", reading)
    told += left_out
    split: Split = {}
    for (case, text), line in rows:
        subset = subset_of(text)
        if subset is None:
            raise DataError(f"{path}, line {line}, has {column} {clip(text)!r}: it must be {', '.join(SUBSETS)}")
        put_case(split, reading.case_id(case), subset, str(path))
    return split
