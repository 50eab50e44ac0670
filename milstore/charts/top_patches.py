"""`top-patches`: how many of a case's top patches each stain and slice holds, how much attention, and what is even."""

from typing import Any

import altair as alt
import pandas as pd

from milstore.charts.answer_line import answered
from milstore.charts.attended import MOST_CASE_ROWS, all_stains, called, case_names, slice_names
from milstore.charts.case_rows import row_step
from milstore.charts.strips import NOTE, classes_of, strips
from milstore.charts.theme import ACCENT, NEUTRAL, About, stain_colour, themed
from milstore.charts.tooltips import told

MOST_IN_DETAIL = 4
"""Cases that are drawn slice by slice; more are drawn a row each."""
_EVEN = "top patches (tick: in an even spread)"
_HELD = "attention they hold (of the case's)"
_ROWS = 24
"""Cases that are shown one by one: those whose top patches hold most."""


def chart(frame: pd.DataFrame, about: About) -> Any:
    """For few cases, a row a stain and a slice; for many, each stain's share of them by class, and the rows that matter."""
    about = all_stains(frame, about)
    frame = with_names(frame, about)
    cases = frame.groupby(["run_id", "case_id"], sort=False)
    if cases.ngroups > MOST_IN_DETAIL:
        shown = frame[cases.ngroup() < MOST_CASE_ROWS]
        more = [f"Drawn are the first {MOST_CASE_ROWS} of {cases.ngroups} cases."] if len(shown) < len(frame) else []
        return themed(
            _overview(shown, about).properties(title=answered(about, _cohort_answer(frame, about), [NOTE, *more]))
        )
    panels = [_case(of_case, about, several=cases.ngroups > 1) for _, of_case in cases]
    return themed(alt.vconcat(*panels, spacing=30, title=answered(about, [_case_answer(rows) for _, rows in cases])))


def with_names(frame: pd.DataFrame, about: About) -> pd.DataFrame:
    """With names of classes, slices and cases, and the top patches that an even spread would give."""
    names = dict(enumerate(about.class_names))
    no_label = frame["true_label"].isna()
    frame = frame.assign(
        outcome=(frame["true_label"] == frame["pred_label"])
        .map({True: "right", False: "wrong"})
        .mask(no_label, "no label"),
        true_class=[_class_name(names, label) for label in frame["true_label"]],
        pred_class=[_class_name(names, label) for label in frame["pred_label"]],
        slice=slice_names(frame),
        even=frame["case_top_patches"] * frame["slice_patches"] / frame["case_patches"],
        stain_even=frame["case_top_patches"] * frame["stain_patches"] / frame["case_patches"],
    )
    return frame.assign(case=case_names(frame))


def _class_name(names: dict[int, str], label: float) -> str:
    return "no label" if pd.isna(label) else names.get(int(label), f"class {label:g}")


def _case_answer(frame: pd.DataFrame) -> str:
    """How much the top patches hold, and where they lie; or that names decide which they are."""
    first = frame.iloc[0]
    touched = int((frame["top_patches"] > 0).sum())
    top, of = int(first["case_top_patches"]), int(first["case_patches"])
    start = f"Case {first['case_id']} ({called(first)}): "
    held = f"the top {top} of {of:,} patches hold {first['case_top_attention']:.0%} of the attention"
    tied = int(first["case_tied_patches"])
    if tied == top:
        return (
            f"{start}no patch stands out: all of the top {top} tie with one left out, and names decide which these are."
        )
    stains = frame.drop_duplicates("stain").sort_values("stain_top_patches", ascending=False, kind="stable")
    where = ", ".join(f"{row['stain']} {row['stain_top_patches']}" for _, row in stains.iterrows())
    but = f" ({tied} tie with one left out)" if tied else ""
    return f"{start}{held}; they lie in {touched} of {len(frame)} slices: {where}{but}."


def _cohort_answer(frame: pd.DataFrame, about: About) -> list[str]:
    """By class, what the top patches hold, and the stain that has most more of them than an even spread would give."""
    lines = []
    for name in classes_of(frame, about):
        of_class = frame[frame["true_class"] == name]
        cases = of_class.drop_duplicates(["run_id", "case_id"])
        stains = of_class.drop_duplicates(["run_id", "case_id", "stain"])
        top, lifts = stains.groupby("stain")["stain_top_patches"].sum(), stains.groupby("stain")["stain_patches"].sum()
        shares = {
            stain: (top[stain] / cases["case_top_patches"].sum(), lifts[stain] / cases["case_patches"].sum())
            for stain in about.stains
            if stain in top.index
        }
        most = max(shares, key=lambda stain: shares[stain][0] - shares[stain][1])
        lines.append(
            f"{name}: the top patches hold {cases['case_top_attention'].median():.0%} of a case's attention (median of "
            f"{len(cases)}); {most} has {shares[most][0]:.0%} of them, and {shares[most][1]:.0%} of all patches."
        )
    return lines


