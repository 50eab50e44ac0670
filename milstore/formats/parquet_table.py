"""Large Parquet tables."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from milstore.errors import DataError
from milstore.formats.interface import first_bytes

LARGEST = 1 << 33
"""Bytes that a table may take."""


class ParquetTable:
    """A table: Parquet."""

    endings = ("parquet",)

    def recognises(self, path: Path) -> bool:
        """By the first bytes."""
        return first_bytes(path, 4) == b"PAR1"

    def columns(self, path: Path) -> list[str]:
        """The names in the schema."""
        return list(pq.read_schema(path).names)

    def read(self, path: Path, texts: Sequence[str]) -> pa.Table:
        """The table as it is."""
        with pq.ParquetFile(path) as file:
            size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
            if size > LARGEST:
                raise DataError(f"{path} declares {size} bytes: that is too large for one table")
            table = file.read()
        # Parquet's texts are taken as they are, and what follows ends on bytes that are no UTF-8.
        table.validate(full=True)
        return table
