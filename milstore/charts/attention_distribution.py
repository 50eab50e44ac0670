"""`attention-distribution`: how many patches of a case have how much attention, and how much of it all they hold."""

from typing import Any

import altair as alt
import pandas as pd

from milstore.charts.attended import one_run
from milstore.charts.theme import ACCENT, CLASS_COLOURS, NEUTRAL, WIDTH, About, themed, titled
from milstore.charts.tooltips import told

_BAR = "#64748B"
_MASS = CLASS_COLOURS[4]
_MOST_LABELS = 50
"""Bins that are wide enough for a number above each bar."""


def chart(frame: pd.DataFrame, about: About) -> Any:
    """Counts above, shares of the attention below, and the even share marked in both."""
    one_run(frame, "attention-distribution")
    log = bool(about.values.get("log"))
    first = frame.iloc[0]
    frame = frame.assign(even=frame["uniform"])
    above = frame.loc[frame["low"] >= first["uniform"], "patches"].sum()
    words = (
        f"Case {first['case_id']} ({first['true_class']}, called {first['outcome']}): {first['case_patches']} patches, "
        f"even share 1 / {first['case_patches']} = {first['uniform']:.3g} (dashed)."
    )
    peak = frame.iloc[-1]
    high = (
        f"The highest of {len(frame)} bins: {_patches(peak['patches'])} with {peak['attention']:.0%} of the attention"
    )
    high += f"; {_patches(above)} in bins wholly above the even share."
    title = titled(About(title=about.title, subtitle=about.subtitle, notes=[*about.notes, words, high]))
    counts = _panel(frame, log, "patches", "patches (square-root scale)", _BAR, height=230, last=False)
    masses = _panel(frame, log, "attention", "share of the case's attention", _MASS, height=130, last=True)
    return themed(alt.vconcat(counts, masses, spacing=8).resolve_scale(x="shared").properties(title=title))


def _patches(n: int) -> str:
    return f"{n} patch" if n == 1 else f"{n} patches"


def _panel(frame: pd.DataFrame, log: bool, field: str, title: str, colour: str, *, height: int, last: bool) -> Any:
    base = alt.Chart(frame)
    scale = alt.Scale(type="log", nice=False) if log else alt.Scale(nice=False, zero=True)
    words = "effective attention of a patch" + (" (logarithmic)" if log else "")
    axis = alt.Axis(format="~g", tickCount=8, labels=last, grid=False)
    x = alt.X("low:Q", scale=scale, title=words if last else None, axis=axis)
    is_count = field == "patches"
    y_scale = alt.Scale(type="sqrt", domainMin=0) if is_count else alt.Scale(domainMin=0)
    y_axis = alt.Axis(tickCount=5, format="d" if is_count else "%", tickMinStep=1 if is_count else 0)
    y = alt.Y(f"{field}:Q", scale=y_scale, title=title, axis=y_axis)
    tooltip = told(
        "case_id:N",
        alt.Tooltip("low:Q", title="from", format=".3g"),
        alt.Tooltip("high:Q", title="to", format=".3g"),
        "patches:Q",
        alt.Tooltip("attention:Q", title="share of the attention", format=".2%"),
    )
    bars = base.mark_bar(color=colour, stroke="white", strokeWidth=0.5).encode(
        x=x, x2="high:Q", y=y, y2=alt.datum(0), tooltip=tooltip
    )
    layers: list[Any] = [bars]
    if is_count and len(frame) <= _MOST_LABELS:
        middle = "sqrt(datum.low * datum.high)" if log else "(datum.low + datum.high) / 2"
        text = base.transform_filter("datum.patches > 0").transform_calculate(middle=middle)
        layers.append(
            text.mark_text(dy=-6, fontSize=9, color=NEUTRAL).encode(x="middle:Q", y="patches:Q", text="patches:Q")
        )
    even = alt.Chart(frame.head(1)).mark_rule(color=ACCENT, strokeDash=[5, 4], strokeWidth=1.5).encode(x="even:Q")
    return alt.layer(*layers, even).properties(width=WIDTH + 60, height=height)
