"""The columns of every table as plain data, for readers that must start without importing SQLAlchemy.

`columns.json` beside this file is generated from `milstore.schema.tables` by `python -m milstore.schema.generate`.
"""

import json
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from milstore.schema import SCHEMA_VERSION

Columns = dict[str, str]
"""Name of each column -> its DuckDB type."""

GROUPS = ("cohort", "features", "run")
"""Kinds of tables: what the group works on, its features, and what trainings write."""
RULES = "rules"
"""Key in `columns.json` of what holds for a table beside its columns' types."""
DERIVED = ("out_of_fold", "predictions_named", "case_probabilities", "case_coverage", "slice_weights")
"""The views that are defined over other tables, each in a `.sql` file here, in an order in which they can be made."""
MACROS = ("natural_order", "top_count", "same_to_six_digits", "slice_fits")
"""Functions written in SQL, each in a `.sql` file here."""
TABLE_MACROS = ("slices_asked", "scores_ranked", "slices_scored")
"""Functions written in SQL that give rows of views and tables, each in a `.sql` file here."""
SUBSETS = ("train", "val", "test")
"""The three parts of a split, in the order in which they are shown."""
NEW = "new"
"""In place of a subset: what a case of a prediction is, which is in no split."""


class Reference(NamedTuple):
    """Columns of a table that name a row of another."""

    columns: list[str]
    table: str
    """The other table."""
    targets: list[str]
    """Its columns, one for each."""


@cache
def _content(file: str = "columns.json") -> Any:
    return json.loads(files("milstore.schema").joinpath(file).read_text(encoding="utf-8"))


def columns(group: str) -> dict[str, Columns]:
    """Tables of a group (`cohort`, `features` or `run`) and the columns of each."""
    found: dict[str, Columns] = _content()[group]
    return found


def columns_of_version(group: str, version: int) -> dict[str, Columns]:
    """Tables of a group as an earlier version of the schema had them; as they are now for the version of now.

    What version n had is kept in `version_<n>.json`.
    """
    found: dict[str, Columns] = (
        _content(f"version_{version}.json")[group] if version < SCHEMA_VERSION else columns(group)
    )
    return found


def known_tables() -> tuple[str, ...]:
    """Names of all tables."""
    return tuple(_content()[RULES])


def required(table: str) -> frozenset[str]:
    """The columns of a table that are never null."""
    return frozenset(_content()[RULES][table]["required"])


def primary_key(table: str) -> list[str]:
    """The columns that identify a row of a table."""
    return list(_content()[RULES][table]["key"])


def references(table: str) -> list[Reference]:
    """Where a table's columns must name rows of another."""
    return [Reference(**each) for each in _content()[RULES][table]["references"]]


@cache
def view_text(name: str) -> str:
    """The SQL of a macro, or of a view that is defined over other tables, such as `out_of_fold`."""
    return files("milstore.schema").joinpath(f"{name}.sql").read_text(encoding="utf-8")


def derived_texts() -> list[str]:
    """The SQL that makes every macro, and every view of `DERIVED` over tables that are there."""
    return [view_text(name) for name in (*MACROS, *DERIVED, *TABLE_MACROS)]
