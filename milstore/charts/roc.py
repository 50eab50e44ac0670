"""`roc`: a curve a split and one of all predictions pooled, with their areas."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd

from milstore.analysis.outcomes import split_words
from milstore.analysis.roc import MEAN, POOLED
from milstore.charts.answer_line import answered
from milstore.charts.case_rows import nothing
from milstore.charts.theme import ACCENT, NEUTRAL, About, themed
from milstore.charts.whiskers import beside, dots, ring
from milstore.charts.within import OF_ASKED, call_of, said_of
from milstore.store.names import counted

WITHIN_COHORT = True
NEEDS_CALLS = OF_ASKED

_SIDE = 270
_MOST_POINTS = 4500
_SPLIT_COLOURS = ("#440154", "#3B528B", "#21918C", "#5EC962", "#D9B500")
"""Even steps of viridis, the last darkened so that it is seen on white: splits are neither classes nor stains."""
_FADED = 0.3


def chart(frame: pd.DataFrame, about: About) -> Any:
    """Thin curves of the splits and a thick one of all; the areas with their intervals beside them."""
    curves = frame.drop_duplicates("curve")
    drawn = frame.dropna(subset=["false_positive_rate"])
    if drawn.empty:
        return nothing(about, "A ROC curve needs cases of the class and of the others: choose more cases or splits.")
    positive, n_classes = frame["positive_class"].iloc[0], frame["n_classes"].iloc[0]
    notes = [
        f"{positive} against {'the other class' if n_classes == 2 else 'all other classes'}. "
        "Intervals: 95%, by a bootstrap of the cases; none where the area is 0 or 1.",
    ]
    if (curves["curve"] == POOLED).any():
        notes.append("The pooled curve compares probabilities of different models; the mean over splits does not.")
    steps, words = _steps(drawn, about, positive)
    names = list(drawn["curve"].unique())
    colours = [ACCENT if name == POOLED else _SPLIT_COLOURS[i % 5] for i, name in enumerate(_splits_first(names))]
    scale = alt.Scale(domain=_splits_first(names), range=colours)
    drawn = drawn.assign(faded=False if steps.empty else ~drawn["curve"].isin(steps["curve"]))
    layers = [_chance(), _lines(_thinned(drawn), scale, positive)]
    if not steps.empty:
        layers.append(ring(alt.Chart(steps.assign(asked=True)), x="false_positive_rate:Q", y="true_positive_rate:Q"))
    plot = alt.layer(*layers).properties(width=_SIDE, height=_SIDE)
    title = answered(about, _answer(curves), [*words, *notes])
    return themed(alt.hconcat(plot, _areas(curves, scale), spacing=14).properties(title=title))


def _answer(curves: pd.DataFrame) -> str:
    """The area over all, and that of each split at its least and most."""
    rows = {row["curve"]: row for row in curves.to_dict("records")}
    splits = [row for name, row in rows.items() if name not in (MEAN, POOLED) and not pd.isna(row["auc"])]
    parts = {POOLED: "pooled", MEAN: "as mean over splits"} if splits else {POOLED: "pooled; undefined in each split"}
    if POOLED not in rows:
        parts = {splits[0]["curve"]: f"in {splits[0]['curve']}"}
    first = rows[next(iter(parts))]
    said = "AUC " + ", ".join(f"{_words(rows[name])} {words}" for name, words in parts.items())
    if len(splits) > 1:
        low, high = (pick(splits, key=lambda row: row["auc"]) for pick in (min, max))
        said += f"; from {low['auc']:.2f} ({low['curve']}) to {high['auc']:.2f} ({high['curve']})"
    cases = counted(first["positives"], f"{first['positive_class']} case")
    return f"{said}; {cases} and {counted(first['negatives'], 'other')}."


def _steps(drawn: pd.DataFrame, about: About, positive: str) -> tuple[pd.DataFrame, list[str]]:
    """Where its split's curve, and the pooled one, first take the case that was asked for to be positive; and that in words."""
    call = call_of(about)
    if call is None:
        return drawn.head(0), []
    said = f"{said_of(call).capitalize()}, in {split_words(call['split'])}"
    if call["probability_of"] != positive:
        return drawn.head(0), [f"{said}."]
    said += f": probability of {positive} {call['probability']:.2f}"
    curves = drawn[drawn["curve"].isin([split_words(call["split"]), POOLED])]
    steps = [
        rows.iloc[end : end + 1]
        for _, rows in curves.groupby("curve")
        if (end := int((rows["threshold"].fillna(float("inf")) <= call["probability"]).to_numpy().argmax()))
    ]
    if not steps or not call["outcome"]:
        return drawn.head(0), [f"{said}."]
    return pd.concat(steps), [f"{said}. Ringed: from here on it is taken for {positive}."]


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
    line = alt.Chart(diagonal).mark_line(color=NEUTRAL, strokeDash=[4, 4], strokeWidth=1).encode(x="x:Q", y="y:Q")
    words = alt.Chart(pd.DataFrame({"x": [0.98], "y": [0.9], "words": ["chance"]}))
    return alt.layer(
        line, words.mark_text(fontSize=10, color=NEUTRAL, align="right").encode(x="x:Q", y="y:Q", text="words:N")
    )


