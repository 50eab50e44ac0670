"""`slice-spread`: how many slices a case's top patches touch, against the error."""

from dataclasses import replace
from typing import Any

import altair as alt
import pandas as pd

from milstore.analysis.correlation import sentence
from milstore.charts.case_rows import nothing
from milstore.charts.theme import NEUTRAL, About, class_colour, outcome_shape, themed, titled
from milstore.charts.tooltips import told

_WIDTH = 290
_MOST_POINTS = 2400


def chart(frame: pd.DataFrame, about: About) -> Any:
    """Two scatters against the error: the ratio of slices touched, and the ratio over what is expected by lot."""
    if frame.empty:
        return nothing(about, "No case has so few slices.")
    notes = ["Relative spread: the ratio over what drawing as many patches by lot would give; 1 is an even spread."]
    if len(frame) > _MOST_POINTS:
        notes.append(f"Drawn are {_MOST_POINTS} of {len(frame)} rows, evenly picked; ρ is of all.")
        frame = frame.iloc[[i * len(frame) // _MOST_POINTS for i in range(_MOST_POINTS)]]
    about = replace(about, notes=[*about.notes, *notes])
    row: dict[str, Any] = {str(name): value for name, value in frame.iloc[0].items()}
    of_relative = {**row, "rho": row["rho_relative"], "p_value": row["p_value_relative"]}
    left = _scatter(frame, about, "ratio", "slices with a top patch / slices", sentence(row))
    right = _scatter(frame, about, "relative_spread", "relative spread (ratio / expected ratio)", sentence(of_relative))
    even = alt.Chart(pd.DataFrame({"even": [1.0]})).mark_rule(color=NEUTRAL, strokeDash=[5, 4]).encode(x="even:Q")
    both = alt.hconcat(left, alt.layer(even, right).properties(title=right.title), spacing=24)
    return themed(both.properties(title=titled(about)))


def _scatter(frame: pd.DataFrame, about: About, x: str, named: str, statistics: str) -> Any:
    tooltip = told(
        "case_id:N",
        "true_class:N",
        "pred_class:N",
        "error:Q",
        "slices:Q",
        alt.Tooltip("touched_slices:Q", title="slices with a top patch"),
        alt.Tooltip("ratio:Q", format=".3f"),
        alt.Tooltip("expected_ratio:Q", format=".3f", title="expected ratio"),
        alt.Tooltip("relative_spread:Q", format=".3f", title="relative spread"),
        "top_patches:Q",
        "patches:Q",
        "run_id:N",
    )
    scale = alt.Scale(domain=[0, max(1.0, float(frame[x].max()))])
    legend = alt.Legend(orient="bottom")
    return (
        alt.Chart(frame)
        .mark_point(filled=True, size=60, opacity=0.75)
        .encode(
            x=alt.X(f"{x}:Q", title=named, scale=scale, axis=alt.Axis(tickCount=6)),
            y=alt.Y("error:Q", title="error (1 − probability of the true class)", scale=alt.Scale(domain=[0, 1])),
            color=class_colour(about).legend(legend),
            shape=outcome_shape().legend(legend),
            tooltip=tooltip,
        )
        .properties(
            width=_WIDTH, height=_WIDTH, title=alt.TitleParams(statistics, anchor="start", fontSize=12, offset=4)
        )
    )
