"""`slice-spread`: how many slices a case's top patches touch, against the error, by class."""

from typing import Any

import altair as alt
import pandas as pd

from milstore.analysis.correlation import COLUMNS
from milstore.charts.case_rows import nothing
from milstore.charts.error_scatter import Panel, panels
from milstore.charts.theme import About
from milstore.charts.tooltips import told

WITHIN_COHORT = True
_NOTE = "Relative spread: the share of slices over what drawing as many patches by lot would give; 1 (dashed) is an even spread."


def chart(frame: pd.DataFrame, about: About) -> Any:
    """Spearman's rho of each class with its interval; below, two scatters against the error."""
    if frame.empty:
        return nothing(about, "No case has so few slices.")
    relative = frame.assign(
        **{name: frame[f"{name}_relative"] for name in COLUMNS if f"{name}_relative" in frame.columns}
    )
    parts = [
        Panel(name="slices touched", rows=frame, x=_x(frame, "ratio", "slices with a top patch / slices")),
        Panel(
            name="relative spread",
            rows=relative,
            x=_x(frame, "relative_spread", "relative spread (ratio / expected ratio)"),
            even=1.0,
        ),
    ]
    return panels(parts, about, answer=parts[-1], tooltip=_tooltip(), columns=2, width=265, notes=[_NOTE])


def _x(frame: pd.DataFrame, field: str, title: str) -> alt.X:
    scale = alt.Scale(domain=[0, max(1.0, float(frame[field].max()))])
    return alt.X(f"{field}:Q", title=title, scale=scale, axis=alt.Axis(tickCount=6))


def _tooltip() -> list[alt.Tooltip]:
    return told(
        "slices:Q",
        alt.Tooltip("touched_slices:Q", title="slices with a top patch"),
        alt.Tooltip("ratio:Q", format=".3f"),
        alt.Tooltip("expected_ratio:Q", format=".3f", title="expected ratio"),
        alt.Tooltip("relative_spread:Q", format=".3f", title="relative spread"),
        "top_patches:Q",
        alt.Tooltip("tied_patches:Q", title="of these tied"),
        "patches:Q",
    )
