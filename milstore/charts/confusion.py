"""`confusion`: which class is taken for which, a panel a split and one of all."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd

from milstore.charts.answer_line import answered
from milstore.charts.theme import ACCENT, INK, WIDTH, About, themed
from milstore.charts.tooltips import told
from milstore.charts.within import whose
from milstore.charts.wording import called_wrong

WITHIN_COHORT = True

_DARKEST = "#374151"
"""Grey: the colours of the classes stand for the classes alone."""


def chart(frame: pd.DataFrame, about: About) -> Any:
    """A grid a scope: true class down, predicted class across, the share of the true class as shade and in words."""
    classes, scopes = list(dict.fromkeys(frame["true_class"])), list(dict.fromkeys(frame["scope"]))
    columns = min(len(scopes), 3 if len(classes) <= 3 else 2)
    side = min(76, (WIDTH / columns - 10) / len(classes))
    asked = {(row["scope"], row["true_class"], row["pred_class"]) for row in about.own if row["cases"]}
    keys = zip(frame["scope"], frame["true_class"], frame["pred_class"], strict=True)
    frame = frame.assign(
        percent=[_percent(row) for row in frame.to_dict("records")], asked=[key in asked for key in keys]
    )
    base = alt.Chart(frame).encode(
        x=alt.X(
            "pred_class:N",
            sort=classes,
            title="predicted class",
            axis=alt.Axis(labelAngle=0 if len(classes) < 4 else -45),
        ),
        y=alt.Y("true_class:N", sort=classes, title="true class"),
        tooltip=told(
            "scope:N",
            "true_class:N",
            "pred_class:N",
            "cases:Q",
            alt.Tooltip("of_true_class:Q", title="cases of the true class"),
            "share:Q",
        ),
    )
    shade = alt.Color(
        "share:Q",
        title="share of the true class",
        scale=alt.Scale(domain=[0, 1], range=["#F3F4F6", _DARKEST]),
        legend=alt.Legend(format="%", values=[0, 0.5, 1], orient="bottom", gradientLength=200, gradientThickness=10),
    )
    # Black on light, white on dark.
    ink = alt.condition("datum.share > 0.55", alt.value("#ffffff"), alt.value(INK))
    # Of a class without a case there is no share: its cells are empty.
    cells = base.mark_rect(stroke="white", strokeWidth=2).encode(color=shade)
    frames = base.transform_filter("datum.asked").mark_rect(filled=False, stroke=ACCENT, strokeWidth=3)
    counts = base.mark_text(fontSize=16, fontWeight="bold", dy=-6).encode(text="cases:Q", color=ink)
    percents = base.mark_text(fontSize=10, dy=11).encode(text="percent:N", color=ink)
    panel = alt.layer(cells, frames, counts, percents)
    panel = panel.properties(width=side * len(classes), height=side * len(classes) * 0.75)
    header = alt.Header(title=None, labelFontWeight="bold", labelAnchor="start")
    facets = panel.facet(facet=alt.Facet("scope:N", sort=scopes, header=header), columns=columns)
    notes = [f"Framed: {whose(about)}."] if asked else []
    return themed(facets.properties(title=answered(about, _answer(frame, classes), notes)), least=0.8)


def _answer(frame: pd.DataFrame, classes: list[str]) -> str:
    """Of each class, how many were called wrong, and what they were taken for."""
    over = frame[frame["scope"] == frame["scope"].iloc[0]]
    said = []
    for name in classes:
        rows = over[over["true_class"] == name]
        taken = {row.pred_class: int(row.cases) for row in rows.itertuples() if row.pred_class != name and row.cases}
        total = int(rows["of_true_class"].iloc[0])
        for_what = (
            f" ({', '.join(f'{n} as {other}' for other, n in taken.items())})" if taken and len(classes) > 2 else ""
        )
        said.append(f"{called_wrong(sum(taken.values()), total, f'{name} case')}{for_what}")
    return f"{'; '.join(said)}."


def _percent(row: Mapping[Any, Any]) -> str:
    return "no case" if not row["of_true_class"] else f"{row['share']:.0%} of {row['of_true_class']}"
