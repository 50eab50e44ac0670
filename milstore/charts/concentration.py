"""The chart of `concentration`: attention in a case's top patches against its error, a panel a top."""

from math import ceil
from typing import TYPE_CHECKING, Any

import altair as alt

from milstore.charts.error_scatter import panels
from milstore.charts.theme import About
from milstore.charts.tooltips import told

if TYPE_CHECKING:
    import pandas as pd


def chart(frame: "pd.DataFrame", about: About) -> Any:
    """A panel for the top 1, 2, 3, 4 and the share, headed by Spearman's rho, its p-value and the number of cases."""
    # One axis for all panels, so that the sums can be seen to grow.
    most = min(1.0, ceil(frame["attention"].max() * 10) / 10)
    x = alt.X("attention:Q", title="sum of effective attention", scale=alt.Scale(domain=[0, most]))
    tooltip = [
        alt.Tooltip("attention:Q", title="effective attention", format=".3f"),
        *told("top_patches:Q"),
    ]
    return panels(frame, about, panel="top", x=x, tooltip=tooltip, columns=3, width=175)
