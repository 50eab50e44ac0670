"""Arrow schemas of the tables: what the Parquet files of a store look like."""

from functools import cache
from typing import Any

import pyarrow as pa
from sqlalchemy import BigInteger, DateTime, Double, Float, Integer, String
from sqlalchemy.types import TypeEngine

from milstore.schema.tables import METADATA


def _arrow_type(column_type: TypeEngine[Any]) -> pa.DataType:
    # Subclasses first: BigInteger is an Integer, Double is a Float.
    by_type: list[tuple[type[TypeEngine[Any]], pa.DataType]] = [
        (BigInteger, pa.int64()),
        (Integer, pa.int32()),
        (Double, pa.float64()),
        (Float, pa.float32()),
        (DateTime, pa.timestamp("us")),
        (String, pa.string()),
    ]
    return next(arrow for kind, arrow in by_type if isinstance(column_type, kind))


@cache
def arrow_schema(table: str) -> pa.Schema:
    """Arrow schema of a table, nullability included.

    A run's tables have no `run_id` here: it is the name of the folder that the file lies in.
    """
    definition = METADATA.tables[table]
    in_file = [c for c in definition.columns if not (c.name == "run_id" and definition.info["group"] == "run")]
    return pa.schema([pa.field(c.name, _arrow_type(c.type), nullable=bool(c.nullable)) for c in in_file])


def empty(table: str) -> pa.Table:
    """The table without a row."""
    return arrow_schema(table).empty_table()
