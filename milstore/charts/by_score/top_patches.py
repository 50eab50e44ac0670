"""`top-patches` by a score: how many of a case's patches of highest score each stain and slice holds, and what is even."""

from typing import Any

import altair as alt
import pandas as pd

from milstore.charts.answer_line import answered
from milstore.charts.attended import MOST_CASE_ROWS, all_stains, called
from milstore.charts.by_score.signed import between, number, of_models, score_of, score_title, span, zero_rule
from milstore.charts.strips import NOTE, classes_of, strips
from milstore.charts.theme import ACCENT, About, stain_colour, themed
from milstore.charts.tooltips import told
from milstore.charts.top_patches import MOST_IN_DETAIL, TEXT, count_bars, count_words, lift_panel, small, with_names
from milstore.store.names import counted


def chart(frame: pd.DataFrame, about: About) -> Any:
    """For few cases, a row a stain and a slice; for many, each stain's share of the top patches by class, and its scores."""
    about = all_stains(frame, about)
    frame = with_names(frame, about)
    cases = frame.groupby(["run_id", "case_id"], sort=False)
    if cases.ngroups <= MOST_IN_DETAIL:
        panels = [_case(of_case, about, several=cases.ngroups > 1) for _, of_case in cases]
        answer = [_case_answer(rows, about) for _, rows in cases]
        notes = ["Right: the highest score (dot, with its number) and the mean (tick) of the patches."]
        return themed(alt.vconcat(*panels, spacing=30, title=answered(about, answer, notes)))
    shown = frame[cases.ngroup() < MOST_CASE_ROWS]
    notes = [NOTE]
    if len(shown) < len(frame):
        notes.append(f"Drawn are the first {MOST_CASE_ROWS} of {cases.ngroups} cases.")
    notes += of_models(frame)
    title = answered(about, _cohort_answer(frame, about), notes)
    return themed(_overview(shown, about).properties(title=title))


def _case_answer(frame: pd.DataFrame, about: About) -> str:
    """Which scores the top patches have, and where they lie; or that names decide which they are."""
    first = frame.iloc[0]
    start = f"Case {first['case_id']} ({called(first)}): "
    top, of, tied = (int(first[name]) for name in ("case_top_patches", "case_patches", "case_tied_patches"))
    if tied == top:
        return (
            f"{start}no patch stands out by {score_of(about)}: all of the top {top} tie with one left out, and names decide "
            "which these are."
        )
    touched = int((frame["top_patches"] > 0).sum())
    stains = frame.drop_duplicates("stain").sort_values("stain_top_patches", ascending=False, kind="stable")
    where = ", ".join(f"{row['stain']} {row['stain_top_patches']}" for _, row in stains.iterrows())
    but = f" ({tied} tie with one left out)" if tied else ""
    return (
        f"{start}the top {top} of {of:,} patches have a {score_of(about)} of "
        f"{between(first['case_cut_score'], first['case_highest_score'])}; they lie in {touched} of {len(frame)} slices: {where}{but}."
    )


def _cohort_answer(frame: pd.DataFrame, about: About) -> list[str]:
    """By class, the stain that has most more of the top patches than an even spread would give."""
    lines = []
    for name in classes_of(frame, about):
        of_class = frame[frame["true_class"] == name]
        cases = of_class.drop_duplicates(["run_id", "case_id"])
        stains = of_class.drop_duplicates(["run_id", "case_id", "stain"])
        top = stains.groupby("stain")["stain_top_patches"].sum() / cases["case_top_patches"].sum()
        every = stains.groupby("stain")["stain_patches"].sum() / cases["case_patches"].sum()
        there = [stain for stain in about.stains if stain in top.index]
        most = max(there, key=lambda stain: float(top[stain] - every[stain]))
        lines.append(
            f"{name}: {most} has {top[most]:.0%} of the patches of highest {score_of(about)}, and {every[most]:.0%} of all "
            f"patches ({counted(len(cases), 'case')})."
        )
    return lines


