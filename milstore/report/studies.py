"""The cases that were called wrong, each on its own: composition, place on the slice, and the patches themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from milstore.asking.selection import Choice
from milstore.report.answers import Answer, Answerer, cell
from milstore.report.gallery import Tile, colours_of, tiles
from milstore.report.plan import Asked

PIXELS = 112
"""Pixels of a patch's picture."""

COMPOSITION = Asked(name="top-patches")
MAP = Asked(name="slice-map")
PROFILE = Asked(name="patch-profile")
GALLERY = Asked(name="patch-gallery")


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """How many of a case's top patches a stain or a slice holds."""

    label: str
    whole: bool
    """Whether it is a stain, not one of its slices."""
    count: int
    of: int
    """Patches there are."""
    lift: float
    """Times what an even spread would give."""
    length: float
    """Length of the bar, 0 to 1."""
    even: float
    """Where the bar would end in an even spread, 0 to 1."""
    colour: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """A case that was called wrong."""

    case_id: str
    title: str
    facts: Sequence[tuple[str, str]]
    answers: Sequence[Answer]
    """Its charts."""
    composition: str
    """How many top patches there are, in how many slices."""
    bars: Sequence[Bar]
    """Which stains and slices they come from. Plain bars: a chart of each case takes the page twice as long."""
    tiles: Sequence[Tile]
    """Its most and its least attended patches."""


def study(answerer: Answerer, row: Mapping[str, Any], *, as_chart: bool = False) -> Study:
    """The study of a case.

    Args:
        answerer: who is asked.
        row: the case's row of `misclassified`.
        as_chart: also draw the gallery as a chart, for a form that cannot hold pictures otherwise.
    """
    case_id = row["case_id"]
    choice = Choice(run=row["run_id"], subset=row["subset"], cases=(case_id,))
    place = answerer.answer(MAP, choice)
    if place.chart is None:
        place = answerer.answer(PROFILE, choice)
    composition = answerer.result(COMPOSITION.name, COMPOSITION.values, choice).records()
    charts = [place]
    if as_chart:
        charts = [answerer.answer(COMPOSITION, choice), place, answerer.answer(GALLERY, choice)]
    return Study(
        case_id=case_id,
        title=f"Case {case_id}: {row['true_class']}, called {row['pred_class']}",
        facts=[
            (name.replace("_", " "), cell(value))
            for name, value in row.items()
            if name not in ("case_id", "true_class", "pred_class") and value not in (None, "")
        ],
        answers=charts,
        composition=_in_words(composition),
        bars=bars(composition, colours_of(answerer.store, [slice_["stain"] for slice_ in composition])),
        tiles=tiles(answerer.store, answerer.result(GALLERY.name, GALLERY.values, choice), PIXELS),
    )


def _in_words(composition: Sequence[Mapping[str, Any]]) -> str:
    first = composition[0]
    touched = sum(row["top_patches"] > 0 for row in composition)
    return (
        f"top {first['case_top_patches']} of {first['case_patches']} patches, in {touched} of {len(composition)} slices"
    )


def bars(composition: Sequence[Mapping[str, Any]], colours: Mapping[str, str]) -> list[Bar]:
    """A bar for each stain, each followed by its slices where it has several.

    Args:
        composition: the rows of `top-patches` for one case.
        colours: the colour of each stain.
    """
    top, patches = composition[0]["case_top_patches"], composition[0]["case_patches"]
    longest = max(max(row["stain_top_patches"], top * row["stain_patches"] / patches) for row in composition)

    def bar(row: Mapping[str, Any], label: str, kind: str) -> Bar:
        count, of = row[f"{kind}top_patches"], row[f"{kind or 'slice_'}patches"]
        return Bar(
            label=label,
            whole=bool(kind),
            count=count,
            of=of,
            lift=row[f"{kind}lift"],
            length=count / longest,
            even=top * of / patches / longest,
            colour=colours[row["stain"]],
        )

    found = []
    for stain in dict.fromkeys(row["stain"] for row in composition):
        slices = [row for row in composition if row["stain"] == stain]
        found.append(bar(slices[0], stain, "stain_"))
        if len(slices) > 1:
            found += [bar(row, f"slice {row['slice_name'] or row['slice_idx']}", "") for row in slices]
    return found
