"""The cases that were called wrong or asked for, each on its own: composition, place on the slice, and the patches themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from milstore.asking.selection import Choice
from milstore.charts.wording import OUTCOME, RIGHT, WRONG, called
from milstore.report.answers import Answer, Answerer, cell
from milstore.report.findings import EVERY_MARGIN
from milstore.report.gallery import Tile, colours_of, tiles
from milstore.report.plan import Asked
from milstore.store.names import counted

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
    """A case that was called wrong, or that was asked for."""

    case_id: str
    title: str
    wrong: bool
    facts: Sequence[tuple[str, str]]
    standing: str
    """Where it stands within its cohort."""
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
        row: the case's row of `misclassified` or `near-threshold`.
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
        title=f"Case {case_id}: {row['true_class'] or 'no label'}, {_called(row)}",
        wrong=row.get("outcome", WRONG) == WRONG,
        facts=_facts(row, answerer.result("deviation").run_names),
        standing=standing(row, answerer.result("near-threshold", {"margin": EVERY_MARGIN}).records()),
        answers=charts,
        composition=_in_words(composition),
        bars=bars(composition, colours_of(answerer.store, [slice_["stain"] for slice_ in composition])),
        tiles=tiles(answerer.store, answerer.result(GALLERY.name, GALLERY.values, choice), PIXELS),
    )


_FACTS = {
    "p_true": "p(true class)",
    "margin": "margin",
    "concentration": "attention in the top 5%",
    "patches": "patches",
    "slices": "slices",
    "missing_stains": "missing stains",
    "subset": "subset",
    "run_id": "run",
}
"""What is said of a case, by the column that knows it."""


def _facts(row: Mapping[str, Any], run_names: Mapping[str, str]) -> list[tuple[str, str]]:
    values = {**row, "run_id": run_names.get(row["run_id"], row["run_id"])}
    return [(words, cell(values[name])) for name, words in _FACTS.items() if values[name] not in (None, "")]


def _called(row: Mapping[str, Any]) -> str:
    return called(RIGHT) if row.get("outcome") == RIGHT else f"{OUTCOME} {row['pred_class']}"


def standing(row: Mapping[str, Any], cohort: Sequence[Mapping[str, Any]]) -> str:
    """Where a case stands among the cases of its class: by its error, and by how concentrated its attention is.

    Args:
        row: the case's row of `misclassified` or `near-threshold`.
        cohort: the rows of `near-threshold` with every margin; those of the case itself do not count.

    Returns:
        A sentence, such as `Its error is number 2 of 28 benign cases, its concentration number 15 (1 is the largest).`;
        empty where it has no label. A case of another subset than the cohort's is told to be that.
    """
    if row["p_true"] is None:
        return ""
    if cohort and row["subset"] not in {other["subset"] for other in cohort}:
        return f"It was in the subset {row['subset']} of its run: what is told of all cases does not count it."
    others = [other for other in cohort if other["true_class"] == row["true_class"] and other["p_true"] is not None]
    others = [other for other in others if other["case_id"] != row["case_id"]]
    if len({other["case_id"] for other in others}) < len(others):
        # Several runs predicted the same cases: a case stands among those of its own run.
        others = [other for other in others if other["run_id"] == row["run_id"]]
    more_wrong = sum(other["p_true"] < row["p_true"] for other in others)
    said = f"Its error is number {more_wrong + 1} of {counted(len(others) + 1, row['true_class'] + ' case')}"
    if row["concentration"] is not None:
        place = 1 + sum((other["concentration"] or 0) > row["concentration"] for other in others)
        said += f", its concentration of attention number {place}"
    return f"{said} (1 is the largest)."


def _slice_label(row: Mapping[str, Any]) -> str:
    """The slice's name; a bare number says of what it is."""
    name = str(row["slice_name"] or row["slice_idx"])
    return f"slice {name}" if name.isdigit() else name


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
            found += [bar(row, _slice_label(row), "") for row in slices]
    return found
