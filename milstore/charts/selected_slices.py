"""`selected-slices`: the slices that weigh most in their case, over all cases."""

from typing import Any

import altair as alt
import pandas as pd

from milstore.charts.answer_line import answered
from milstore.charts.attended import all_stains, slice_names
from milstore.charts.case_rows import row_step
from milstore.charts.theme import ACCENT, About, outcome_shape, stain_colour, themed
from milstore.charts.tooltips import CALLED, SLICE, told

MOST_ROWS = 120
"""Slices that one picture can show with a readable name each."""


def chart(frame: pd.DataFrame, about: About) -> Any:
    """A bar a slice, the weight of an even spread over the case's slices marked; class and outcome beside it."""
    about = all_stains(frame, about)
    left_out = len(frame) - MOST_ROWS
    frame = frame.head(MOST_ROWS)
    several = frame.groupby("case_id")["run_id"].nunique().max() > 1
    name = (
        "case "
        + frame["case_id"].astype(str)
        + (" (" + frame["run_id"] + ")" if several else "")
        + " · "
        + slice_names(frame)
    )
    frame = frame.assign(
        name=name,
        words=[
            f"{a:.2f} = {s} × {p}"
            for a, s, p in zip(
                frame["effective_attention"],
                frame["stain_attention"].map("{:.2f}".format),
                frame["slice_attention"].map("{:.2f}".format),
                strict=True,
            )
        ],
        class_words=frame["true_class"] + ", called " + frame["outcome"],
    )
    notes = ["Tick: all slices of the case alike. Beside the bar: effective = stain × slice attention."]
    if left_out > 0:
        notes.append(f"{left_out} more slices are in the table: the chart shows the first {MOST_ROWS}.")
    base = alt.Chart(frame).encode(
        y=alt.Y("name:N", sort=None, title=None, axis=alt.Axis(ticks=False, domain=False, labelLimit=320))
    )
    x = alt.X(
        "effective_attention:Q",
        title="effective attention of the slice",
        scale=alt.Scale(domain=[0, 1.32], nice=False),
        axis=alt.Axis(values=[0, 0.2, 0.4, 0.6, 0.8, 1]),
    )
    bars = base.mark_bar(height={"band": 0.7}).encode(
        x=x, color=stain_colour(about).legend(orient="bottom"), tooltip=_tooltip()
    )
    even = base.mark_tick(color=ACCENT, thickness=2.5, height={"band": 0.85}).encode(x="even:Q")
    label = base.transform_calculate(end="max(datum.effective_attention, datum.even)").mark_text(
        align="left", dx=6, fontSize=10, color="#374151"
    )
    step = alt.Step(max(14, row_step(len(frame))))
    left = alt.layer(bars, even, label.encode(x="end:Q", text="words:N")).properties(width=330, height=step)
    title = answered(about, _answer(frame), notes)
    return themed(alt.hconcat(left, outcomes(frame, step), spacing=6).resolve_scale(y="shared").properties(title=title))


def _answer(frame: pd.DataFrame) -> str:
    """How much the listed slices have of their cases, and of which stains, classes and outcomes these are."""
    low, high = float(frame["effective_attention"].min()), float(frame["effective_attention"].max())
    stains = ", ".join(f"{stain} {count}" for stain, count in frame["stain"].value_counts().items())
    cases = frame.drop_duplicates(["run_id", "case_id"])
    classes = ", ".join(f"{name} {count}" for name, count in cases["true_class"].value_counts().items())
    wrong = int((cases["outcome"] == "wrong").sum())
    many = f"The {len(frame)} slices that weigh most hold" if len(frame) > 1 else "The slice that weighs most holds"
    return f"{many} {low:.0%} to {high:.0%} of their case ({stains}); cases: {classes}, {wrong} of {len(cases)} called wrong."


def outcomes(frame: pd.DataFrame, step: alt.Step) -> Any:
    """Class and outcome of each row's case, in words and by shape."""
    base = alt.Chart(frame).encode(y=alt.Y("name:N", sort=None, axis=None))
    shape = base.mark_point(filled=False, strokeWidth=1.6, size=38, color=ACCENT).encode(
        x=alt.value(8), shape=outcome_shape()
    )
    text = base.mark_text(align="left", fontSize=10, color="#374151").encode(x=alt.value(20), text="class_words:N")
    return alt.layer(shape, text).properties(width=125, height=step)


def _tooltip() -> list[alt.Tooltip]:
    return told(
        "position:Q",
        *SLICE,
        "case_slices:Q",
        "effective_attention:Q",
        "stain_attention:Q",
        "slice_attention:Q",
        alt.Tooltip("even:Q", title="even over the case's slices", format=".3g"),
        *CALLED,
    )
