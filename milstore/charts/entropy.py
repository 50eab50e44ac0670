"""The chart of `entropy`: how sparse a case's attention is, and which level makes it so."""

from typing import TYPE_CHECKING, Any

import altair as alt

from milstore.charts.theme import ACCENT, About, class_colour, outcome_shape, themed, titled
from milstore.charts.tooltips import CASE, ORIGIN, told

if TYPE_CHECKING:
    import pandas as pd

LEVELS = ["stain", "slice", "patch"]
LEVEL_COLOURS = ["#2B3A67", "#7C8FC1", "#C9D4EE"]
"""One hue from dark to light: from the whole case down to the patch."""
_BELOW: dict[str, Any] = {"orient": "bottom", "direction": "vertical"}
_MOST_ROWS = 400
_HEIGHT, _STEPS = 860, (2.0, 16.0)
_LEGIBLE = 8
"""Rows of fewer pixels go without the name of their case."""


def chart(frame: "pd.DataFrame", about: About) -> Any:
    """For each case, highest error first: its error, its entropy by level with ln N, each level's ratio to its most."""
    notes = list(about.notes)
    if len(frame) > _MOST_ROWS:
        notes.append(f"the {_MOST_ROWS} predictions of highest error, of {len(frame):,}")
    rows = frame.head(_MOST_ROWS).copy()
    repeated = rows["case_id"].duplicated().any()
    rows["row"] = rows["case_id"] + " · " + rows["run_id"].str[-6:] if repeated else rows["case_id"]
    step = min(max(_HEIGHT / len(rows), _STEPS[0]), _STEPS[1])
    axis = alt.Axis(labels=step >= _LEGIBLE, ticks=False, labelFontSize=min(11, max(8, round(step))), labelPadding=4)
    y = alt.Y(
        "row:N", sort=list(rows["row"]), title="case" if len(rows) < 12 else "case, highest error first", axis=axis
    )
    bare = alt.Y("row:N", sort=list(rows["row"]), title=None, axis=None)
    height = alt.Step(step)
    panels = [
        _errors(y, about).properties(width=150, height=height),
        _bars(bare).properties(width=370, height=height),
        _ratios(bare).properties(width=150, height=height),
    ]
    title = titled(About(title=about.title, subtitle=about.subtitle, notes=notes))
    return themed(
        alt.hconcat(*panels, data=rows, spacing=14)
        .resolve_scale(color="independent", shape="independent", y="shared")
        .properties(title=title)
    )


def _errors(y: alt.Y, about: About) -> Any:
    x = alt.X("error:Q", title="error", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(values=[0, 0.5, 1], orient="top"))
    point = alt.Chart().mark_point(filled=True, size=30, opacity=1)
    return point.encode(
        x=x, y=y, color=class_colour(about).legend(**_BELOW), shape=outcome_shape().legend(**_BELOW), tooltip=_tooltip()
    )


def _bars(y: alt.Y) -> Any:
    bars = _folded([f"{level}_entropy" for level in LEVELS], "part").mark_bar()
    bars = bars.encode(
        x=alt.X(
            "part:Q",
            title="entropy of effective attention, nats (tick: ln N)",
            axis=alt.Axis(orient="top"),
            stack="zero",
        ),
        y=y,
        color=_level_colour("H(stain) + H(slice | stain) + H(patch | slice)"),
        order=alt.Order("order:Q"),
        tooltip=_tooltip(),
    )
    ticks = alt.Chart().mark_tick(color=ACCENT, thickness=1.5).encode(x="max_entropy:Q", y=y, tooltip=_tooltip())
    return bars + ticks


def _ratios(y: alt.Y) -> Any:
    x = alt.X(
        "value:Q",
        title="share of its maximum",
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(values=[0, 0.5, 1], orient="top"),
    )
    points = _folded([f"{level}_ratio" for level in LEVELS], "value").transform_filter("isValid(datum.value)")
    shape = alt.Shape(
        "level:N", sort=LEVELS, scale=alt.Scale(domain=LEVELS, range=["square", "triangle-up", "circle"]), legend=None
    )
    return points.mark_point(filled=True, size=26, opacity=1, stroke="#4B5563", strokeWidth=0.6).encode(
        x=x, y=y, color=_level_colour(None), shape=shape, tooltip=_tooltip()
    )


def _folded(columns: list[str], value: str) -> Any:
    """A row for each level, with the value of the level's column."""
    return (
        alt.Chart()
        .transform_fold([*columns], ["column", value])
        .transform_calculate(level="split(datum.column, '_')[0]", order=f"indexof({LEVELS}, datum.level)")
    )


def _level_colour(title: str | None) -> alt.Color:
    legend = None if title is None else alt.Legend(title=title, titleLimit=400, orient="bottom", direction="horizontal")
    return alt.Color("level:N", sort=LEVELS, scale=alt.Scale(domain=LEVELS, range=LEVEL_COLOURS), legend=legend)


def _tooltip() -> list[alt.Tooltip]:
    parts = [alt.Tooltip(f"{level}_entropy:Q", title=f"{level} entropy", format=".3f") for level in LEVELS]
    ratios = [alt.Tooltip(f"{level}_ratio:Q", title=f"{level} share of maximum", format=".2f") for level in LEVELS]
    return told(
        *CASE,
        "n_patches:Q",
        "effective_patches:Q",
        alt.Tooltip("entropy:Q", title="entropy", format=".3f"),
        alt.Tooltip("max_entropy:Q", title="ln N", format=".3f"),
        *parts,
        *ratios,
        *ORIGIN,
    )
