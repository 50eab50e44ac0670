"""`split-balance`: the classes of each subset, split by split."""

from typing import Any

import altair as alt
import pandas as pd

from milstore.analysis.outcomes import BALANCE_COLUMNS
from milstore.charts.answer_line import answered
from milstore.charts.case_rows import split_names
from milstore.charts.theme import ACCENT, WIDTH, About, class_colour, themed
from milstore.charts.tooltips import told
from milstore.charts.within import whose

WITHIN_COHORT = True

SUBSET_WORDS = {"train": "training", "val": "validation", "test": "test"}


def chart(frame: pd.DataFrame, about: About) -> Any:
    """A panel a subset; in it a bar a split, cut by class, with the counts written in it."""
    classes = [name for name in frame.columns if name not in BALANCE_COLUMNS]
    asked = {(row["run_id"], row["subset"], name) for row in about.own for name in classes if row.get(name)}
    long = frame.melt(["split", "subset", "cases", "run_id"], classes, "true_class", "of_class")
    long["asked"] = [key in asked for key in zip(long["run_id"], long["subset"], long["true_class"], strict=True)]
    long["subset"] = long["subset"].map(SUBSET_WORDS)
    long["split"] = split_names(long["split"])
    long["share"] = long["of_class"] / long["cases"]
    ends = long.groupby(["run_id", "subset"])["share"].cumsum()
    long["end"], long["start"], long["middle"] = ends, ends - long["share"], ends - long["share"] / 2
    long["words"] = long["of_class"].astype(str)
    present = [words for words in SUBSET_WORDS.values() if words in set(long["subset"])]
    splits = list(dict.fromkeys(long["split"]))
    tooltip = told(
        "split:N",
        "subset:N",
        "true_class:N",
        alt.Tooltip("of_class:Q", title="cases of the class"),
        alt.Tooltip("cases:Q", title="cases of the subset"),
        "share:Q",
        "run_id:N",
    )
    base = alt.Chart(long).encode(y=alt.Y("split:N", sort=splits, title=None), tooltip=tooltip)
    x = alt.X(
        "start:Q",
        title="share of its cases (%)",
        axis=alt.Axis(format="%", values=[0, 0.5, 1]),
        scale=alt.Scale(domain=[0, 1]),
    )
    bars = base.mark_bar().encode(x=x, x2="end:Q", color=class_colour(about, "class"))
    frames = base.transform_filter("datum.asked").mark_bar(filled=False, stroke=ACCENT, strokeWidth=3)
    counts = (
        base.transform_filter("datum.of_class > 0")
        .mark_text(color="#ffffff", fontSize=11, fontWeight="bold")
        .encode(x="middle:Q", text="words:N")
    )
    panel = alt.layer(bars, frames.encode(x=x, x2="end:Q"), counts)
    panel = panel.properties(width=(WIDTH - 20) / max(1, len(present)), height=alt.Step(26))
    header = alt.Header(title=None, labelFontWeight="bold", labelAnchor="start")
    facets = panel.facet(facet=alt.Facet("subset:N", sort=present, header=header), columns=3)
    notes = [f"Framed: {whose(about)}."] if asked else []
    title = answered(about, _answer(long, classes, present), ["Number in a bar: cases.", *notes])
    return themed(facets.properties(title=title))


def _answer(long: pd.DataFrame, classes: list[str], present: list[str]) -> str:
    """The share of the rarest class in each subset, from the least of the splits to the most."""
    totals = long.groupby("true_class")["of_class"].sum()
    rarest = min(classes, key=lambda name: totals[name])
    said = []
    for subset in present:
        rows = long[(long["subset"] == subset) & (long["true_class"] == rarest)]
        shares = sorted({f"{share:.0%}": share for share in rows["share"]}.items(), key=lambda item: item[1])
        said.append(f"{subset} {shares[0][0]}" + (f" to {shares[-1][0]}" if len(shares) > 1 else ""))
    return f"Share of {rarest} cases, the rarest class: {', '.join(said)}."
