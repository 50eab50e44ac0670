"""Splits in one table: a row a case and split."""

from collections.abc import Sequence
from pathlib import Path

from milstore.errors import DataError
from milstore.formats.csv_table import columns_of_csv, looks_like_csv
from milstore.formats.split_columns import SPLIT_COLUMNS, numbers_of_column, origins, read_rows, read_splits_csv
from milstore.formats.split_file import Split, SplitFiles, SplitReading, put_case, subset_of
from milstore.schema.columns import SUBSETS
from milstore.store.names import clip


class SplitTable:
    """All splits in one table: CSV with split, case_id and subset (train, val or test)."""

    endings = ("csv", "tsv", "txt")

    def recognises(self, path: Path) -> bool:
        """A CSV file with these columns."""
        return looks_like_csv(path) and set(SPLIT_COLUMNS) <= set(columns_of_csv(path))

    def read(self, files: Sequence[Path], reading: SplitReading) -> SplitFiles:
        """The subset of each case in each split, by the number in the column."""
        table = read_splits_csv(files, reading, SPLIT_COLUMNS)
        rows, left_out = read_rows(table, SPLIT_COLUMNS, "case_id", reading)
        numbers, numbered = numbers_of_column(table, "split", [(row[0], line) for row, line in rows])
        splits: dict[int, Split] = {}
        for (text, case, subset_text), line in rows:
            subset = subset_of(subset_text)
            if subset is None:
                raise DataError(
                    f"{table.path}, line {line}, has subset {clip(subset_text)!r}: it must be {', '.join(SUBSETS)}"
                )
            where = f"{table.path}, split {clip(text)},"
            put_case(splits.setdefault(numbers[text], {}), reading.case_id(case), subset, where)
        return SplitFiles(
            splits=dict(sorted(splits.items())), origins=origins(numbers), numbered=numbered, left_out=left_out
        )
