"""Arrow schemas of the tables: what the Parquet files of a store look like."""

from functools import cache

import pyarrow as pa

from milstore.schema.columns import GROUPS, columns, required

_TYPES = {
    "BIGINT": pa.int64(),
    "INTEGER": pa.int32(),
    "DOUBLE": pa.float64(),
    "FLOAT": pa.float32(),
    "TIMESTAMP": pa.timestamp("us"),
    "VARCHAR": pa.string(),
}


@cache
def arrow_schema(table: str) -> pa.Schema:
    """Arrow schema of a table, nullability included.

    A run's tables have no `run_id` here: it is the name of the folder that the file lies in.
    """
    group = next(group for group in GROUPS if table in columns(group))
    needed = required(table)
    return pa.schema(
        pa.field(name, _TYPES[kind], nullable=name not in needed)
        for name, kind in columns(group)[table].items()
        if (group, name) != ("run", "run_id")
    )


def empty(table: str) -> pa.Table:
    """The table without a row."""
    return arrow_schema(table).empty_table()
