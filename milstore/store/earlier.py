"""Converts tables that an earlier version of the schema wrote to this version.

Nothing on the disk is changed for reading: a column that a version lacked reads as what its rows meant then, which is
null but for the few that are named here (and, for SQL, in `milstore.store.lens`). A store is brought to this version when it is next written to.
"""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from milstore.schema.arrow import arrow_schema


def as_now(name: str, table: pa.Table) -> pa.Table:
    """A cohort's table with every column that it has now, in the order of the schema."""
    schema = arrow_schema(name)
    if table.column_names == schema.names:
        return table
    columns = {field.name: table[field.name] if field.name in table.column_names else None for field in schema}
    return pa.table(
        [_meant(name, table, field) if columns[field.name] is None else columns[field.name] for field in schema],
        schema=schema,
    )


def _meant(name: str, table: pa.Table, field: pa.Field) -> Any:
    if (name, field.name) == ("patches", "unit"):
        return pc.if_else(table["x"].is_valid(), pa.scalar("slice"), pa.scalar(None, pa.string()))
    return pa.nulls(table.num_rows, field.type)
