"""`experiments`: recall of each class, accuracy and AUC of every experiment side by side."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd

from milstore.analysis.recall import ACCURACY, AUC, RECALL
from milstore.charts.answer_line import answered
from milstore.charts.theme import ACCENT, CLASS_COLOURS, NEUTRAL, About, themed
from milstore.charts.tooltips import told
from milstore.charts.whiskers import beside, dots
from milstore.charts.within import whose

WITHIN_COHORT = True

_WIDTH = 140
_KEY = (
    "Dots: all test cases, each counted once, with 95% intervals. Ticks: the mean of the runs; ± is its standard error, "
    "which is too small where runs share cases."
)


def chart(frame: pd.DataFrame, about: About) -> Any:
    """A panel a measure; in it a row an experiment, with a dot and its interval, and a tick for the mean of its runs."""
    frame = frame.assign(words=[_words(row) for row in frame.to_dict("records")])
    names = list(about.class_names)
    panels: list[Any] = []
    for (measure, class_name), rows in frame.groupby(["measure", "true_class"], sort=False, dropna=False):
        colour, named = NEUTRAL, str(measure)
        if measure == RECALL:
            place = names.index(class_name) if class_name in names else len(names)
            colour, named = CLASS_COLOURS[place % len(CLASS_COLOURS)], f"recall of {class_name}"
        panels.append(_panel(rows, named, colour, with_names=len(panels) % 2 == 0))
    notes = [_own(about), _KEY] if about.own else [_KEY]
    return themed(alt.concat(*panels, columns=2, spacing=30).properties(title=answered(about, answer(frame), notes)))


def _own(about: About) -> str:
    """How each experiment called the cases that were asked for."""
    said = [
        f"{row['experiment']} {row['right']:.0f} of {row['cases']:.0f}"
        for row in about.own
        if row["measure"] == ACCURACY and row["cases"]
    ]
    return f"Of {whose(about)} called right: {', '.join(said) or 'none was tested'}."


def answer(frame: pd.DataFrame) -> str:
    """The answer in a sentence: which experiment calls most cases right, and from how many that can be told apart."""
    rows = frame[(frame["measure"] == ACCURACY) & frame["value"].notna()]
    if rows.empty:
        return "No experiment has a test case with a label."
    best = rows.sort_values("value", ascending=False, kind="stable").iloc[0]
    said = f"Highest accuracy: {best['experiment']}, {best['value']:.0%} ({best['right']:.0f} of {best['cases']:.0f})"
    others = rows[rows["experiment"] != best["experiment"]]
    if others.empty:
        return f"{said}; there is no other experiment."
    near = int((others["high"] >= best["low"]).sum())
    if others["high"].isna().all() or pd.isna(best["low"]):
        return f"{said}; without intervals nothing says by how much."
    compared = f"; the intervals of {near} of the {len(others)} others overlap its own" if near else ""
    compared = "; the interval of the other overlaps its own" if near == len(others) == 1 else compared
    apart = "" if near else "; no other interval overlaps its own"
    sizes = " They were tested on different numbers of cases." if rows["cases"].nunique() > 1 else ""
    return f"{said}{compared}{apart}.{sizes}"


def _panel(rows: pd.DataFrame, named: str, colour: str, *, with_names: bool) -> Any:
    """One measure of all experiments."""
    axis = alt.Axis(ticks=False, domain=False, labelLimit=130) if with_names else None
    y = alt.Y("experiment:N", sort=list(rows["experiment"]), title=None).axis(axis)
    x_axis = alt.Axis(format=".2~f" if named == AUC else ".0%", values=[0, 0.25, 0.5, 0.75, 1])
    words = named if named == AUC else f"{named} (%)"
    scale = alt.Scale(domain=[0, 1])
    base = alt.Chart(rows).encode(
        y=y,
        tooltip=told(
            "experiment:N",
            "measure:N",
            "true_class:N",
            "right:Q",
            "cases:Q",
            alt.Tooltip("value:Q", format=".3f"),
            alt.Tooltip("low:Q", format=".3f", title="95% from"),
            alt.Tooltip("high:Q", format=".3f", title="to"),
            alt.Tooltip("mean:Q", format=".3f", title="mean of the runs"),
            alt.Tooltip("se:Q", format=".3f", title="standard error"),
            alt.Tooltip("runs:Q", title="runs"),
            alt.Tooltip("split_sets:Q", title="split sets"),
            alt.Tooltip("seeds:Q"),
            "note:N",
        ),
    )
    value = alt.X("value:Q", title=words, scale=scale, axis=x_axis)
    means = base.mark_tick(color=ACCENT, thickness=2, size=14).encode(
        x=alt.X("mean:Q", title=words, scale=scale, axis=x_axis)
    )
    title = alt.TitleParams(named, anchor="start", fontSize=12, offset=4)
    layers = [*dots(base, value=value, low="low", high="high", colour=colour), means, beside(base, "words")]
    return alt.layer(*layers).properties(width=_WIDTH, height=alt.Step(26), title=title)


def _words(row: Mapping[Any, Any]) -> str:
    """What stands beside a row: the counts, and the mean of the runs with its standard error."""
    if pd.isna(row["value"]):
        return "undefined"
    counts = f"{row['right']:.0f} of {row['cases']:.0f}" if not pd.isna(row["right"]) else f"{row['value']:.2f}"
    return counts if pd.isna(row["se"]) else f"{counts}, {row['mean']:.2f} ± {row['se']:.2f}"
