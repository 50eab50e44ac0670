"""Cases in rows: the probability of the true class drawn, and what else is known of each case written beside it."""

from typing import Any

import altair as alt
import pandas as pd

from milstore.charts.case_rows import MOST_CASES, row_names, row_step
from milstore.charts.theme import ACCENT, NEUTRAL, About, class_colour, outcome_shape
from milstore.charts.tooltips import told

_WIDTH = 270
_COLUMNS = {"called": 85, "patches": 55, "slices": 45, "concentration": 80, "stains missing": 90}
"""Heading and width in pixels of the columns of words."""


def case_list(frame: pd.DataFrame, about: About, around: float = 0.5) -> Any:
    """The first rows of a list of cases, as many as can be read.

    Args:
        frame: the answer of `misclassified` or `near-threshold`, with `outcome`.
        about: where it comes from.
        around: with two classes, how far to both sides of the threshold probabilities are drawn.
    """
    rows = frame.head(MOST_CASES)
    rows = rows.assign(row=row_names(rows), **_words(rows))
    step = max(13.0, row_step(len(rows)))
    y = alt.Y(
        "row:N",
        sort=list(rows["row"]),
        title="case",
        axis=alt.Axis(ticks=False, domain=False, labelOverlap=False, labelLimit=120, labelPadding=10),
    )
    two = len(about.class_names) == 2
    plots: list[Any] = [_plot(rows, about, y, around if two else None).properties(width=_WIDTH, height=alt.Step(step))]
    for column, width in _COLUMNS.items():
        text = alt.Chart(rows).mark_text(align="left", fontSize=11, color=ACCENT, limit=width)
        text = text.encode(x=alt.value(0), y=y.axis(None).title(None), text=f"{column}:N")
        heading = alt.TitleParams(column, anchor="start", fontSize=11, fontWeight="normal", offset=2)
        plots.append(text.properties(width=width, height=alt.Step(step), title=heading))
    return alt.hconcat(*plots, spacing=10).resolve_scale(y="shared")


def left_out(frame: pd.DataFrame) -> list[str]:
    """What to say where the list is longer than the picture."""
    return [f"The first {MOST_CASES} of {len(frame)} rows; the table has all."] if len(frame) > MOST_CASES else []


def _words(rows: pd.DataFrame) -> dict[str, list[str]]:
    return {
        "called": [str(name) for name in rows["pred_class"]],
        "patches": [f"{n:,}" for n in rows["patches"]],
        "slices": [str(n) for n in rows["slices"]],
        # Null of a run without attention.
        "concentration": ["–" if pd.isna(share) else f"{share:.0%}" for share in rows["concentration"]],
        "stains missing": [text if isinstance(text, str) else "" for text in rows["missing_stains"]],
    }


def _plot(rows: pd.DataFrame, about: About, y: alt.Y, around: float | None) -> Any:
    """The probabilities; with their distance from the threshold unless `around` is None."""
    base = alt.Chart(rows).encode(y=y, color=class_colour(about).legend(symbolOpacity=1, orient="bottom"))
    low, high = (0.0, 1.0) if around is None else (max(0.0, 0.5 - around), min(1.0, 0.5 + around))
    scale, axis = alt.Scale(domain=[low, high], nice=False, zero=False), alt.Axis(tickCount=5, format=".3~f")
    x = alt.X("p_true:Q", title="probability of the true class", scale=scale, axis=axis)
    tooltip = told(
        "case_id:N",
        "true_class:N",
        "pred_class:N",
        "p_true:Q",
        alt.Tooltip("margin:Q", format=".3f"),
        "patches:Q",
        "slices:Q",
        alt.Tooltip("missing_stains:N", title="stains missing"),
        alt.Tooltip("concentration:Q", format=".3f", title="attention of the top patches"),
        "subset:N",
        "split:Q",
        "run_id:N",
    )
    points = base.mark_point(filled=True, size=70, opacity=1)
    points = points.encode(x=x, shape=outcome_shape().legend(orient="bottom"), tooltip=tooltip)
    if around is None:
        return alt.layer(points)
    frame = pd.DataFrame({"threshold": [0.5]})
    threshold = alt.Chart(frame).mark_rule(color=NEUTRAL, strokeDash=[5, 4]).encode(x="threshold:Q")
    lines = base.mark_rule(strokeWidth=2, opacity=0.45).encode(x=x, x2=alt.datum(0.5))
    return alt.layer(threshold, lines, points)