def _lines(drawn: pd.DataFrame, scale: alt.Scale, positive: str) -> Any:
    pooled = f"datum.curve == '{POOLED}'"
    unit, axis = alt.Scale(domain=[0, 1]), alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1])
    return (
        # The points of a curve are joined in the order in which the threshold falls.
        alt.Chart(drawn.assign(place=range(len(drawn))))
        .mark_line()
        .encode(
            x=alt.X(
                "false_positive_rate:Q", title=f"others taken for {positive} (false positives)", scale=unit, axis=axis
            ),
            y=alt.Y("true_positive_rate:Q", title=f"{positive} found (true positives)", scale=unit, axis=axis),
            color=alt.Color("curve:N", scale=scale, legend=None),
            strokeWidth=alt.condition(pooled, alt.value(3), alt.value(1.5)),
            opacity=alt.condition("datum.faded", alt.value(_FADED), alt.value(1)),
            order="place:Q",
            tooltip=[
                "curve:N",
                alt.Tooltip("threshold:Q", format=".3f", title="from a probability of"),
                alt.Tooltip("true_positive_rate:Q", format=".3f", title="true positives"),
                alt.Tooltip("false_positive_rate:Q", format=".3f", title="false positives"),
                alt.Tooltip("auc:Q", format=".3f", title="AUC"),
            ],
        )
    )


def _areas(curves: pd.DataFrame, scale: alt.Scale) -> Any:
    """The area of each curve with its interval, and the mean over splits: the legend of the curves too."""
    order = list(curves["curve"])
    rows = curves.assign(words=[_words(row) for row in curves.to_dict("records")], asked=False)
    least = min(0.5, float(rows[["auc", "low"]].min().min()))
    floor = 0.5 if least >= 0.5 else 0.0
    axis = alt.Axis(values=[floor, (floor + 1) / 2, 1], format=".2~f", orient="bottom")
    x = alt.X("auc:Q", title="AUC", scale=alt.Scale(domain=[floor, 1]), axis=axis)
    colour = alt.condition(
        f"datum.curve == '{MEAN}'", alt.value(NEUTRAL), alt.Color("curve:N", scale=scale, legend=None)
    )
    tooltip: list[str | alt.Tooltip] = [
        "curve:N",
        alt.Tooltip("auc:Q", format=".3f", title="AUC"),
        "positives:Q",
        "negatives:Q",
        "note:N",
    ]
    y = alt.Y("curve:N", sort=order, title=None, axis=alt.Axis(ticks=False, domain=False))
    base = alt.Chart(rows).encode(y=y, tooltip=tooltip)
    title = alt.TitleParams("area under the curve", anchor="start", fontSize=12, offset=6)
    layers = [*dots(base, value=x, low="low", high="high", colour=colour), beside(base, "words")]
    return alt.layer(*layers).properties(width=70, height=alt.Step(26), title=title)


def _words(row: Mapping[Any, Any]) -> str:
    if pd.isna(row["auc"]):
        return "undefined"
    interval = "" if pd.isna(row["low"]) else f" [{row['low']:.2f}, {row['high']:.2f}]"
    return f"{row['auc']:.2f}{interval}"
