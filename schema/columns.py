"""The columns of every table as plain data, for readers that must start without importing SQLAlchemy.

`columns.json` beside this file is generated from `milstore.schema.tables` by `python -m milstore.schema.generate`.
"""

import json
from functools import cache
from importlib.resources import files

Columns = dict[str, str]
"""Name of each column -> its DuckDB type."""


SUBSETS = ("train", "val", "test")
"""The three parts of a split, in the order in which they are shown."""


@cache
def columns(group: str) -> dict[str, Columns]:
    """Tables of a group (`cohort`, `features` or `run`) and the columns of each."""
    text = files("milstore.schema").joinpath("columns.json").read_text(encoding="utf-8")
    groups: dict[str, dict[str, Columns]] = json.loads(text)
    return groups[group]


def view_text(name: str) -> str:
    """The SQL of a view that is defined over other tables, such as `out_of_fold`."""
    return files("milstore.schema").joinpath(f"{name}.sql").read_text(encoding="utf-8")
