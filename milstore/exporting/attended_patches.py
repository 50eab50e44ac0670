"""The patches of cases with a run's attention, for files of other tools."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from milstore import queries
from milstore.asking.ask import ask_query
from milstore.asking.result import Result
from milstore.asking.selection import Choice
from milstore.errors import UsageError
from milstore.store import Store
from milstore.store.names import clip, named


@dataclass(frozen=True, kw_only=True, slots=True)
class AttendedPatches:
    """Patches of cases, each case by one run."""

    rows: list[dict[str, Any]]
    """Columns as `attended_patches.sql` names them; the most attended of each case first."""
    title: str
    """Which run or experiment answered."""
    notes: list[str]


def ask_attended(store: Store, choice: Choice, values: Mapping[str, Any] | None = None) -> Result:
    """The question behind all exports of attention. Arguments and errors are those of `milstore.asking.ask.ask`."""
    text = files("milstore.exporting").joinpath("attended_patches.sql").read_text(encoding="utf-8")
    return ask_query(store, queries.parse("attended_patches", text), choice, values)


def attended_patches(store: Store, choice: Choice, values: Mapping[str, Any] | None = None) -> AttendedPatches:
    """The attention of the chosen runs to the patches of the cases.

    Args:
        store: the store.
        choice: which run or experiment answers, and for which cases.
        values: `pct`, the share of each case's patches in percent, the most attended first.

    Raises:
        UsageError: several runs answer for a case; and as `milstore.asking.ask.ask` does.
    """
    result = ask_attended(store, choice, values)
    rows = result.records()
    runs: dict[str, set[str]] = {}
    for row in rows:
        runs.setdefault(row["case_id"], set()).add(row["run_id"])
    for case_id, of_case in runs.items():
        if len(of_case) > 1:
            raise UsageError(
                f"{len(of_case)} runs answer for case {clip(case_id)} ({named(sorted(of_case), 3)}): choose one by --run"
            )
    return AttendedPatches(rows=rows, title=result.title, notes=list(result.notes))
