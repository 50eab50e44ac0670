"""The chart of `patch-count`: how many patches a case has against its error."""

from typing import TYPE_CHECKING, Any

import altair as alt

from milstore.charts.error_scatter import panels
from milstore.charts.theme import About
from milstore.charts.tooltips import told

if TYPE_CHECKING:
    import pandas as pd

_WIDE = 20
"""Counts that differ by more than this factor are drawn on a logarithmic axis."""


def chart(frame: "pd.DataFrame", about: About) -> Any:
    """A panel for the top patches and one for all, headed by Spearman's rho, its p-value and the number of cases."""
    of_count = frame.groupby("counted")["patches"]
    wide = (of_count.max() > _WIDE * of_count.min()).any()
    scale = alt.Scale(type="log", nice=False, padding=12) if wide else alt.Scale(zero=False, padding=12)
    title = "patches of the case" + (" (log scale)" if wide else "")
    axis = alt.Axis(format=",d", tickCount=5)
    x = alt.X("patches:Q", title=title, scale=scale, axis=axis)
    return panels(frame, about, panel="counted", x=x, tooltip=told("patches:Q"), columns=2, width=290)
