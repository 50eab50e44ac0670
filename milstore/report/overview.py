"""The linked overview: cases chosen in a scatter choose the rows of a table and the pictures of a gallery."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from milstore.charts.drawing import drawable
from milstore.charts.render import about_of
from milstore.charts.theme import WIDTH, class_colour, outcome_shape, themed, titled
from milstore.errors import UsageError
from milstore.report.answers import Answerer, cell
from milstore.report.findings import EVERY_MARGIN
from milstore.report.gallery import Tile, tiles

MOST_CASES = 300
"""Cases of highest error that table and gallery show."""
TOP = 4
"""Patches of each case in the gallery."""
THUMBNAIL = 72
"""Pixels of a picture in the gallery."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseCard:
    """A case in table and gallery."""

    case_id: str
    run_id: str
    true_class: str
    pred_class: str
    right: bool
    error: float
    concentration: float
    facts: Sequence[str]
    """Cells of the table after error and concentration, in the order of `COLUMNS`."""
    tiles: Sequence[Tile]


COLUMNS = ("patches", "slices", "missing stains", "split")


@dataclass(frozen=True, kw_only=True, slots=True)
class Overview:
    """The chart and the cards, highest error first."""

    spec: dict[str, Any]
    title: str
    cards: Sequence[CaseCard]
    left_out: int


def overview(answerer: Answerer) -> Overview:
    """The overview of all cases that answer. Errors are those of `ask`."""
    result = answerer.result("near-threshold", {"margin": EVERY_MARGIN})
    # Where there is no label there is no error, and a run may have attention of some of its cases.
    labelled = [row for row in result.records() if row["p_true"] is not None and row["concentration"] is not None]
    rows = sorted(labelled, key=lambda row: (row["p_true"], row["run_id"], row["case_id"]))
    pictures: dict[tuple[str, str], list[Tile]] = {}
    for tile in tiles(answerer.store, answerer.result("top-patch-list", {"n": TOP}), THUMBNAIL):
        pictures.setdefault((tile.run_id, tile.case_id), []).append(tile)
    if not labelled:
        raise UsageError("no case of this answer has both a label and attention: there is nothing to show")
    about = about_of(answerer.store, "How concentrated is attention where the model errs?", result, {})
    cards = [_card(row, pictures.get((row["run_id"], row["case_id"]), [])) for row in rows[:MOST_CASES]]
    return Overview(
        spec=drawable(_chart(result.df().dropna(subset=["p_true", "concentration"]), about).to_dict()),
        title=about.title,
        cards=cards,
        left_out=len(rows) - len(cards),
    )


def _card(row: dict[str, Any], pictures: Sequence[Tile]) -> CaseCard:
    return CaseCard(
        case_id=row["case_id"],
        run_id=row["run_id"],
        true_class=row["true_class"],
        pred_class=row["pred_class"],
        right=row["outcome"] == "right",
        error=1 - row["p_true"],
        concentration=row["concentration"],
        facts=[cell(row[name.replace(" ", "_")]) for name in COLUMNS],
        tiles=pictures,
    )


def _chart(frame: Any, about: Any) -> Any:
    frame = frame.assign(error=1 - frame["p_true"])
    brush = alt.selection_interval(name="brush")
    points = (
        alt.Chart(frame)
        .mark_point(filled=True, size=70)
        .encode(
            x=alt.X("concentration:Q", title="share of attention in the top 5% of patches", axis=alt.Axis(format="%")),
            y=alt.Y("error:Q", title="error, 1 − p(true class)", scale=alt.Scale(domain=[0, 1])),
            color=class_colour(about),
            shape=outcome_shape(),
            opacity=alt.when(brush).then(alt.value(0.85)).otherwise(alt.value(0.15)),
            tooltip=[
                alt.Tooltip("case_id:N", title="case"),
                alt.Tooltip("true_class:N", title="true class"),
                alt.Tooltip("pred_class:N", title="called"),
                alt.Tooltip("error:Q", format=".3f"),
                alt.Tooltip("concentration:Q", format=".1%", title="in the top 5%"),
                alt.Tooltip("run_id:N", title="run"),
            ],
        )
        .add_params(brush)
    )
    return themed(points.properties(width=WIDTH - 40, height=300, title=titled(about)))
