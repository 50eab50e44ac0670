"""`slice-attention`: the slices' weights in each stain, against the weight of an even spread."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from milstore.charts.answer_line import answered
from milstore.charts.attended import all_stains, called, slice_names
from milstore.charts.strips import classes_of
from milstore.charts.theme import ACCENT, WIDTH, About, class_colour, outcome_shape, stain_colours, themed
from milstore.charts.tooltips import SLICE, told

MOST_POINTS = 4000
_WIDTH = 480
_MARKS = {"slice attention": "slice_attention", "even over the slices": "even", "even over the patches": "by_patches"}


def chart(frame: pd.DataFrame, about: About) -> Any:
    """For one case, each slice's weight in its stain; for several, the top slice's share against the number of slices."""
    about = all_stains(frame, about)
    frame = frame.assign(slice=slice_names(frame))
    if frame.groupby(["run_id", "case_id"]).ngroups > 1:
        left_out = int((frame["slice_rank"] == 1).sum()) - MOST_POINTS
        notes = ["Dashed: the weight if all slices of the stain weighed the same."]
        notes += [f"{left_out} points are left out."] if left_out > 0 else []
        return themed(_overview(frame, about).properties(title=answered(about, _cohort_answer(frame, about), notes)))
    stains = [stain for stain in about.stains if stain in set(frame["stain"])]
    highest = min(1.0, 1.15 * float(frame[["slice_attention", "even", "by_patches"]].max().max()))
    panels = [_stain(frame[frame["stain"] == stain], about, highest, last=stain == stains[-1]) for stain in stains]
    title = answered(about, _case_answer(frame, stains))
    return themed(alt.vconcat(*panels, spacing=10).resolve_scale(x="shared", shape="shared").properties(title=title))


def _case_answer(frame: pd.DataFrame, stains: list[str]) -> list[str]:
    """Which slice of each stain weighs most, how much, and how much an even spread would give."""
    first = frame.iloc[0]
    said = []
    for stain in stains:
        rows = frame[frame["stain"] == stain]
        top = rows.iloc[0]
        if len(rows) == 1:
            said.append(f"{stain}: {top['slice_name']} alone")
        elif top["top_slices"] > 1:
            said.append(f"{stain}: no top slice, {top['top_slices']} of {len(rows)} weigh the same")
        else:
            said.append(f"{stain}: {top['slice_name']} takes {top['top_share']:.0%} (even: {top['even']:.0%})")
    return [f"Case {first['case_id']} ({called(first)}), top slice of each stain: {'; '.join(said)}."]


def _cohort_answer(frame: pd.DataFrame, about: About) -> list[str]:
    """By class, how many times the even weight the top slice has, over the stains with two slices or more."""
    tops = frame[(frame["slice_rank"] == 1) & (frame["stain_slices"] > 1)]
    if tops.empty:
        return ["Every case has one slice of each stain: there is nothing to choose between."]
    lines = []
    for name in classes_of(tops, about):
        of_class = tops[tops["true_class"] == name]
        lift = of_class["top_share"] * of_class["stain_slices"]
        lines.append(
            f"{name}: the top slice of a stain has {lift.median():.1f} times the even weight (median of {len(of_class)} stains "
            f"with two slices or more; quartiles {lift.quantile(0.25):.1f} to {lift.quantile(0.75):.1f})."
        )
    return lines


def _stain(rows: pd.DataFrame, about: About, highest: float, *, last: bool) -> Any:
    """A dot a slice, with the marks of an even spread over slices and over patches; the stain's weight stands above."""
    names = list(rows["slice_name"].fillna("slice " + rows["slice_idx"].astype(str)))
    rows = rows.assign(name=names, words=[f"{value:.0%}" for value in rows["slice_attention"]])
    several = pd.concat([rows.assign(mark=mark, value=rows[column]) for mark, column in _MARKS.items()])
    axis = alt.Axis(ticks=False, domain=False, minExtent=90, maxExtent=90, labelLimit=86)
    y = alt.Y("name:N", sort=names, title=None, axis=axis)
    scale = alt.Scale(domain=[0, highest], nice=False)
    x = alt.X(
        "value:Q",
        title="slice attention, share of its stain's" if last else None,
        scale=scale,
        axis=alt.Axis(format="%", labels=last, ticks=last),
    )
    shape = alt.Shape(
        "mark:N",
        title=None,
        scale=alt.Scale(domain=list(_MARKS), range=["circle", "diamond", "triangle-down"]),
        legend=alt.Legend(orient="bottom", direction="horizontal", symbolFillColor=ACCENT, symbolStrokeWidth=0),
    )
    colour = stain_colours(about.stains)[list(about.stains).index(rows["stain"].iloc[0])]
    own = alt.FieldEqualPredicate(field="mark", equal=next(iter(_MARKS)))
    base = alt.Chart(several).encode(y=y, tooltip=_tooltip())
    alone = alt.Chart(rows).encode(y=y)
    line = alone.mark_rule(color="#D1D5DB").encode(x=alt.X("even:Q", scale=scale), x2="slice_attention:Q")
    points = base.mark_point(filled=True, size=58, opacity=1).encode(
        x=x, shape=shape, color=alt.when(own).then(alt.value(colour)).otherwise(alt.value("#6B7280"))
    )
    text = alone.mark_text(align="left", fontSize=10, color=ACCENT).encode(x=alt.value(_WIDTH + 6), text="words:N")
    words = f"{rows['stain'].iloc[0]}, {rows['stain_attention'].iloc[0]:.0%} of the case's attention"
    layers = alt.layer(line, points, text)
    return layers.properties(width=_WIDTH, height=alt.Step(19), title=_small([words]))


