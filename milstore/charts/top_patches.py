"""`top-patches`: how many of a case's top patches each stain and slice holds, beside what an even spread would give."""

from typing import Any

import altair as alt
import pandas as pd

from milstore.charts.attended import MOST_CASE_ROWS, all_stains, case_names, slice_names
from milstore.charts.case_rows import row_step
from milstore.charts.theme import ACCENT, NEUTRAL, About, stain_colour, themed, titled
from milstore.charts.tooltips import told

MOST_IN_DETAIL = 4
"""Cases that are drawn slice by slice; more are drawn a row each."""
_EVEN = "number of top patches (black tick: in an even spread)"


def chart(frame: pd.DataFrame, about: About) -> Any:
    """For few cases, bars a stain and a slice with the even spread marked; for many, a row a case."""
    about = all_stains(frame, about)
    frame = _named(frame, about)
    cases = frame.groupby(["run_id", "case_id"], sort=False)
    if cases.ngroups > MOST_IN_DETAIL:
        shown = frame[cases.ngroup() < MOST_CASE_ROWS]
        more = [f"The first {MOST_CASE_ROWS} of {cases.ngroups} cases."] if len(shown) < len(frame) else []
        title = titled(About(title=about.title, subtitle=about.subtitle, notes=[*about.notes, *more]))
        return themed(_overview(shown, about).properties(title=title))
    panels = [_case(of_case, about) for _, of_case in cases]
    return themed(alt.vconcat(*panels, spacing=30, title=titled(about)))


def _named(frame: pd.DataFrame, about: About) -> pd.DataFrame:
    names = dict(enumerate(about.class_names))
    frame = frame.assign(
        outcome=(frame["true_label"] == frame["pred_label"]).map({True: "right", False: "wrong"}),
        true_class=[names.get(label, f"class {label}") for label in frame["true_label"]],
        pred_class=[names.get(label, f"class {label}") for label in frame["pred_label"]],
        slice=slice_names(frame),
        even=frame["case_top_patches"] * frame["slice_patches"] / frame["case_patches"],
        stain_even=frame["case_top_patches"] * frame["stain_patches"] / frame["case_patches"],
    )
    return frame.assign(case=case_names(frame))


def _case(frame: pd.DataFrame, about: About) -> Any:
    """One case: a bar for each stain, then one for each slice."""
    first = frame.iloc[0]
    touched = int((frame["top_patches"] > 0).sum())
    words = (
        f"case {first['case_id']} ({first['true_class']}, called {first['pred_class']}): "
        f"top {first['case_top_patches']} of {first['case_patches']} patches, in {touched} of {len(frame)} slices"
    )
    stains = frame.drop_duplicates("stain").assign(row=lambda rows: rows["stain"])
    stains = stains.assign(count=stains["stain_top_patches"], lift=stains["stain_lift"], even=stains["stain_even"])
    slices = frame.assign(row=frame["slice"], count=frame["top_patches"])
    longest = float(max(stains["count"].max(), stains["even"].max()))
    title = alt.TitleParams(words, fontSize=12, fontWeight="normal", anchor="start")
    return alt.vconcat(
        _bars(stains, about, longest, title=None, step=22),
        _bars(slices, about, longest, title=_EVEN, step=17),
        spacing=6,
        title=title,
    )


def _bars(rows: pd.DataFrame, about: About, longest: float, *, title: str | None, step: int) -> Any:
    rows = rows.assign(words=[f"{n}  (×{lift:.2g})" for n, lift in zip(rows["count"], rows["lift"], strict=True)])
    base = alt.Chart(rows).encode(
        y=alt.Y("row:N", sort=None, title=None, axis=alt.Axis(minExtent=110, ticks=False, domain=False)),
        tooltip=told(
            "case_id:N",
            alt.Tooltip("row:N", title="stain or slice"),
            alt.Tooltip("count:Q", title="top patches"),
            alt.Tooltip("even:Q", title="in an even spread", format=".2f"),
            "lift:Q",
            "slice_patches:Q",
            "stain_patches:Q",
        ),
    )
    scale = alt.Scale(domain=[0, max(1.0, longest * 1.12)], nice=False)
    axis = alt.Axis(tickMinStep=1, format="d", labels=title is not None)
    x = alt.X("count:Q", title=title, scale=scale, axis=axis)
    bars = base.mark_bar(height={"band": 0.7}).encode(x=x, color=stain_colour(about))
    ticks = base.mark_tick(color=ACCENT, thickness=2.5, height=step * 0.85).encode(x="even:Q")
    far = "max(datum.count, datum.even)"
    labels = (
        base.transform_calculate(end=far)
        .mark_text(align="left", dx=6, fontSize=10, color=NEUTRAL)
        .encode(x="end:Q", text="words:N")
    )
    return alt.layer(bars, ticks, labels, width=560, height=alt.Step(step))


def _overview(frame: pd.DataFrame, about: About) -> Any:
    """Many cases: the stains' shares of the top patches beside their shares of all patches."""
    order = {stain: i for i, stain in enumerate(about.stains)}
    rows = frame.drop_duplicates(["run_id", "case_id", "stain"])
    rows = rows.assign(
        of_top=rows["stain_top_patches"] / rows["case_top_patches"],
        of_all=rows["stain_patches"] / rows["case_patches"],
        order=rows["stain"].map(order),
    )
    classes = list(dict.fromkeys([*about.class_names, *rows["true_class"]]))
    n_cases = rows["case"].nunique()
    panels = []
    for name in classes:
        of_class = rows[rows["true_class"] == name]
        if len(of_class):
            pair = [
                _shares(of_class, about, "of_top", "share of the top patches", n_cases, named=True),
                _shares(of_class, about, "of_all", "share of all patches (even spread)", n_cases, named=False),
            ]
            words = alt.TitleParams(f"{name} cases (* called wrong)", fontSize=12, fontWeight="normal", anchor="start")
            panels.append(alt.hconcat(*pair, spacing=16, title=words))
    return alt.vconcat(*panels, spacing=14)


def _shares(rows: pd.DataFrame, about: About, field: str, title: str, n_cases: int, *, named: bool) -> Any:
    side = alt.Axis(title=None, ticks=False, domain=False, labelFontSize=9, labelOverlap=False)
    return (
        alt.Chart(rows)
        .mark_bar(height={"band": 0.8})
        .encode(
            x=alt.X(f"{field}:Q", title=title, axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
            y=alt.Y("case:N", sort=None, axis=side if named else None),
            color=stain_colour(about),
            order="order:Q",
            tooltip=told(
                "case_id:N",
                "stain:N",
                "true_class:N",
                "outcome:N",
                "stain_top_patches:Q",
                "case_top_patches:Q",
                "stain_lift:Q",
            ),
        )
        .properties(width=310, height=alt.Step(row_step(n_cases)))
    )
