"""`slice-pattern`: whether attention in slices is a spike, a region or diffuse, by class and outcome."""

from typing import Any

import altair as alt
import pandas as pd

from milstore.analysis.pattern import PATTERNS
from milstore.charts.answer_line import answered
from milstore.charts.attended import all_stains
from milstore.charts.strips import classes_of
from milstore.charts.theme import ACCENT, NEUTRAL, About, themed
from milstore.charts.tooltips import SLICE, told
from milstore.charts.within import FADED, asked_for, whose

WITHIN_COHORT = True

COLOURS = ("#1F2937", "#7C3AED", "#CBD5E1", "#F1F5F9")
"""Of spike, region, diffuse and too few: none is the colour of a class or of a stain."""
_SHAPES = ("triangle-up", "square", "circle", "cross")
MOST_POINTS = 2000


def chart(frame: pd.DataFrame, about: About) -> Any:
    """For each class and outcome, how many slices are of each pattern; and every slice by the two chief measures."""
    about = all_stains(frame, about)
    groups = _groups(frame, about)
    frame = frame.assign(group=frame["true_class"] + " called " + frame["outcome"])
    above = alt.hconcat(
        _counts(frame, groups, "slices", "share of the slices", named=True),
        _counts(frame, groups, "attention", "share of the attention", named=False),
        spacing=14,
    )
    stains = [stain for stain in about.stains if stain in set(frame["stain"])]
    below = alt.hconcat(*(_scatter(frame, stain, about, first=stain == stains[0]) for stain in stains), spacing=18)
    parts = alt.vconcat(above, below.resolve_scale(y="shared"), spacing=26).resolve_scale(
        color="independent", shape="independent"
    )
    words = "Spike: one patch, or lone ones, hold the attention; region: patches that lie together; diffuse: the rest."
    notes = [words, "Below, dashed: half of the slice in one patch, and attention on half as many patches."]
    if about.cases:
        notes.append(f"Ringed: slices of {whose(about)}; the others are paler.")
    title = answered(about, _answer(frame, about), notes)
    return themed(parts.properties(title=title))


def _answer(frame: pd.DataFrame, about: About) -> list[str]:
    """By class, how many of the slices are spikes and regions; of the cases that were asked for, each."""
    lines = []
    for name in classes_of(frame, about):
        counts = frame.loc[frame["true_class"] == name, "pattern"].value_counts()
        said = ", ".join(f"{counts[pattern]} {pattern}" for pattern in PATTERNS if counts.get(pattern))
        lines.append(f"{name}: of {counts.sum()} slices {said}.")
    for case, rows in frame[asked_for(frame, about)].groupby("case_id", sort=False):
        said = ", ".join(f"{row['stain']} {row['slice_name']} {row['pattern']}" for _, row in rows.head(6).iterrows())
        lines.append(f"Case {case}: {said}{f' and {len(rows) - 6} more' if len(rows) > 6 else ''}.")
    return lines


def _groups(frame: pd.DataFrame, about: About) -> list[str]:
    """Class and outcome, in the order of the classes, right before wrong."""
    classes = dict.fromkeys([*about.class_names, *frame["true_class"]])
    there = set(frame["true_class"] + " called " + frame["outcome"])
    return [name for c in classes for name in (f"{c} called right", f"{c} called wrong") if name in there]


def _colour(*, legend: bool = True) -> alt.Color:
    scale = alt.Scale(domain=list(PATTERNS), range=list(COLOURS))
    return alt.Color("pattern:N", scale=scale, title="pattern", legend=alt.Legend(orient="bottom") if legend else None)


