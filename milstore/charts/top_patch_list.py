"""`top-patch-list`: the most or least attended patches of a case, and the weights that made them so."""

from typing import Any

import altair as alt
import pandas as pd

from milstore.charts.attended import all_stains, case_names, patch_names, times_even
from milstore.charts.case_rows import row_step
from milstore.charts.theme import NEUTRAL, WIDTH, About, stain_colour, themed, titled
from milstore.charts.tooltips import PATCH, told

MOST_IN_DETAIL = 3
MOST_BARS = 200
MOST_MARKS = 4500
_LEVELS = (
    ("stain_attention", "stain"),
    ("slice_attention", "× slice"),
    ("patch_attention", "× patch"),
)
_SMALLEST = 1e-6
"""Where the logarithmic axis ends, in even shares."""


def chart(frame: pd.DataFrame, about: About) -> Any:
    """For few cases, a row a patch with its weight at each level; for many, a row a case with a mark a patch."""
    about = all_stains(frame, about)
    frame = frame.assign(
        case=case_names(frame),
        patch="#" + frame["rank"].astype(str) + "  " + patch_names(frame),
        words=[times_even(value) for value in frame["times_even"]],
    )
    cases = frame.groupby(["run_id", "case_id"], sort=False)
    if cases.ngroups > MOST_IN_DETAIL or len(frame) > MOST_BARS:
        each = MOST_MARKS // cases.ngroups
        notes = [
            *about.notes,
            *([f"The chart shows the first {each} of each case."] if cases.size().max() > each else []),
        ]
        title = titled(About(title=about.title, subtitle=about.subtitle, notes=notes))
        return themed(_overview(cases.head(each), about).properties(title=title))
    panels = [_case(of_case, about) for _, of_case in cases]
    return themed(alt.vconcat(*panels, spacing=24).properties(title=titled(about)))


def _case(frame: pd.DataFrame, about: About) -> Any:
    first = frame.iloc[0]
    words = (
        f"case {first['case_id']} ({first['true_class']}, called {first['outcome']}), {first['case_patches']} patches"
    )
    panels = [_effective(frame, about), *(_level(frame, about, field, title) for field, title in _LEVELS)]
    title = alt.TitleParams(words, fontSize=12, fontWeight="normal", anchor="start")
    return alt.hconcat(*panels, spacing=10, title=title)


def _y(*, named: bool) -> alt.Y:
    axis = alt.Axis(ticks=False, domain=False, labelLimit=260) if named else None
    return alt.Y("patch:N", sort=None, title=None, axis=axis)


def _effective(frame: pd.DataFrame, about: About) -> Any:
    highest = max(float(frame["effective_attention"].max()), 1e-30)
    base = alt.Chart(frame).encode(y=_y(named=True), tooltip=_tooltip())
    scale = alt.Scale(domain=[0, highest * 1.35], nice=False)
    axis = alt.Axis(tickCount=3, format="~g")
    x = alt.X("effective_attention:Q", title=["effective attention", "(times the even share)"], scale=scale, axis=axis)
    bars = base.mark_bar(height={"band": 0.7}).encode(x=x, color=stain_colour(about))
    text = base.mark_text(align="left", dx=4, fontSize=10, color=NEUTRAL).encode(x=x, text="words:N")
    return alt.layer(bars, text).properties(width=190, height=alt.Step(20))


def _level(frame: pd.DataFrame, about: About, field: str, title: str) -> Any:
    base = alt.Chart(frame).encode(y=_y(named=False), tooltip=_tooltip())
    x = alt.X(
        f"{field}:Q", title=[title, "attention"], scale=alt.Scale(domain=[0, 1.45]), axis=alt.Axis(values=[0, 0.5, 1])
    )
    bars = base.mark_bar(height={"band": 0.7}).encode(x=x, color=stain_colour(about))
    text = base.mark_text(align="left", dx=3, fontSize=9, color=NEUTRAL).encode(
        x=x, text=alt.Text(f"{field}:Q", format=".2g")
    )
    return alt.layer(bars, text).properties(width=78, height=alt.Step(20))


def _tooltip() -> list[alt.Tooltip]:
    return told(*PATCH, "times_even:Q", *(f"{field}:Q" for field, _ in _LEVELS))


def _overview(frame: pd.DataFrame, about: About) -> Any:
    frame = frame.assign(shown=frame["times_even"].clip(lower=_SMALLEST))
    n_cases = frame["case"].nunique()
    base = alt.Chart(frame)
    axis = alt.Axis(ticks=False, domain=False, grid=True, labelFontSize=9, labelOverlap=False)
    title = "times the even share, 1 / patches of the case (logarithmic)"
    points = base.mark_tick(thickness=2.5, opacity=0.75, height=row_step(n_cases) * 0.8).encode(
        x=alt.X("shown:Q", title=title, scale=alt.Scale(type="log"), axis=alt.Axis(format="~g", tickCount=8)),
        y=alt.Y("case:N", sort=None, title="case (* called wrong)", axis=axis),
        color=stain_colour(about),
        tooltip=_tooltip(),
    )
    even = alt.Chart(pd.DataFrame({"x": [1.0]})).mark_rule(color=NEUTRAL, strokeDash=[4, 3]).encode(x="x:Q")
    return alt.layer(even, points).properties(width=WIDTH - 40, height=alt.Step(row_step(n_cases)))
