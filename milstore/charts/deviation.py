"""`deviation`: a line a case, from its label to its predicted probability."""

from typing import Any

import altair as alt
import pandas as pd

from milstore.charts.answer_line import answered
from milstore.charts.case_rows import MOST_CASES, row_names, row_step
from milstore.charts.theme import ACCENT, NEUTRAL, About, class_colour, outcome_shape, themed
from milstore.charts.tooltips import told
from milstore.charts.within import FADED, asked_for, whose

WITHIN_COHORT = True
_WIDTH = 500


def chart(frame: pd.DataFrame, about: About) -> Any:
    """A panel a class, its cases from the most wrong down; the threshold dashed, wrong predictions crossed."""
    frame = frame.assign(row=row_names(frame), asked=asked_for(frame, about))
    two = "the true class" not in set(frame["probability_of"])
    step, named = row_step(len(frame)), len(frame) <= MOST_CASES
    classes = [(str(class_name), rows) for class_name, rows in frame.groupby("true_class", sort=False)]
    panels = [
        _panel(rows, class_name, about, two=two, step=step, named=named, last=class_name == classes[-1][0])
        for class_name, rows in classes
    ]
    counts = ", ".join(f"{name} {(rows['outcome'] == 'wrong').sum()} of {len(rows)}" for name, rows in classes)
    answer = [f"Called wrong: {(frame['outcome'] == 'wrong').sum()} of {len(frame)} cases ({counts})."]
    notes = []
    if about.cases:
        mine = frame[frame["asked"]]
        answer += [
            f"Case {row['case_id']} ({row['true_class']}, called {row['outcome']}): error {row['error']:.2f}, "
            f"number {place} of {len(of_class)} of its class."
            for name, of_class in classes
            for place, (_, row) in enumerate(of_class.iterrows(), 1)
            if row["asked"]
        ][: len(mine)]
        notes.append(f"In full colour: {whose(about)}; the others are paler.")
    return themed(alt.vconcat(*panels, spacing=14).properties(title=answered(about, answer, notes)))


def _panel(
    rows: pd.DataFrame, class_name: str, about: About, *, two: bool, step: float, named: bool, last: bool
) -> Any:
    """The cases of a true class."""
    probability_of = rows["probability_of"].iloc[0]
    size = 9 if step < 12 else 10
    axis = alt.Axis(labelFontSize=size, ticks=False, domain=False, grid=False, labelOverlap=False) if named else None
    x_axis = alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], format=".2~f", labels=last, ticks=last)
    wrong = int((rows["outcome"] == "wrong").sum())
    base = alt.Chart(rows).encode(
        y=alt.Y("row:N", sort=list(rows["row"]), title="case" if len(rows) * step > 40 else None, axis=axis),
        color=class_colour(about).legend(symbolOpacity=1),
        tooltip=told(
            "case_id:N",
            "true_class:N",
            "pred_class:N",
            alt.Tooltip("probability:Q", format=".3f", title=f"probability of {probability_of}"),
            "error:Q",
            "subset:N",
            "split:Q",
            "run_id:N",
        ),
    )
    title = f"predicted probability of {probability_of}" if last else None
    x = alt.X("probability:Q", title=title, scale=alt.Scale(domain=[0, 1]), axis=x_axis)
    lines = base.mark_rule(strokeWidth=min(3, step / 4)).encode(x=x, x2="label_value:Q", opacity=_opacity(about, 0.55))
    ends = base.mark_point(filled=True, size=min(60, step * 5)).encode(
        x=x, shape=outcome_shape().legend(symbolOpacity=1), opacity=_opacity(about, 1)
    )
    layers: list[Any] = [lines, ends]
    if rows["asked"].any():
        names = base.transform_filter("datum.asked").transform_calculate(name="'case ' + datum.case_id")
        side = names.mark_text(align="left", dx=8, fontSize=11, fontWeight="bold", color=ACCENT)
        layers.append(side.encode(x=x, text="name:N", color=alt.value(ACCENT)))
    if two:
        threshold = alt.Chart(pd.DataFrame({"threshold": [0.5]})).mark_rule(color=NEUTRAL, strokeDash=[5, 4])
        layers.insert(0, threshold.encode(x=alt.X("threshold:Q", title=title)))
    counted = f"{class_name}: {wrong} of {len(rows)} called wrong"
    heading = alt.TitleParams(counted, anchor="start", fontSize=12, offset=4)
    return alt.layer(*layers).properties(width=_WIDTH, height=alt.Step(step), title=heading)


def _opacity(about: About, usual: float) -> Any:
    """Paler for cases that were not asked for, where some were."""
    if not about.cases:
        return alt.value(usual)
    return alt.when("datum.asked").then(alt.value(1.0)).otherwise(alt.value(FADED))