def _case(frame: pd.DataFrame, about: About, *, several: bool) -> Any:
    """One case: a row for each stain, then one for each slice, with the number of top patches and what they hold."""
    first = frame.iloc[0]
    stains = frame.drop_duplicates("stain").assign(row=lambda rows: rows["stain"])
    tied = frame.groupby("stain")["tied_patches"].sum()
    stains = stains.assign(
        count=stains["stain_top_patches"],
        lift=stains["stain_lift"],
        even=stains["stain_even"],
        held=stains["stain_top_attention"],
        tied=stains["stain"].map(tied),
    )
    slices = frame.assign(
        row=frame["slice"], count=frame["top_patches"], held=frame["top_attention"], tied=frame["tied_patches"]
    )
    longest = float(max(stains["count"].max(), stains["even"].max()))
    most = float(stains["held"].max())
    # Rows of stains and of slices stand below each other: their names take the same room.
    extent = min(170, 16 + round(6.2 * max(map(len, slices["row"]))))
    title = small(f"case {first['case_id']}") if several else alt.Undefined
    return alt.vconcat(
        _rows(stains, about, longest, most, extent, last=False, step=22),
        _rows(slices, about, longest, most, extent, last=True, step=18),
        spacing=6,
        title=title,
    )


TEXT: dict[str, Any] = {"align": "left", "dx": 6, "fontSize": 10, "color": "#374151"}
"""How a number is written behind a mark."""


def count_words(rows: pd.DataFrame) -> list[str]:
    """What stands behind the bar of each row: its top patches, the lift, and how many of them are tied."""
    return [
        f"{n}  (×{lift:.2g})" + (f", {tied} tied" if tied else "")
        for n, lift, tied in zip(rows["count"], rows["lift"], rows["tied"], strict=True)
    ]


def count_bars(
    rows: pd.DataFrame, about: About, longest: float, extent: int, tooltip: list[alt.Tooltip], *, last: bool, step: int
) -> Any:
    """A bar of how many top patches each row has, with the number of an even spread.

    Args:
        rows: `row` (its name), `count`, `even`, `stain` and `words` (by `count_words`) of each.
        about: what the question was about.
        longest: the longest bar of all panels.
        extent: room for the names, in pixels.
        tooltip: what is told of a row.
        last: whether the axis is written below.
        step: height of a row, in pixels.
    """
    axis = alt.Axis(minExtent=extent, maxExtent=extent, labelLimit=extent - 4, ticks=False, domain=False)
    base = alt.Chart(rows).encode(y=alt.Y("row:N", sort=None, title=None, axis=axis), tooltip=tooltip)
    scale = alt.Scale(domain=[0, max(1.0, longest * 1.3)], nice=False)
    axis = alt.Axis(tickMinStep=1, format="d", labels=last, tickCount=5)
    x = alt.X("count:Q", title=_EVEN if last else None, scale=scale, axis=axis)
    colour = stain_colour(about).legend(orient="bottom", direction="horizontal")
    bars = base.mark_bar(height={"band": 0.62}).encode(x=x, color=colour)
    ticks = base.mark_tick(color=ACCENT, thickness=2.5, height=step * 0.85).encode(x="even:Q")
    labels = base.transform_calculate(end="max(datum.count, datum.even)")
    text = labels.mark_text(**TEXT).encode(x="end:Q", text="words:N")
    return alt.layer(bars, ticks, text).properties(width=265, height=alt.Step(step))


def _rows(rows: pd.DataFrame, about: About, longest: float, most: float, extent: int, *, last: bool, step: int) -> Any:
    """Two bars a row: how many top patches there are, with the number of an even spread, and the attention they hold."""
    rows = rows.assign(words=count_words(rows), percent=[f"{held:.1%}" for held in rows["held"]])
    counts = count_bars(rows, about, longest, extent, _tooltip(), last=last, step=step)
    colour = stain_colour(about).legend(orient="bottom", direction="horizontal")
    base = alt.Chart(rows).encode(y=alt.Y("row:N", sort=None, axis=None), tooltip=_tooltip())
    held = alt.X(
        "held:Q",
        title=_HELD if last else None,
        scale=alt.Scale(domain=[0, min(1.25, max(0.01, most * 1.25))], nice=False),
        # A number, or a title, that hung over the edge would push this panel aside from the one above it.
        axis=alt.Axis(format="%", labels=last, tickCount=4, labelFlush=8),
    )
    shares = alt.layer(
        base.mark_bar(height={"band": 0.62}).encode(x=held, color=colour),
        base.mark_text(**TEXT).encode(x=held, text="percent:N"),
    )
    return alt.hconcat(counts, shares.properties(width=225, height=alt.Step(step)), spacing=14)


