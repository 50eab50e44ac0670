"""What a run that knows a part of its attention can be asked, and what its answers must say.

A run may have attention of each case's most attended patches alone, as a table of the top 5 % has it. Sums, means and
the lowest ranks are then unknown, and a question that needs them is refused by name. All others say what is known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from milstore.errors import UsageError
from milstore.store.names import named

WHOLE, TOP = "whole", "top"


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """What a question needs of attention."""

    name: str = "this question"
    """The question's."""
    reads: bool = False
    """Whether it looks at attention at all."""
    of: str = ""
    """`whole`: of every patch. `top`: of the most attended ones. Empty where any rows will do."""
    optional: bool = False
    """Whether it can do without: then what it would take from attention is null."""
    takes_scores: bool = False
    """Whether it could be asked by a score of patches in place of attention."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Its parameters: `pct` and `top` say how many of the most attended patches are needed."""


class KnownRun(Protocol):
    """What of a run is looked at."""

    @property
    def run_id(self) -> str:
        """The run's id."""

    @property
    def known(self) -> Mapping[str, Any] | None:
        """The entry `attention_known` of its `run.json`; None where it has all of each case, or none."""


def part_notes(runs: Sequence[KnownRun], needs: Needs) -> tuple[list[str], frozenset[str]]:
    """What is said of runs that know a part of their attention, and the runs whose attention may not be looked at.

    UsageError if the question cannot be asked of one.
    """
    said: dict[tuple[str, bool], list[str]] = {}
    hidden = set()
    for run in runs if needs.reads else ():
        if run.known is None:
            continue
        try:
            _refuse(run.run_id, run.known, needs)
        except UsageError:
            if not needs.optional:
                raise
            hidden.add(run.run_id)
        what = str(run.known.get("said", "a part of the patches"))
        said.setdefault((what, run.run_id in hidden), []).append(run.run_id)
    notes = [
        f"of {f'run {ids[0]}' if len(ids) == 1 else f'the runs {named(ids)}'} only {what} is known"
        + (": what would be taken from attention is left out" if is_hidden else "")
        for (what, is_hidden), ids in said.items()
    ]
    return notes, frozenset(hidden)


def _refuse(run_id: str, known: Mapping[str, Any], needs: Needs) -> None:
    """UsageError if a question needs more than is known."""
    only = f"of run {run_id} only {known.get('said', 'a part of the patches')} is known"
    advice = "ask it of a run with the attention of all patches (for the study's runs: milstore ingest run … --weights)"
    if needs.of == WHOLE or (needs.of == TOP and needs.values.get("end") == "bottom"):
        what = "the attention of every patch" if needs.of == WHOLE else "the least attended patches"
        raise UsageError(f"{needs.name} needs {what}, and {only}: {advice}")
    if needs.of != TOP:
        return
    pct = known.get("pct")
    if pct is None:
        raise UsageError(f"{needs.name} needs the most attended patches, and {only}: {advice}")
    if needs.values.get("top") is not None:
        raise UsageError(f"{needs.name} --top counts the most attended patches, and {only}: give --pct {pct:g} or less")
    asked = needs.values.get("pct")
    if asked is not None and asked > pct:
        raise UsageError(f"{needs.name} needs the top {asked:g} %, and {only}: give --pct {pct:g} or less")


def label_notes(runs: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """Notes on runs that keep labels that differ from the store's; `runs` are pairs of a run's id and these cases."""
    return [
        f"run {run_id} keeps its own labels, and the store has others of {len(cases)} of its cases ({named(cases)}): "
        "true class, right and wrong are by the run's"
        for run_id, cases in runs
        if cases
    ]


class ToolsRun(Protocol):
    """What of a run that another tool made is looked at."""

    @property
    def run_id(self) -> str:
        """The run's id."""

    @property
    def by(self) -> str:
        """The tool; empty for a run of milstore's."""

    @property
    def figures(self) -> str:
        """How its figures of slides became those of cases, in words."""


def tool_notes(runs: Sequence[ToolsRun]) -> list[str]:
    """What is said of runs that other tools made, once a tool: of several what says most, as one may lack attention."""
    said: dict[str, list[ToolsRun]] = {}
    for run in runs:
        if run.by:
            said.setdefault(run.by, []).append(run)
    notes = []
    for tool, own in said.items():
        ids = [run.run_id for run in own]
        which = f"run {ids[0]} is" if len(ids) == 1 else f"the runs {named(ids)} are"
        how = max((run.figures for run in own), key=len)
        notes.append(f"{which} by {tool}" + (f", and {how}" if how else ""))
    return notes