def _case(frame: pd.DataFrame, about: About, *, several: bool) -> Any:
    """One case: a row for each stain, then one for each slice, with the number of top patches and their scores."""
    first = frame.iloc[0]
    of_stain = frame.groupby("stain")
    weighed = (frame["mean_score"] * frame["slice_patches"]).groupby(frame["stain"]).sum()
    stains = frame.drop_duplicates("stain")
    stains = stains.assign(
        row=stains["stain"],
        count=stains["stain_top_patches"],
        lift=stains["stain_lift"],
        even=stains["stain_even"],
        patches=stains["stain_patches"],
        tied=stains["stain"].map(of_stain["tied_patches"].sum()),
        highest_score=stains["stain"].map(of_stain["highest_score"].max()),
        mean_score=stains["stain"].map(weighed / of_stain["slice_patches"].sum()),
    )
    slices = frame.assign(
        row=frame["slice"], count=frame["top_patches"], patches=frame["slice_patches"], tied=frame["tied_patches"]
    )
    longest = float(max(stains["count"].max(), stains["even"].max()))
    ends = span(pd.concat([frame["highest_score"], frame["mean_score"]]))
    # Rows of stains and of slices stand below each other: their names take the same room.
    extent = min(170, 16 + round(6.2 * max(map(len, slices["row"]))))
    return alt.vconcat(
        _rows(stains, about, longest, ends, extent, last=False, step=22),
        _rows(slices, about, longest, ends, extent, last=True, step=18),
        spacing=6,
        title=small(f"case {first['case_id']}") if several else alt.Undefined,
    )


def _rows(
    rows: pd.DataFrame, about: About, longest: float, ends: list[float], extent: int, *, last: bool, step: int
) -> Any:
    """A bar of how many top patches a row has, with the number of an even spread; beside it its highest and mean score."""
    rows = rows.assign(words=count_words(rows), written=[number(score) for score in rows["highest_score"]])
    counts = count_bars(rows, about, longest, extent, _tooltip(), last=last, step=step)
    colour = stain_colour(about).legend(orient="bottom", direction="horizontal")
    base = alt.Chart(rows).encode(y=alt.Y("row:N", sort=None, axis=None), tooltip=_tooltip())
    wide = ends[1] - ends[0]
    scale = alt.Scale(domain=[ends[0] - 0.03 * wide, ends[1] + 0.28 * wide], nice=False)
    title = score_title(about) if last else None
    # A number that hung over the edge would push this panel aside from the one above it.
    axis = alt.Axis(labels=last, tickCount=4, labelFlush=8)
    score = alt.X("highest_score:Q", title=title, scale=scale, axis=axis)
    scores = alt.layer(
        zero_rule(x="zero:Q"),
        base.mark_circle(size=50, opacity=1).encode(x=score, color=colour),
        base.mark_tick(color=ACCENT, thickness=2, height=step * 0.6).encode(x="mean_score:Q"),
        base.mark_text(**TEXT).encode(x=score, text="written:N"),
    )
    return alt.hconcat(counts, scores.properties(width=225, height=alt.Step(step)), spacing=14)


def _tooltip() -> list[alt.Tooltip]:
    return told(
        "case_id:N",
        alt.Tooltip("row:N", title="stain or slice"),
        alt.Tooltip("count:Q", title="top patches"),
        alt.Tooltip("tied:Q", title="of these tied with one left out"),
        alt.Tooltip("even:Q", title="in an even spread", format=".2f"),
        "lift:Q",
        alt.Tooltip("patches:Q", title="patches"),
        "highest_score:Q",
        "mean_score:Q",
    )


def _overview(frame: pd.DataFrame, about: About) -> Any:
    """Many cases: each stain's top patches over those of an even spread, and its highest score, by class."""
    highest = frame.groupby(["run_id", "case_id", "stain"], sort=False)["highest_score"].max().rename("stain_highest")
    rows = frame.drop_duplicates(["run_id", "case_id", "stain"]).merge(
        highest.reset_index(), on=["run_id", "case_id", "stain"]
    )
    stains = [stain for stain in about.stains if stain in set(rows["stain"])]
    tooltip = told(
        "case_id:N", "stain:N", "true_class:N", "outcome:N", "stain_top_patches:Q", "case_top_patches:Q", "stain_lift:Q",
        alt.Tooltip("stain_highest:Q", title="highest score", format=".3g"),
    )  # fmt: skip
    kept = [
        "case_id", "run_id", "stain", "true_class", "outcome", "stain_top_patches", "case_top_patches", "stain_lift",
        "stain_highest",
    ]  # fmt: skip
    counts = lift_panel(rows[kept], about, stains, tooltip)
    y = alt.Y("value:Q", title=score_title(about), axis=alt.Axis(tickCount=5))
    scores = strips(
        rows[kept].assign(group=rows["stain"], value=rows["stain_highest"]),
        about, groups=stains, y=y, tooltip=tooltip, width=258, height=210,
    )  # fmt: skip
    return alt.hconcat(
        counts,
        alt.layer(zero_rule(y="zero:Q"), scores, title=small("Highest score of each stain's patches (line: 0)")),
        spacing=22,
    ).resolve_scale(color="independent", shape="independent")
