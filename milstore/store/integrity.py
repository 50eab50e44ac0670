"""Checks on whole tables before they are stored: columns, types, nulls, keys and references."""

from collections.abc import Callable, Collection, Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import DataError
from milstore.schema.arrow import arrow_schema
from milstore.schema.columns import known_tables, primary_key, references
from milstore.store.names import clip, named


def key_columns(name: str) -> list[str]:
    """Primary key of a table, as its file has it: for a table that the schema does not know, every column."""
    if name not in known_tables():
        return []
    if name in ("attention", "features", "scores"):
        return ["case_id", "stain", "slice_idx", "patch_idx", *(["name"] if name == "scores" else [])]
    return [column for column in primary_key(name) if column != "run_id"]


def checked_table(name: str, table: pa.Table) -> pa.Table:
    """The table with the schema's columns and types, sorted by its key.

    A table that the schema does not know is taken as it is, with its rows sorted.

    Raises:
        DataError: a column is missing or does not fit its type, a value is null that may not be, or a key stands twice.
    """
    if name not in known_tables():
        return _sorted(table.combine_chunks(), table.column_names)
    table = fitted(name, table)
    keys = key_columns(name)
    check_unique(name, table, keys)
    return _sorted(table, keys)


def fitted(name: str, table: pa.Table, left_out: Collection[str] = ()) -> pa.Table:
    """The table with the schema's columns (but for those `left_out`), in its order and types. DataError if it cannot."""
    schema = pa.schema([field for field in arrow_schema(name) if field.name not in left_out])
    # What nobody gave is unknown, where that may be.
    for field in schema:
        if field.nullable and field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    missing = [field.name for field in schema if field.name not in table.column_names]
    if missing:
        raise DataError(f"table {name} lacks the column {named(missing)}")
    try:
        table = table.select(schema.names)
        for field in schema:
            if not field.nullable and table[field.name].null_count:
                raise DataError(f"table {name} has {table[field.name].null_count} rows without {field.name}")
        table = table.cast(schema).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise DataError(f"table {name} does not fit its schema: {clip(str(error), 200)}") from error
    for field in schema:
        if pa.types.is_floating(field.type) and not _all_finite(table[field.name].drop_null()):
            raise DataError(f"table {name} has values of {field.name} that are NaN or infinite")
    return table


def _all_finite(column: pa.ChunkedArray) -> bool:
    return bool(pc.all(pc.is_finite(column), min_count=0).as_py())


def check_unique(name: str, table: pa.Table, keys: list[str]) -> None:
    """DataError, naming a key, if a key stands in more than one row."""
    if not keys or table.num_rows < 2:
        return
    counts = table.select(keys).group_by(keys).aggregate([([], "count_all")])
    double = counts.filter(pc.greater(counts["count_all"], 1))
    if double.num_rows:
        raise DataError(f"table {name} has {double.num_rows} keys more than once, such as {_row(double, keys)}")


def _row(table: pa.Table, keys: list[str]) -> str:
    return ", ".join(f"{key} {clip(str(table[key][0].as_py()))}" for key in keys)


def _sorted(table: pa.Table, keys: list[str]) -> pa.Table:
    return table.sort_by([(key, "ascending") for key in keys]) if keys and table.num_rows else table


def check_references(
    read: Callable[[str], pa.Table], known: Iterable[str], changed: set[str], unusable: Collection[str] = ()
) -> None:
    """DataError if a foreign key of the cohort has no partner. Only what `changed` touches is looked at.

    `read` gives a table by its name. Of tables that are `unusable` nothing can be said.
    """
    for name in known:
        for columns, target, targets in references(name):
            if {name, target} & changed and not {name, target} & set(unusable):
                _check_reference(name, read(name).select(columns), target, read(target).select(targets))


def _check_reference(name: str, table: pa.Table, target: str, partners: pa.Table) -> None:
    whole: Any = None
    for column in table.columns:
        whole = column.is_valid() if whole is None else pc.and_(whole, column.is_valid())
    # A reference that holds a null refers to nothing, as in SQL.
    found = table.filter(whole).group_by(table.column_names).aggregate([])
    orphans = found.join(partners, keys=table.column_names, right_keys=partners.column_names, join_type="left anti")
    if orphans.num_rows:
        orphans = _sorted(orphans, orphans.column_names)
        row = _row(orphans, orphans.column_names)
        raise DataError(f"{orphans.num_rows} keys of table {name} are not in {target}, such as {row}")
