"""`split-balance`: the classes of each subset, split by split."""

from typing import Any

import altair as alt
import pandas as pd

from milstore.analysis.outcomes import BALANCE_COLUMNS
from milstore.charts.case_rows import split_names
from milstore.charts.theme import WIDTH, About, class_colour, themed, titled
from milstore.charts.tooltips import told

SUBSET_WORDS = {"train": "training", "val": "validation", "test": "test"}


def chart(frame: pd.DataFrame, about: About) -> Any:
    """A panel a subset; in it a bar a split, cut by class, with the counts written in it."""
    classes = [name for name in frame.columns if name not in BALANCE_COLUMNS]
    long = frame.melt(["split", "subset", "cases", "run_id"], classes, "true_class", "of_class")
    long["subset"] = long["subset"].map(SUBSET_WORDS)
    long["split"] = split_names(long["split"])
    long["share"] = long["of_class"] / long["cases"]
    ends = long.groupby(["run_id", "subset"])["share"].cumsum()
    long["middle"] = ends - long["share"] / 2
    long["words"] = long["of_class"].astype(str)
    present = [words for words in SUBSET_WORDS.values() if words in set(long["subset"])]
    long["class_order"] = long["true_class"].map({name: i for i, name in enumerate(classes)})
    splits = list(dict.fromkeys(long["split"]))
    base = alt.Chart(long).encode(y=alt.Y("split:N", sort=splits, title=None))
    tooltip = told(
        "split:N",
        "subset:N",
        "true_class:N",
        alt.Tooltip("of_class:Q", title="cases of the class"),
        alt.Tooltip("cases:Q", title="cases of the subset"),
        "share:Q",
        "run_id:N",
    )
    x = alt.X(
        "share:Q",
        title="share of its cases (%)",
        axis=alt.Axis(format="%", values=[0, 0.5, 1]),
        scale=alt.Scale(domain=[0, 1]),
    )
    bars = base.mark_bar().encode(x=x, color=class_colour(about, "class"), order="class_order:Q", tooltip=tooltip)
    counts = (
        base.transform_filter("datum.of_class > 0")
        .mark_text(color="white", fontSize=11, fontWeight="bold")
        .encode(x="middle:Q", text="words:N", tooltip=tooltip)
    )
    panel = alt.layer(bars, counts).properties(width=(WIDTH - 70) / max(1, len(present)), height=alt.Step(26))
    header = alt.Header(title=None, labelFontWeight="bold", labelAnchor="start")
    facets = panel.facet(column=alt.Column("subset:N", sort=present, header=header))
    return themed(facets.properties(title=titled(about)))
