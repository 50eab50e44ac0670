"""The chart of `level-correlation`: how patch, slice and stain attention go with effective attention."""

import json
from typing import TYPE_CHECKING, Any

import altair as alt

from milstore.charts.error_scatter import few_enough
from milstore.charts.theme import ACCENT, NEUTRAL, About, class_colour, outcome_shape, themed, titled
from milstore.charts.tooltips import CALLED, ORIGIN, told

if TYPE_CHECKING:
    import pandas as pd

LEVELS = ["patch", "slice", "stain"]
_MEASURES = {"pearson": "Pearson's r", "spearman": "Spearman's ρ"}
_BOX, _NEAR, _FAR = -0.25, -0.08, 0.3
"""Where a level's box and its points stand, beside the level's place on the axis."""
_UNDEFINED_AT = -1.2
"""Where cases without a correlation are drawn, below the axis."""


def chart(frame: "pd.DataFrame", about: About) -> Any:
    """Box plot and lines by case for each level, Pearson's and Spearman's side by side; undefined cases below."""
    drawn, notes = few_enough(_placed(frame))
    title = titled(About(title=about.title, subtitle=about.subtitle, notes=[*about.notes, *notes]))
    sides = [_side(frame, about, name, words) for name, words in _MEASURES.items()]
    return themed(alt.hconcat(*sides, data=drawn).properties(title=title))


def _placed(frame: "pd.DataFrame") -> "pd.DataFrame":
    """The rows with places: those of a case side by side in the same order in each level, so that lines do not cross."""
    placed = frame.drop(columns=[f"{name}_all" for name in _MEASURES])
    placed["key"] = placed["run_id"] + "/" + placed["case_id"]
    codes = placed["key"].astype("category").cat.codes
    # Steps of the golden ratio spread any number of points evenly, and the same way each time.
    placed["x"] = placed["level"].map(LEVELS.index) + _NEAR + (_FAR - _NEAR) * ((codes + 1) * 0.618034 % 1)
    placed["box"] = placed["level"].map(LEVELS.index) + _BOX
    return placed


def _side(frame: "pd.DataFrame", about: About, name: str, words: str) -> Any:
    axis = alt.Axis(values=[0, 1, 2], labelExpr=_labels(frame, name), grid=False, ticks=False, labelPadding=6)
    x = alt.X("x:Q", title=None, scale=alt.Scale(domain=[-0.5, 2.5], nice=False), axis=axis)
    y = alt.Y(
        f"{name}:Q",
        title=f"{words} with effective attention",
        scale=alt.Scale(domain=[-1.3, 1], nice=False),
        axis=alt.Axis(values=[-1, -0.5, 0, 0.5, 1]),
    )
    look = {"color": class_colour(about), "shape": outcome_shape(), "tooltip": _tooltip()}
    base = alt.Chart()
    known = base.transform_filter(f"isValid(datum.{name})")
    lines = known.mark_line(opacity=0.13, strokeWidth=1, color=NEUTRAL).encode(x=x, y=y, detail="key:N")
    boxes = known.mark_boxplot(
        size=18, color="#D1D5DB", outliers=False, median={"color": ACCENT, "strokeWidth": 2}, rule={"color": NEUTRAL}
    ).encode(x="box:Q", y=y)
    dots = known.mark_point(filled=True, size=30, opacity=0.75).encode(x=x, y=y, **look)
    missing = base.transform_filter(f"!isValid(datum.{name})")
    below = missing.mark_point(filled=True, size=30, opacity=0.75).encode(x=x, y=alt.datum(_UNDEFINED_AT), **look)
    zero = alt.Chart(alt.InlineData(values=[{}])).mark_rule(color=NEUTRAL, strokeDash=[4, 3]).encode(y=alt.datum(0))
    return alt.layer(zero, lines, boxes, dots, below).properties(width=275, height=380)


def _labels(frame: "pd.DataFrame", name: str) -> str:
    """A Vega expression: under each level its correlation over all patches, and how many cases have none."""
    labels = []
    for level in LEVELS:
        rows = frame[frame["level"] == level]
        over_all = rows[f"{name}_all"].iloc[0]
        missing = int(rows[name].isna().sum())
        lines = [level, "all patches: " + ("undefined" if over_all != over_all else f"{over_all:.2f}")]  # noqa: PLR0124
        labels.append([*lines, f"undefined: {missing} of {len(rows)}"] if missing else lines)
    return f"{json.dumps(labels, ensure_ascii=False)}[datum.value]"


def _tooltip() -> list[alt.Tooltip]:
    return told(
        "case_id:N",
        "level:N",
        alt.Tooltip("pearson:Q", title="Pearson's r", format=".3f"),
        alt.Tooltip("spearman:Q", title="Spearman's ρ", format=".3f"),
        alt.Tooltip("undefined:N", title="undefined, for"),
        "n_patches:Q",
        *CALLED,
        *ORIGIN,
    )
