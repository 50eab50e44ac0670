"""The cases that were called wrong, each on its own: composition, place on the slice, and the patches themselves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from milstore.report.answers import Answer, Answerer, cell
from milstore.report.gallery import Tile, tiles
from milstore.report.plan import Asked
from milstore.store.selection import Choice

MOST_STUDIES = 30
"""Cases that are shown in full, the most wrong first: a page must stay small enough for a mail."""

PIXELS = 112
"""Pixels of a patch's picture."""

COMPOSITION = Asked(name="top-patches")
MAP = Asked(name="slice-map")
PROFILE = Asked(name="patch-profile")
GALLERY = Asked(name="patch-gallery")


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """A case that was called wrong."""

    case_id: str
    title: str
    facts: Sequence[tuple[str, str]]
    answers: Sequence[Answer]
    tiles: Sequence[Tile]
    """Its most and its least attended patches."""
    draw_gallery: Callable[[], Answer]
    """Gives them as a chart, for a form that cannot hold pictures otherwise."""


def studies(answerer: Answerer) -> tuple[list[Study], int]:
    """The cases called wrong, and how many more there are. Errors are those of `ask`."""
    rows = answerer.result("misclassified").records()
    return [_study(answerer, row) for row in rows[:MOST_STUDIES]], max(0, len(rows) - MOST_STUDIES)


def _study(answerer: Answerer, row: dict[str, Any]) -> Study:
    case_id = row["case_id"]
    choice = Choice(run=row["run_id"], subset=row["subset"], cases=(case_id,))
    place = answerer.answer(MAP, choice)
    if place.drawing is None:
        place = answerer.answer(PROFILE, choice)
    return Study(
        case_id=case_id,
        title=f"Case {case_id}: {row['true_class']}, called {row['pred_class']}",
        facts=[
            (name.replace("_", " "), cell(value))
            for name, value in row.items()
            if name not in ("case_id", "true_class", "pred_class") and value not in (None, "")
        ],
        answers=[answerer.answer(COMPOSITION, choice), place],
        tiles=tiles(answerer.store, answerer.result(GALLERY.name, GALLERY.values, choice), PIXELS),
        draw_gallery=lambda: answerer.answer(GALLERY, choice),
    )
