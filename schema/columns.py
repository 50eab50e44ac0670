"""The columns of every table as plain data, for readers that must start without importing SQLAlchemy.

`columns.json` beside this file is generated from `milstore.schema.tables` by `python -m milstore.schema.generate`.
"""

import json
from functools import cache
from importlib.resources import files
from typing import Any

Columns = dict[str, str]
"""Name of each column -> its DuckDB type."""

GROUPS = ("cohort", "features", "run")
"""Kinds of tables: what the group works on, its features, and what trainings write."""
REQUIRED = "required"
"""Key in `columns.json` of the columns that are never null."""
SUBSETS = ("train", "val", "test")
"""The three parts of a split, in the order in which they are shown."""


@cache
def _content() -> Any:
    return json.loads(files("milstore.schema").joinpath("columns.json").read_text(encoding="utf-8"))


def columns(group: str) -> dict[str, Columns]:
    """Tables of a group (`cohort`, `features` or `run`) and the columns of each."""
    found: dict[str, Columns] = _content()[group]
    return found


def required(table: str) -> frozenset[str]:
    """The columns of a table that are never null."""
    return frozenset(_content()[REQUIRED][table])


def view_text(name: str) -> str:
    """The SQL of a view that is defined over other tables, such as `out_of_fold`."""
    return files("milstore.schema").joinpath(f"{name}.sql").read_text(encoding="utf-8")
