"""The chart of `concentration`: attention in a case's top patches against its error, by class."""

from math import ceil
from typing import TYPE_CHECKING, Any

import altair as alt

from milstore.charts.error_scatter import Panel, panels
from milstore.charts.theme import About
from milstore.charts.tooltips import told

if TYPE_CHECKING:
    import pandas as pd

WITHIN_COHORT = True


def chart(frame: "pd.DataFrame", about: About) -> Any:
    """Spearman's rho of each class with its interval, for the top 1, 2, 3, 4 and the share; below, the cases of each top."""
    # One axis for all panels, so that the sums can be seen to grow.
    most = min(1.0, ceil(frame["attention"].max() * 10) / 10)
    x = alt.X(
        "attention:Q",
        title="attention they hold",
        scale=alt.Scale(domain=[0, most]),
        axis=alt.Axis(format="%", tickCount=4),
    )
    tooltip = [alt.Tooltip("attention:Q", title="effective attention", format=".3f"), *told("top_patches:Q")]
    parts = [Panel(name=str(top), rows=rows, x=x) for top, rows in frame.groupby("top", sort=False)]
    return panels(parts, about, answer=parts[-1], tooltip=tooltip, columns=3, width=165)