def _counts(frame: pd.DataFrame, groups: list[str], what: str, title: str, *, named: bool) -> Any:
    """A bar a group, cut into patterns, by number of slices or by the attention that they hold."""
    found = frame.groupby(["group", "pattern"]).agg(
        slices=("pattern", "size"), attention=("slice_effective_attention", "sum")
    )
    found = found.reset_index()
    whole = found.groupby("group")[what].transform("sum")
    found = found.assign(share=found[what] / whole, order=found["pattern"].map(PATTERNS.index)).sort_values(
        ["group", "order"]
    )
    cases = frame.drop_duplicates(["run_id", "case_id"])["group"].value_counts()
    names = {g: f"{g} ({cases[g]} case{'s' if cases[g] > 1 else ''})" for g in groups}
    found = found.assign(
        name=found["group"].map(names),
        middle=found.groupby("group")["share"].cumsum() - found["share"] / 2,
        words=found["slices"].astype(str) if what == "slices" else found["share"].map("{:.0%}".format),
    )
    axis = alt.Axis(ticks=False, domain=False, labelLimit=200) if named else None
    y = alt.Y("name:N", sort=list(names.values()), title=None, axis=axis)
    base = alt.Chart(found).encode(y=y)
    bars = base.mark_bar(height={"band": 0.75}, stroke="white").encode(
        x=alt.X("share:Q", title=title, axis=alt.Axis(format="%", tickCount=5), scale=alt.Scale(domain=[0, 1])),
        color=_colour(legend=False),
        order="order:Q",
        tooltip=[
            alt.Tooltip("name:N", title="cases"),
            "pattern:N",
            "slices:Q",
            alt.Tooltip("share:Q", title=title, format=".1%"),
        ],
    )
    text = (
        base.transform_filter("datum.share > 0.05")
        .mark_text(fontSize=11)
        .encode(
            x="middle:Q",
            text="words:N",
            color=alt.condition("datum.order < 2", alt.value("white"), alt.value(ACCENT)),
        )
    )
    return alt.layer(bars, text).properties(width=178, height=alt.Step(28))


def _scatter(frame: pd.DataFrame, stain: str, about: About, *, first: bool) -> Any:
    """The slices of a stain, those of most attention first where there are too many."""
    n_stains = frame["stain"].nunique()
    of_stain = frame[frame["stain"] == stain]
    most = MOST_POINTS // n_stains
    rows = of_stain.nlargest(most, "slice_effective_attention")
    # A case that was asked for is drawn, however little attention its slices have.
    rows = pd.concat([rows, of_stain[asked_for(of_stain, about) & ~of_stain.index.isin(rows.index)]])
    rows = rows.assign(asked=asked_for(rows, about), concentration=rows["effective_patches"] / rows["slice_patches"])
    words = [stain, f"{len(of_stain)} slices" + (f", {most} of most attention shown" if len(of_stain) > most else "")]
    shape = alt.Shape(
        "pattern:N",
        scale=alt.Scale(domain=list(PATTERNS), range=list(_SHAPES)),
        title="pattern",
        legend=alt.Legend(orient="bottom"),
    )
    axis = alt.Axis(
        title="share of the highest patch" if first else None, labels=first, ticks=first, domain=first, format="%"
    )
    points = (
        alt.Chart(rows)
        .mark_point(filled=True, opacity=FADED if about.cases else 0.85, size=32, stroke="#475569", strokeWidth=0.5)
        .encode(
            x=alt.X(
                "concentration:Q",
                title="effective patches / patches",
                axis=alt.Axis(format="%", values=[0, 0.5, 1]),
                scale=alt.Scale(domain=[0, 1.02], nice=False),
            ),
            y=alt.Y("peak_share:Q", axis=axis, scale=alt.Scale(domain=[0, 1.02], nice=False)),
            color=_colour(legend=True),
            shape=shape,
            tooltip=told(
                *SLICE,
                "pattern:N",
                alt.Tooltip("group:N", title="case is"),
                alt.Tooltip("peak_share:Q", title="highest patch", format=".1%"),
                "effective_patches:Q",
                alt.Tooltip("longest_run:Q", title="longest run"),
                alt.Tooltip("moran_i:Q", title="Moran's I", format=".2f"),
                alt.Tooltip("moran_p:Q", title="its p-value", format=".3f"),
                "slice_effective_attention:Q",
            ),
        )
    )
    limits = alt.Chart(pd.DataFrame({"x": [0.5], "y": [0.5]}))
    rules = [
        limits.mark_rule(color=NEUTRAL, strokeDash=[4, 3]).encode(x="x:Q"),
        limits.mark_rule(color=NEUTRAL, strokeDash=[4, 3]).encode(y="y:Q"),
    ]
    title = alt.TitleParams(
        words[0], subtitle=words[1:], fontSize=12, fontWeight="normal", subtitleFontSize=10, anchor="start"
    )
    rings = (
        alt.Chart(rows[rows["asked"]])
        .mark_point(size=130, strokeWidth=2, color=ACCENT, shape="circle")
        .encode(x="concentration:Q", y="peak_share:Q")
    )
    return alt.layer(*rules, points, *([rings] if rows["asked"].any() else [])).properties(
        width=500 / n_stains - 26, height=210, title=title
    )