def _tooltip() -> list[alt.Tooltip]:
    return told(
        "case_id:N",
        alt.Tooltip("row:N", title="stain or slice"),
        alt.Tooltip("count:Q", title="top patches"),
        alt.Tooltip("tied:Q", title="of these tied with one left out"),
        alt.Tooltip("even:Q", title="in an even spread", format=".2f"),
        "lift:Q",
        alt.Tooltip("held:Q", title="attention they hold", format=".1%"),
        "slice_patches:Q",
        "stain_patches:Q",
    )


def _told_of_stain() -> list[Any]:
    """What is told of a case's top patches of a stain."""
    return told(
        "case_id:N",
        "stain:N",
        "true_class:N",
        "outcome:N",
        "stain_top_patches:Q",
        "case_top_patches:Q",
        "stain_lift:Q",
        alt.Tooltip("stain_top_attention:Q", title="attention they hold", format=".1%"),
    )


def lift_panel(rows: pd.DataFrame, about: About, stains: list[str], tooltip: list[Any]) -> Any:
    """Each stain's top patches over those of an even spread, by class; `rows` is one a run, case and stain."""
    y = alt.Y("value:Q", title="times an even spread", axis=alt.Axis(tickCount=5))
    lifts = strips(
        rows.assign(group=rows["stain"], value=rows["stain_lift"]),
        about, groups=stains, y=y, tooltip=tooltip, width=258, height=210,
    )  # fmt: skip
    even = alt.Chart(pd.DataFrame({"even": [1.0]})).mark_rule(color=NEUTRAL, strokeDash=[4, 3]).encode(y="even:Q")
    return alt.layer(even, lifts, title=small("Top patches of each stain (dashed: an even spread)"))


def _overview(frame: pd.DataFrame, about: About) -> Any:
    """Many cases: each stain's top patches over those of an even spread, by class, and the most concentrated cases."""
    rows = frame.drop_duplicates(["run_id", "case_id", "stain"])
    stains = [stain for stain in about.stains if stain in set(rows["stain"])]
    tooltip = _told_of_stain()
    kept = [
        "case_id", "run_id", "stain", "true_class", "outcome", "stain_top_patches", "case_top_patches", "stain_lift",
        "stain_top_attention",
    ]  # fmt: skip
    counts = lift_panel(rows[kept], about, stains, tooltip)
    y = alt.Y(
        "value:Q", title="share of the case's attention", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%")
    )
    held = strips(
        rows[kept].assign(group=rows["stain"], value=rows["stain_top_attention"]),
        about, groups=stains, y=y, tooltip=tooltip, width=258, height=210,
    )  # fmt: skip
    above = alt.hconcat(
        counts,
        held.properties(title=small("Attention that these hold")),
        spacing=22,
    )
    below = _concentrated(frame, about)
    return alt.vconcat(above, below, spacing=24).resolve_scale(color="independent", shape="independent")


def _concentrated(frame: pd.DataFrame, about: About) -> Any:
    """The cases whose top patches hold most, a bar each cut into stains; how many others there are stands above."""
    rows = frame.drop_duplicates(["run_id", "case_id", "stain"])
    cases = rows.drop_duplicates(["run_id", "case_id"]).sort_values(
        "case_top_attention", ascending=False, kind="stable"
    )
    shown = cases.head(_ROWS)
    others = cases.iloc[_ROWS:]
    words = "Every case, by the attention that its top patches hold (* called wrong)"
    if len(others):
        low, high = others["case_top_attention"].min(), others["case_top_attention"].max()
        words = (
            f"The {_ROWS} cases whose top patches hold most (* called wrong); in the other {len(others)} they hold "
            f"{low:.0%} to {high:.0%}"
        )
    order = {stain: i for i, stain in enumerate(about.stains)}
    rows = rows[rows["case"].isin(set(shown["case"]))].assign(order=lambda part: part["stain"].map(order))
    names = {case: f"{case} ({name})" for case, name in zip(shown["case"], shown["true_class"], strict=True)}
    rows = rows.assign(name=rows["case"].map(names))
    axis = alt.Axis(ticks=False, domain=False, labelOverlap=False, labelLimit=200)
    bars = (
        alt.Chart(rows)
        .mark_bar(height={"band": 0.75})
        .encode(
            x=alt.X(
                "stain_top_attention:Q",
                title="share of the case's attention in its top patches",
                axis=alt.Axis(format="%"),
                scale=alt.Scale(domain=[0, 1]),
            ),
            y=alt.Y("name:N", sort=list(names.values()), title=None, axis=axis),
            color=stain_colour(about).legend(orient="bottom", direction="horizontal"),
            order="order:Q",
            tooltip=_told_of_stain(),
        )
    )
    return bars.properties(width=520, height=alt.Step(max(13, row_step(len(shown)))), title=small(words))


def small(words: str) -> alt.TitleParams:
    """The title of a part of a chart."""
    return alt.TitleParams(words, fontSize=12, fontWeight="normal", anchor="start")
