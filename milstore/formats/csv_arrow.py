"""Large CSV tables."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv

from milstore.formats.csv_table import columns_of_csv, decoded_line, looks_like_csv, separator_of


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
        """The table, the columns `texts` as texts."""
        header = decoded_line(path)
        return pacsv.read_csv(
            path,
            parse_options=pacsv.ParseOptions(delimiter=separator_of(header, texts)),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(texts, pa.string()), strings_can_be_null=False, null_values=[""]
            ),
        )
