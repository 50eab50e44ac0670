"""A number of every case as a dot, side by side for each class, with the median and quartiles as a dot with whiskers."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from milstore.charts.theme import ACCENT, About, class_colour, outcome_shape
from milstore.charts.tooltips import told
from milstore.charts.within import FADED, asked_for

FEWEST = 5
"""Cases of a class from which on quartiles say more than the dots alone."""
_SPREAD, _SUMMARY = 0.5, -0.36
"""Width of the dots of a class, and where its median stands beside them."""


def classes_of(frame: pd.DataFrame, about: About) -> list[str]:
    """The classes that have a row, in their order."""
    there = set(frame["true_class"])
    return [name for name in dict.fromkeys([*about.class_names, *frame["true_class"]]) if name in there]


def strips(
    frame: pd.DataFrame,
    about: About,
    *,
    groups: Sequence[str],
    y: alt.Y,
    tooltip: list[alt.Tooltip],
    labels: Sequence[Sequence[str]] | None = None,
    width: float = 280,
    height: float = 260,
) -> Any:
    """A strip for each group and class.

    Args:
        frame: with `group`, `value` (null where it is undefined: then there is no dot), `true_class`, `outcome`, `case_id`.
        about: what the chart says of where it came from.
        groups: the groups from left to right.
        y: the encoding of `value`.
        tooltip: what is told of a dot.
        labels: the lines under each group, if not its name.
        width: of the plot, in pixels.
        height: of the plot, in pixels.
    """
    classes = classes_of(frame, about)
    known = frame.dropna(subset=["value"]).assign(asked=lambda rows: asked_for(rows, about))
    slot = {
        (group, name): i * (len(classes) + 0.6) + j for i, group in enumerate(groups) for j, name in enumerate(classes)
    }
    start = (
        known.apply(lambda row: slot[row["group"], row["true_class"]], axis=1) if len(known) else pd.Series(dtype=float)
    )
    # Steps of the golden ratio spread any number of dots evenly, and the same way each time.
    order = known.groupby(["group", "true_class"]).cumcount() if len(known) else pd.Series(dtype=float)
    known = known.assign(place=start + 0.05 + _SPREAD * (((order + 1) * 0.618034) % 1 - 0.5))
    axis_at = [i * (len(classes) + 0.6) + (len(classes) - 1) / 2 for i in range(len(groups))]
    words = dict(zip(axis_at, labels or [[group] for group in groups], strict=True))
    axis = alt.Axis(
        values=axis_at,
        labelExpr=_label_expression(words),
        grid=False,
        ticks=False,
        labelPadding=6,
        title=None,
        labelAngle=0,
        labelOverlap=False,
    )
    ends = [-0.75, max(slot.values()) + 0.75]
    x = alt.X("place:Q", scale=alt.Scale(domain=ends, nice=False), axis=axis)
    below: dict[str, Any] = {"orient": "bottom", "direction": "horizontal", "symbolOpacity": 1}
    base = alt.Chart(known)
    dots = base.mark_point(filled=True, size=26, opacity=FADED if about.cases else 0.65).encode(
        x=x, y=y, color=class_colour(about).legend(**below), shape=outcome_shape().legend(**below), tooltip=tooltip
    )
    boxes = alt.Chart(_quartiles(known, slot))
    whiskers = boxes.mark_rule(strokeWidth=2, color=ACCENT).encode(
        x=alt.X("place:Q", scale=alt.Scale(domain=ends, nice=False)), y="lower:Q", y2="upper:Q"
    )
    medians = boxes.mark_point(filled=True, size=62, shape="diamond", color=ACCENT, opacity=1).encode(
        x="place:Q",
        y="middle:Q",
        tooltip=[
            *told("true_class:N"),
            alt.Tooltip("group:N", title="of"),
            alt.Tooltip("cases:Q", title="cases"),
            alt.Tooltip("middle:Q", title="median", format=".3f"),
            alt.Tooltip("lower:Q", title="lower quartile", format=".3f"),
            alt.Tooltip("upper:Q", title="upper quartile", format=".3f"),
        ],
    )
    layers = [dots, whiskers, medians]
    if about.cases:
        mine = base.transform_filter("datum.asked")
        layers += [
            mine.mark_point(size=150, strokeWidth=2, color=ACCENT, shape="circle").encode(x=x, y=y),
            mine.mark_point(filled=True, size=50, opacity=1).encode(
                x=x, y=y, color=class_colour(about), shape=outcome_shape(), tooltip=tooltip
            ),
            mine.mark_text(dy=-14, fontSize=10.5, fontWeight="bold", color=ACCENT).encode(x=x, y=y, text="case_id:N"),
        ]
    return alt.layer(*layers).properties(width=width, height=height)


NOTE = "Diamond and whisker: median and quartiles of a class."


def _quartiles(known: pd.DataFrame, slot: dict[tuple[str, str], float]) -> pd.DataFrame:
    rows = []
    for (group, name), of in known.groupby(["group", "true_class"], sort=False):
        if len(of) >= FEWEST:
            lower, middle, upper = np.quantile(of["value"].astype(float), [0.25, 0.5, 0.75])
            rows.append((group, name, slot[str(group), str(name)] + _SUMMARY, lower, middle, upper, len(of)))
    return pd.DataFrame(rows, columns=["group", "true_class", "place", "lower", "middle", "upper", "cases"])


def _label_expression(words: dict[float, Sequence[str]]) -> str:
    """A Vega expression: the lines that stand at each place of the axis."""
    import json

    # Places come back from the axis with rounding.
    cases = [
        f"abs(datum.value - {place}) < 0.01 ? {json.dumps(list(lines), ensure_ascii=False)}"
        for place, lines in words.items()
    ]
    return " : ".join([*cases, "''"])
