"""The chart of `patch-count`: how many patches a case has against its error, by class."""

from typing import TYPE_CHECKING, Any

import altair as alt

from milstore.charts.error_scatter import Panel, panels
from milstore.charts.theme import About
from milstore.charts.tooltips import told

if TYPE_CHECKING:
    import pandas as pd

WITHIN_COHORT = True
_WIDE = 20
"""Counts that differ by more than this factor are drawn on a logarithmic axis."""


def chart(frame: "pd.DataFrame", about: About) -> Any:
    """Spearman's rho of each class with its interval, for the top patches and for all; below, the cases of each."""
    of_count = frame.groupby("counted")["patches"]
    wide = (of_count.max() > _WIDE * of_count.min()).any()
    scale = alt.Scale(type="log", nice=False, padding=12) if wide else alt.Scale(zero=False, padding=12)
    title = "patches of the case" + (" (log scale)" if wide else "")
    x = alt.X("patches:Q", title=title, scale=scale, axis=alt.Axis(format=",d", tickCount=5))
    parts = [Panel(name=_named(str(counted)), rows=rows, x=x) for counted, rows in frame.groupby("counted", sort=False)]
    return panels(parts, about, answer=parts[-1], tooltip=told("patches:Q"), columns=2, width=265)


def _named(counted: str) -> str:
    return "all patches" if counted == "all" else counted