def _overview(frame: pd.DataFrame, about: About) -> Any:
    """A point a case and stain, with the line of an even spread."""
    tops = frame[frame["slice_rank"] == 1]
    tops = tops.head(MOST_POINTS).assign(
        jitter=lambda rows: rows["stain_slices"] + [((i * 0.618034) % 1 - 0.5) * 0.5 for i in range(len(rows))]
    )
    stains = [stain for stain in about.stains if stain in set(tops["stain"])]
    most = int(tops["stain_slices"].max())
    curve = pd.DataFrame({"n": np.linspace(1, most, 200)}).assign(even=lambda rows: 1 / rows["n"])
    panels = []
    for stain in stains:
        of_stain = tops[tops["stain"] == stain]
        several = int((of_stain["stain_slices"] > 1).sum())
        words = [stain, f"{several} of {len(of_stain)} cases have two slices or more"]
        points = (
            alt.Chart(of_stain)
            .mark_point(size=34, strokeWidth=1.4, opacity=0.8)
            .encode(
                x=alt.X(
                    "jitter:Q",
                    title="slices of the stain",
                    axis=alt.Axis(tickMinStep=1, format="d"),
                    scale=alt.Scale(domain=[0.5, most + 0.5], nice=False),
                ),
                y=alt.Y(
                    "top_share:Q",
                    title="slice attention of the top slice",
                    axis=alt.Axis(format="%"),
                    scale=alt.Scale(domain=[0, 1.02], nice=False),
                ),
                color=class_colour(about).legend(orient="bottom"),
                shape=outcome_shape().legend(orient="bottom"),
                tooltip=_tooltip(),
            )
        )
        line = alt.Chart(curve).mark_line(color=ACCENT, strokeDash=[5, 4], strokeWidth=1.4).encode(x="n:Q", y="even:Q")
        panels.append(
            alt.layer(line, points).properties(width=WIDTH / len(stains) - 45, height=300, title=_small(words))
        )
    return alt.hconcat(*panels, spacing=20).resolve_scale(y="shared")


def _small(words: list[str]) -> alt.TitleParams:
    return alt.TitleParams(
        words[0], subtitle=words[1:], fontSize=12, fontWeight="normal", subtitleFontSize=10, anchor="start"
    )


def _tooltip() -> list[alt.Tooltip]:
    return told(
        *SLICE,
        "slice_attention:Q",
        alt.Tooltip("even:Q", title="even over slices", format=".3g"),
        alt.Tooltip("by_patches:Q", title="even over patches", format=".3g"),
        "stain_attention:Q",
        "true_class:N",
        "outcome:N",
    )
