"""`roc`: a curve a split and one of all predictions pooled, with their areas."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import altair as alt
import pandas as pd

from milstore.analysis.roc import MEAN, POOLED
from milstore.charts.case_rows import nothing
from milstore.charts.theme import ACCENT, NEUTRAL, About, themed, titled

_SIDE = 400
_MOST_POINTS = 4500
_SPLIT_COLOURS = ("#440154", "#3B528B", "#21918C", "#5EC962", "#D9B500")
"""Even steps of viridis, the last darkened so that it is seen on white: splits are neither classes nor stains."""


def chart(frame: pd.DataFrame, about: About) -> Any:
    """Thin curves of the splits and a thick one of all; the areas with their intervals beside them."""
    curves = frame.drop_duplicates("curve")
    drawn = frame.dropna(subset=["false_positive_rate"])
    if drawn.empty:
        return nothing(about, "A ROC curve needs cases of the class and of the others: choose more cases or splits.")
    positive, n_classes = frame["positive_class"].iloc[0], frame["n_classes"].iloc[0]
    notes = [
        f"{positive} against {'the other class' if n_classes == 2 else 'all other classes'}; counts are {positive} + others.",
        "Intervals: 95%, by a bootstrap of the cases; none where the area is 0 or 1.",
    ]
    if (curves["curve"] == POOLED).any():
        notes.append("The pooled curve compares probabilities of different models; the mean over splits does not.")
    about = replace(about, notes=[*about.notes, *notes])
    names = list(drawn["curve"].unique())
    colours = [ACCENT if name == POOLED else _SPLIT_COLOURS[i % 5] for i, name in enumerate(_splits_first(names))]
    scale = alt.Scale(domain=_splits_first(names), range=colours)
    plot = alt.layer(_chance(), _lines(_thinned(drawn), scale, positive)).properties(width=_SIDE, height=_SIDE)
    return themed(alt.hconcat(plot, _areas(curves, scale), spacing=30).properties(title=titled(about)))


def _splits_first(names: list[str]) -> list[str]:
    return [name for name in names if name != POOLED] + [name for name in names if name == POOLED]


def _thinned(drawn: pd.DataFrame) -> pd.DataFrame:
    """Every k-th point of curves that have too many to draw; a curve's ends stay."""
    every = -(-len(drawn) // _MOST_POINTS)
    if every == 1:
        return drawn
    place = drawn.groupby("curve").cumcount()
    return drawn[(place % every == 0) | ~drawn.duplicated("curve", keep="last")]


def _chance() -> Any:
    diagonal = pd.DataFrame({"x": [0, 1], "y": [0, 1]})
    return alt.Chart(diagonal).mark_line(color=NEUTRAL, strokeDash=[4, 4], strokeWidth=1).encode(x="x:Q", y="y:Q")


def _lines(drawn: pd.DataFrame, scale: alt.Scale, positive: str) -> Any:
    pooled = f"datum.curve == '{POOLED}'"
    unit = alt.Scale(domain=[0, 1])
    return (
        # The points of a curve are joined in the order in which the threshold falls.
        alt.Chart(drawn.assign(place=range(len(drawn))))
        .mark_line(point=alt.OverlayMarkDef(size=14))
        .encode(
            x=alt.X("false_positive_rate:Q", title=f"others called {positive} (false positive rate)", scale=unit),
            y=alt.Y("true_positive_rate:Q", title=f"{positive} called so (true positive rate)", scale=unit),
            color=alt.Color("curve:N", scale=scale, legend=None),
            strokeWidth=alt.condition(pooled, alt.value(3), alt.value(1.3)),
            order="place:Q",
            tooltip=[
                "curve:N",
                alt.Tooltip("threshold:Q", format=".3f", title="called so from probability"),
                alt.Tooltip("true_positive_rate:Q", format=".3f"),
                alt.Tooltip("false_positive_rate:Q", format=".3f"),
                alt.Tooltip("auc:Q", format=".3f", title="AUC"),
            ],
        )
    )


def _areas(curves: pd.DataFrame, scale: alt.Scale) -> Any:
    """The area of each curve with its interval, and the mean over splits."""
    order = list(curves["curve"])
    curves = curves.assign(words=[_words(row) for row in curves.to_dict("records")])
    y = alt.Y("curve:N", sort=order, title=None, axis=alt.Axis(ticks=False, domain=False))
    x = alt.X("auc:Q", title="AUC", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(values=[0, 0.5, 1], format=".1f"))
    colour = alt.condition(
        f"datum.curve == '{MEAN}'", alt.value(NEUTRAL), alt.Color("curve:N", scale=scale, legend=None)
    )
    base = alt.Chart(curves).encode(y=y, color=colour)
    rule = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title="AUC"), x2="high:Q")
    tooltip = ["curve:N", alt.Tooltip("auc:Q", format=".3f", title="AUC"), "positives:Q", "negatives:Q", "note:N"]
    point = base.mark_point(filled=True, size=70, opacity=1).encode(x=x, tooltip=tooltip)
    words = base.mark_text(align="left", fontSize=10).encode(x=alt.value(78), text="words:N", color=alt.value(ACCENT))
    title = alt.TitleParams("area under the curve", anchor="start", fontSize=12, offset=6)
    return alt.layer(rule, point, words).properties(width=70, height=alt.Step(30), title=title)


def _words(row: Mapping[Any, Any]) -> str:
    counted = f"{row['positives']} + {row['negatives']} cases"
    if pd.isna(row["auc"]):
        return f"undefined, {counted}"
    interval = "" if pd.isna(row["low"]) else f" [{row['low']:.2f}, {row['high']:.2f}]"
    return f"{row['auc']:.2f}{interval}, {counted}"
