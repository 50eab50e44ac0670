"""`confusion`: which class is taken for which, a panel a split and one of all."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd

from milstore.charts.theme import ACCENT, WIDTH, About, themed, titled
from milstore.charts.tooltips import told


def chart(frame: pd.DataFrame, about: About) -> Any:
    """A grid a scope: true class down, predicted class across, the share of the true class as colour and in words."""
    classes, scopes = list(dict.fromkeys(frame["true_class"])), list(dict.fromkeys(frame["scope"]))
    columns = min(len(scopes), 3 if len(classes) <= 3 else 2)
    side = min(80, (WIDTH / columns - 10) / len(classes))
    frame = frame.assign(percent=[_percent(row) for row in frame.to_dict("records")])
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
        scale=alt.Scale(domain=[0, 1], range=["#F3F4F6", "#1F4E79"]),
        legend=alt.Legend(format="%", values=[0, 0.5, 1], orient="bottom", gradientLength=200, gradientThickness=10),
    )
    # Black on light, white on dark.
    ink = alt.condition("datum.share > 0.55", alt.value("white"), alt.value(ACCENT))
    cells = base.mark_rect(stroke="white", strokeWidth=2).encode(color=shade)
    counts = base.mark_text(fontSize=16, fontWeight="bold", dy=-6).encode(text="cases:Q", color=ink)
    percents = base.mark_text(fontSize=10, dy=11).encode(text="percent:N", color=ink)
    panel = alt.layer(cells, counts, percents).properties(width=side * len(classes), height=side * len(classes) * 0.8)
    header = alt.Header(title=None, labelFontWeight="bold", labelAnchor="start")
    facets = panel.facet(facet=alt.Facet("scope:N", sort=scopes, header=header), columns=columns)
    return themed(facets.properties(title=titled(about)))


def _percent(row: Mapping[Any, Any]) -> str:
    return "no case" if not row["of_true_class"] else f"{row['share']:.0%} of {row['of_true_class']}"
