"""`selected-slices` by a score: the slices that have the patches of the highest score, over all cases."""

from typing import Any

import altair as alt
import pandas as pd

from milstore.charts.answer_line import answered
from milstore.charts.attended import all_stains, slice_names
from milstore.charts.by_score.signed import ROOM, between, number, of_models, score_of, score_title, span, zero_rule
from milstore.charts.case_rows import row_step
from milstore.charts.selected_slices import MOST_ROWS, outcomes
from milstore.charts.theme import ACCENT, About, stain_colour, themed
from milstore.charts.tooltips import CALLED, SLICE, told


def chart(frame: pd.DataFrame, about: About) -> Any:
    """A row a slice: its lowest to its highest score, the highest as a dot, the mean as a tick; class and outcome beside it."""
    about = all_stains(frame, about)
    left_out = len(frame) - MOST_ROWS
    frame = frame.head(MOST_ROWS)
    several = frame.groupby("case_id")["run_id"].nunique().max() > 1
    names = "case " + frame["case_id"].astype(str) + (" (" + frame["run_id"] + ")" if several else "")
    frame = frame.assign(
        name=names + " · " + slice_names(frame),
        words=[number(score) for score in frame["highest_score"]],
        class_words=frame["true_class"] + ", called " + frame["outcome"],
    )
    notes = [
        f"Line: {score_of(about)} of the slice's patches, lowest to highest (dot, with its number); tick: their mean."
    ]
    notes += of_models(frame)
    if left_out > 0:
        notes.append(f"{left_out} more slices are in the table: the chart shows the first {MOST_ROWS}.")
    base = alt.Chart(frame).encode(
        y=alt.Y("name:N", sort=None, title=None, axis=alt.Axis(ticks=False, domain=False, labelLimit=320)),
        tooltip=told(
            "position:Q", *SLICE, "case_slices:Q", "highest_score:Q", "mean_score:Q", "lowest_score:Q", *CALLED
        ),
    )
    low, high = span(pd.concat([frame["lowest_score"], frame["highest_score"]]))
    scale = alt.Scale(domain=[low, high + ROOM * (high - low)], nice=False)
    x = alt.X("lowest_score:Q", title=score_title(about), scale=scale, axis=alt.Axis(tickCount=6))
    colour = stain_colour(about).legend(orient="bottom", symbolOpacity=1)
    lines = base.mark_rule(strokeWidth=3, opacity=0.45).encode(x=x, x2="highest_score:Q", color=colour)
    dots = base.mark_circle(size=70, opacity=1).encode(x="highest_score:Q", color=colour)
    means = base.mark_tick(color=ACCENT, thickness=2, height={"band": 0.7}).encode(x="mean_score:Q")
    label = base.mark_text(align="left", dx=9, fontSize=10, color="#374151")
    step = alt.Step(max(14, row_step(len(frame))))
    left = alt.layer(zero_rule(x="zero:Q"), lines, dots, means, label.encode(x="highest_score:Q", text="words:N"))
    title = answered(about, _answer(frame, about), notes)
    return themed(
        alt.hconcat(left.properties(width=330, height=step), outcomes(frame, step), spacing=6)
        .resolve_scale(y="shared")
        .properties(title=title)
    )


def _answer(frame: pd.DataFrame, about: About) -> str:
    """Between which scores the listed slices' highest lie, and of which stains, classes and outcomes these are."""
    reach = between(frame["highest_score"].min(), frame["highest_score"].max())
    stains = ", ".join(f"{stain} {count}" for stain, count in frame["stain"].value_counts().items())
    cases = frame.drop_duplicates(["run_id", "case_id"])
    classes = ", ".join(f"{name} {count}" for name, count in cases["true_class"].value_counts().items())
    wrong = int((cases["outcome"] == "wrong").sum())
    what = f"The {len(frame)} slices of the highest" if len(frame) > 1 else "The slice of the highest"
    said = f"have patches up to {reach}" if len(frame) > 1 else f"has patches up to {reach}"
    return f"{what} {score_of(about)} {said} ({stains}); cases: {classes}, {wrong} of {len(cases)} called wrong."
