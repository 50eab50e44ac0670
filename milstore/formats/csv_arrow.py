"""Large CSV tables."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from milstore.formats.csv_table import columns_of_csv, head_of_csv, looks_like_csv, names_of, separator_of


class CsvArrow:
    """A table: CSV with comma, semicolon or tab and a header line."""

    endings = ("csv", "tsv", "txt")

    def recognises(self, path: Path) -> bool:
        """A text in UTF-8."""
        return looks_like_csv(path)

    def columns(self, path: Path) -> list[str]:
        """The names in the header."""
        return columns_of_csv(path)

    def read(self, path: Path, texts: Sequence[str]) -> pa.Table:
        """The table, the columns `texts` as texts; without empty rows."""
        head = head_of_csv(path)
        separator = head.separator or separator_of(head.header, texts)
        written = [name for name in names_of(head.header, separator) if name.strip() in texts]
        table = pacsv.read_csv(
            path,
            read_options=pacsv.ReadOptions(skip_rows=head.skipped),
            parse_options=pacsv.ParseOptions(delimiter=separator),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(written, pa.string()), strings_can_be_null=False, null_values=[""]
            ),
        )
        return _without_empty_rows(table)


def _without_empty_rows(table: pa.Table) -> pa.Table:
    """The table without empty rows, such as spreadsheets and editors leave at the end."""
    if not table.num_columns:
        return table
    empty = np.ones(table.num_rows, bool)
    for column in table.columns:
        blank = column.is_null()
        if pa.types.is_string(column.type):
            blank = pc.or_kleene(blank, pc.equal(pc.utf8_trim_whitespace(column), ""))
        empty &= np.asarray(blank)
        if not empty.any():
            return table
    return table.filter(pa.array(~empty))
