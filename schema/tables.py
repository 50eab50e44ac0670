"""Every table of a store as a SQLAlchemy table, with a comment on each table and column, in `METADATA`.

Three groups, told apart by `Table.info["group"]`:

- `cohort` (`cohort_tables.py`): what the group works on (classes, cases, slices, patches, splits). One Parquet file a
  table, all of one generation; in `milstore.duckdb` they are tables with keys.
- `features` (`run_tables.py`): which row of a packed feature file belongs to which patch. A view everywhere.
- `run` (`run_tables.py`): what trainings write. One Parquet file a table and run; views everywhere. `run_id` comes from
  the folder's name.

The order of `METADATA.sorted_tables` is an order in which keys are satisfied.
"""

from sqlalchemy import Table

# Importing them puts their tables into the collection.
from milstore.schema import cohort_tables, run_tables  # noqa: F401
from milstore.schema.keys import METADATA

__all__ = ["METADATA", "tables"]


def tables(group: str) -> list[Table]:
    """The tables of one group (`cohort`, `features` or `run`), keys satisfied in order."""
    return [table for table in METADATA.sorted_tables if table.info["group"] == group]
