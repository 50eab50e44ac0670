"""Test folds of a cross-validation in one table: a row a case and repeat."""

from collections.abc import Sequence
from pathlib import Path

from milstore.errors import DataError
from milstore.formats.csv_table import columns_of_csv, looks_like_csv
from milstore.formats.split_columns import numbers_of_column, origins, read_rows, read_splits_csv
from milstore.formats.split_file import SplitFiles, SplitReading, TestFolds
from milstore.store.names import clip, natural_key


class FoldTable:
    """All test folds in one table: CSV with fold, bag_id or case_id, and perhaps repeat; validation is drawn."""

    endings = ("csv", "tsv", "txt")

    def recognises(self, path: Path) -> bool:
        """A CSV file with these columns."""
        columns = set(columns_of_csv(path)) if looks_like_csv(path) else set()
        return "fold" in columns and bool(columns & {"bag_id", "case_id"})

    def read(self, files: Sequence[Path], reading: SplitReading) -> SplitFiles:
        """The test cases of each repeat's folds."""
        table = read_splits_csv(files, reading, ("fold",))
        case_column = "bag_id" if "bag_id" in table.columns else "case_id"
        columns = [*(["repeat"] if "repeat" in table.columns else []), "fold", case_column]
        rows, left_out = read_rows(table, columns, case_column, reading)
        numbers, numbered = numbers_of_column(table, "fold", [(row[-2], line) for row, line in rows])
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
                raise DataError(
                    f"{table.path} has one fold in repeat {clip(repeat)}: a cross-validation needs two or more"
                )
        return SplitFiles(
            folds=[
                TestFolds(repeat, dict(sorted(folds.items())))
                for repeat, folds in sorted(found.items(), key=lambda item: natural_key(item[0]))
            ],
            origins=origins(numbers),
            numbered=numbered,
            left_out=left_out,
        )
