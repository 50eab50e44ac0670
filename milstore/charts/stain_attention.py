"""`stain-attention`: the weight of each stain by class, how often each stain leads, and every case."""

from typing import Any

import altair as alt
import pandas as pd

from milstore.analysis.intervals import wilson
from milstore.charts.answer_line import answered
from milstore.charts.attended import all_stains, case_names
from milstore.charts.case_rows import row_step
from milstore.charts.error_scatter import few_enough
from milstore.charts.strips import NOTE, classes_of, strips
from milstore.charts.theme import ACCENT, About, stain_colour, themed
from milstore.charts.tooltips import CALLED, told
from milstore.charts.within import asked_for, whose

WITHIN_COHORT = True

MOST_POINTS, MOST_BARS = 2500, 24
"""Dots that are drawn, and cases up to which each has a bar: of more, the table has them one by one."""


def chart(frame: pd.DataFrame, about: About) -> Any:
    """Weights by stain and class, the leading stain by class, and, for few cases, a bar a case."""
    about = all_stains(frame, about)
    frame = frame.assign(case=case_names(frame))
    stains = [stain for stain in about.stains if stain in set(frame["stain"])]
    points, notes = few_enough(frame, MOST_POINTS)
    above = alt.hconcat(_spread(points, about, stains), _leading(frame, about), spacing=26)
    above = above.resolve_scale(color="independent", shape="independent", y="independent")
    panels = [above]
    if frame["case"].nunique() <= MOST_BARS:
        panels.append(_cases(frame, about))
    if about.cases:
        notes = [f"Ringed and named: {whose(about)}; the others are paler.", *notes]
    parts = alt.vconcat(*panels, spacing=24).resolve_scale(color="independent", shape="independent")
    return themed(parts.properties(title=answered(about, _answer(frame, about), [NOTE, *notes])))


def _answer(frame: pd.DataFrame, about: About) -> list[str]:
    """The stain that leads most often in each class, with counts, and how many cases have no leader."""
    lines = []
    for name in classes_of(frame, about):
        led = frame[frame["true_class"] == name].drop_duplicates("stain")
        cases, tied = int(led["cases_in_class"].iloc[0]), int(led["tied_in_class"].iloc[0])
        most = led["leads_in_class"].max()
        first = list(led.loc[led["leads_in_class"] == most, "stain"]) if most else []
        words = f"{' and '.join(first)} {'each lead' if len(first) > 1 else 'leads'} in {most} of {cases} cases"
        without = f"{'; ' if first else ''}{tied} without a leader (tie)" if tied else ""
        lines.append(f"{name}: {words if first else ''}{without}.")
    mine = frame[asked_for(frame, about)]
    for (case, _), rows in mine.groupby(["case_id", "run_id"], sort=False):
        weights = ", ".join(f"{row['stain']} {row['stain_attention']:.0%}" for _, row in rows.iterrows())
        lines.append(f"Case {case} ({rows['true_class'].iloc[0]}, called {rows['outcome'].iloc[0]}): {weights}.")
    return lines


def _spread(points: pd.DataFrame, about: About, stains: list[str]) -> Any:
    """Each case's weights as dots, with median and quartiles by class; a strip a stain."""
    rows = points.assign(group=points["stain"], value=points["stain_attention"])
    y = alt.Y("value:Q", title="stain attention", scale=alt.Scale(domain=[0, 1], nice=False))
    strip = strips(rows, about, groups=stains, y=y, tooltip=_tooltip(), width=330, height=240)
    return strip.properties(title=_small("Weight of each stain"))


def _leading(frame: pd.DataFrame, about: About) -> Any:
    """In how many of each class's cases each stain leads, as a share with its 95% interval (Wilson 1927)."""
    led = frame.drop_duplicates(["true_class", "stain"])
    bounds = [wilson(int(n), int(of)) for n, of in zip(led["leads_in_class"], led["cases_in_class"], strict=True)]
    led = led.assign(
        share=led["leads_in_class"] / led["cases_in_class"],
        low=[low for low, _ in bounds],
        high=[high for _, high in bounds],
        words=led["leads_in_class"].astype(str) + " of " + led["cases_in_class"].astype(str),
    )[["true_class", "stain", "share", "low", "high", "words"]]
    base = alt.Chart(led).encode(
        y=alt.Y("stain:N", sort=list(about.stains), title=None, axis=alt.Axis(ticks=False, domain=False)),
        tooltip=told("true_class:N", "stain:N", alt.Tooltip("words:N", title="leads in")),
    )
    x = alt.X(
        "share:Q",
        title="cases it leads (95% interval)",
        axis=alt.Axis(format="%", values=[0, 0.5, 1]),
        scale=alt.Scale(domain=[0, 1], nice=False),
    )
    colour = stain_colour(about).legend(None)
    whiskers = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q"), x2="high:Q", color=colour)
    dots = base.mark_point(filled=True, size=60, opacity=1, shape="diamond").encode(x=x, color=colour)
    text = base.mark_text(align="left", fontSize=10, color=ACCENT).encode(x=alt.value(138), text="words:N")
    panel = alt.layer(whiskers, dots, text).properties(width=130, height=alt.Step(22))
    header = alt.Header(title=None, labelAnchor="start", labelFontSize=11, labelOrient="top")
    row = alt.Row("true_class:N", sort=classes_of(frame, about), header=header)
    return panel.facet(row=row, spacing=8).properties(title=_small("The stain of highest weight"))


def _cases(frame: pd.DataFrame, about: About) -> Any:
    """A bar a case, cut into the stains' weights."""
    order = {stain: i for i, stain in enumerate(about.stains)}
    frame = frame.assign(order=frame["stain"].map(order))
    first = frame[frame["stain"] == about.stains[0]].set_index(["run_id", "case_id"])["stain_attention"]
    keys = pd.MultiIndex.from_frame(frame[["run_id", "case_id"]])
    frame = frame.assign(first=first.reindex(keys).fillna(-1.0).to_numpy())
    classes = classes_of(frame, about)
    n_cases = frame["case"].nunique()
    rows = []
    for name in classes:
        of_class = frame[frame["true_class"] == name].sort_values(
            ["first", "case"], ascending=[False, True], kind="stable"
        )
        y = alt.Y(
            "case:N",
            sort=list(dict.fromkeys(of_class["case"])),
            title=None,
            axis=alt.Axis(ticks=False, domain=False, labelFontSize=10, labelOverlap=False),
        )
        last = name == classes[-1]
        x = alt.X(
            "stain_attention:Q",
            title="stain attention" if last else None,
            scale=alt.Scale(domain=[0, 1]),
            axis=alt.Axis(labels=last),
        )
        rows.append(
            alt.Chart(of_class)
            .mark_bar(height={"band": 0.85})
            .encode(x=x, y=y, color=stain_colour(about), order="order:Q", tooltip=_tooltip())
            .properties(width=480, height=alt.Step(row_step(n_cases)), title=_small(f"{name} (* called wrong)", 11))
        )
    title = _small(f"Every case, by the weight of {about.stains[0]}")
    return alt.vconcat(*rows, spacing=8, title=title).resolve_scale(color="shared")


def _small(words: str, size: int = 12) -> alt.TitleParams:
    return alt.TitleParams(words, fontSize=size, fontWeight="normal", anchor="start")


def _tooltip() -> list[alt.Tooltip]:
    return told("case_id:N", "stain:N", "stain_attention:Q", *CALLED, "stain_slices:Q", "stain_patches:Q")
