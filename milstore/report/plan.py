"""What a report asks, in the order in which a meeting wants to hear it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A question of the report."""

    name: str
    lead: str = ""
    """A sentence that says how to read the answer."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """The question's parameters."""
    chart: bool = True
    """Whether its chart is shown, if it has one."""
    table: bool = False
    """Whether its rows are shown."""
    leave_out: tuple[str, ...] = ()
    """Columns of the table that a meeting need not see."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chapter:
    """Questions under one heading."""

    anchor: str
    part: str
    """What it belongs to: one of the parts of the contents."""
    title: str
    lead: str
    asked: tuple[Asked, ...]


RESULTS, ERRORS, CASES, TRAINED, PROVENANCE = "Results", "Errors", "Cases", "How it was trained", "Provenance"
"""The parts of a report, in their order, behind the findings."""

OPENING = (
    Chapter(
        anchor="recall",
        part=RESULTS,
        title="What is recognised, and how sure that is",
        lead="The whiskers are 95% intervals. Where they are wide, a difference between two splits may be chance.",
        asked=(Asked(name="recall"), Asked(name="confusion"), Asked(name="roc")),
    ),
    Chapter(
        anchor="comparison",
        part=RESULTS,
        title="Is it the same in the other runs?",
        lead="Runs are compared case by case where they evaluated the same patches, whatever subset a case was in.",
        asked=(Asked(name="compare-runs"),),
    ),
    Chapter(
        anchor="deviation",
        part=ERRORS,
        title="Every case and its error",
        lead="The error is 1 − p(true class).",
        asked=(Asked(name="deviation"),),
    ),
    Chapter(
        anchor="near-threshold",
        part=ERRORS,
        title="Close calls",
        lead="The margin is half the difference of the two largest probabilities.",
        asked=(Asked(name="near-threshold", chart=False, table=True, leave_out=("run_id",)),),
    ),
    Chapter(
        anchor="explains",
        part=ERRORS,
        title="Does attention explain the errors?",
        lead="A correlation over few cases is weak evidence: read ρ together with its interval and the number of cases.",
        asked=(
            Asked(name="concentration"),
            Asked(name="patch-count"),
            Asked(name="slice-spread"),
            Asked(name="entropy"),
            Asked(name="level-correlation"),
        ),
    ),
    Chapter(
        anchor="where",
        part=ERRORS,
        title="Where attention goes",
        lead="Over all cases of this answer.",
        asked=(
            Asked(name="stain-attention"),
            Asked(name="slice-pattern"),
            Asked(name="selected-slices"),
        ),
    ),
)

WITH_REGIONS = Asked(
    name="regions",
    lead="Of the slices that have annotated regions, against what an even spread over their patches would give.",
)
"""Asked in the chapter `where` of a store that has annotated regions."""


def opening(*, annotated: bool) -> tuple[Chapter, ...]:
    """What stands before the cases; `annotated` is whether the store has annotated regions."""
    return tuple(
        replace(chapter, asked=(*chapter.asked, WITH_REGIONS)) if annotated and chapter.anchor == "where" else chapter
        for chapter in OPENING
    )


CLOSING = (
    Chapter(
        anchor="losses",
        part=TRAINED,
        title="How the trainings went",
        lead="The weights of the marked epoch were evaluated, not those of the last.",
        asked=(Asked(name="loss-curves"),),
    ),
    Chapter(
        anchor="balance",
        part=TRAINED,
        title="What was in training, validation and test",
        lead="Few cases of a class in a test subset make every recall of them a coarse number.",
        asked=(Asked(name="split-balance"),),
    ),
    Chapter(
        anchor="coverage",
        part=TRAINED,
        title="What was there and what was used",
        lead="Patches that exist, that training could see under its cap, and that evaluation used.",
        asked=(Asked(name="coverage"),),
    ),
    Chapter(
        anchor="provenance",
        part=PROVENANCE,
        title="What was trained on what",
        lead="One row a run. Runs can be compared where cohort, features and patches have the same fingerprints.",
        asked=(Asked(name="provenance", chart=False, table=True, leave_out=("started_at", "weights")),),
    ),
)
