"""`recall`: recall of each class with its interval, accuracy, balanced accuracy and AUC, by split and over all."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd

from milstore.analysis.recall import ACCURACY, AUC, BALANCED, MEANS, RECALL
from milstore.analysis.roc import POOLED
from milstore.charts.answer_line import answered
from milstore.charts.theme import CLASS_COLOURS, NEUTRAL, About, themed
from milstore.charts.tooltips import told
from milstore.charts.whiskers import beside, dots
from milstore.charts.within import whose
from milstore.charts.wording import RIGHT, WRONG, called, called_right

WITHIN_COHORT = True

_WIDTH = 140
_KEY = "Lines: 95% intervals (Wilson for recall and accuracy; for the AUC of two classes a bootstrap of the cases)."
_ERROR_KEY = "± is the standard error of the mean over runs; where runs share cases it is too small."
_POOLED_KEY = "Pooled AUC compares probabilities of different models; the mean over splits does not."


def chart(frame: pd.DataFrame, about: About) -> Any:
    """A panel a class and one a measure of all classes; in it a dot for all pooled, the mean, and each split (or repeat)."""
    asked = {(row["true_class"], row["scope"]) for row in about.own if row["measure"] == RECALL and row["cases"]}
    frame = frame.assign(
        words=[_words(row) for row in frame.to_dict("records")],
        asked=[key in asked for key in zip(frame["true_class"], frame["scope"], strict=True)],
    )
    names = list(about.class_names)
    panels: list[Any] = []
    for (measure, class_name), rows in frame.groupby(["measure", "true_class"], sort=False, dropna=False):
        colour = NEUTRAL
        if measure == RECALL:
            place = names.index(class_name) if class_name in names else len(names)
            colour = CLASS_COLOURS[place % len(CLASS_COLOURS)]
        named = f"recall of {class_name}" if measure == RECALL else str(measure)
        panels.append(_panel(rows, named, colour, with_scopes=len(panels) % 2 == 0))
    notes = [_KEY, _ERROR_KEY, _POOLED_KEY] if POOLED in set(frame["scope"]) else [_KEY]
    if asked:
        notes.insert(0, _ringed(about))
    return themed(alt.concat(*panels, columns=2, spacing=24).properties(title=answered(about, _answers(frame), notes)))


def _answers(frame: pd.DataFrame) -> list[str]:
    """Each class first, over all splits; then what is over all classes."""
    over = POOLED if POOLED in set(frame["scope"]) else frame["scope"].iloc[0]
    rows = frame[frame["scope"] == over].to_dict("records")
    classes = "; ".join(_recognised(row) for row in rows if row["measure"] == RECALL)
    whole = [f"{row['measure']} {row['words']}" for row in rows if row["measure"] in (ACCURACY, BALANCED, AUC)]
    mean = frame[frame["scope"].isin(MEANS) & (frame["measure"] == AUC)]
    if mean["value"].notna().any():
        whole[-1] += f" pooled, {mean['words'].iloc[0]} as mean over splits"
    return [f"{classes}.", f"{'; '.join(whole)}.".capitalize().replace("auc", "AUC")]


def _recognised(row: Mapping[Any, Any]) -> str:
    if pd.isna(row["value"]):
        return f"no {row['true_class']} case"
    interval = "" if pd.isna(row["low"]) else f", 95% interval {row['low']:.0%} to {row['high']:.0%}"
    counts = called_right(int(row["right"]), int(row["cases"]), f"{row['true_class']} case")
    return f"{counts} ({row['value']:.0%}{interval})"


def _ringed(about: About) -> str:
    """Where the cases that were asked for stand."""
    rows = [
        row for row in about.own if row["measure"] == RECALL and row["cases"] and row["scope"] not in (*MEANS, POOLED)
    ]
    said = [
        f"{called_right(row['right'], row['cases'], row['true_class'] + ' case')} in {row['scope']}" for row in rows
    ]
    if [row["cases"] for row in rows] == [1]:
        outcome = called(RIGHT if rows[0]["right"] else WRONG)
        said = [f"{rows[0]['scope']}, which held it in test ({rows[0]['true_class']}, {outcome})"]
    return f"Ringed, for {whose(about)}: {'; '.join(said)}."


def _panel(rows: pd.DataFrame, named: str, colour: str, *, with_scopes: bool) -> Any:
    """One measure of all scopes."""
    first = [POOLED, *MEANS]
    order = [name for name in first if name in set(rows["scope"])]
    order += [name for name in rows["scope"] if name not in first]
    scopes = alt.Y("scope:N", sort=order, title=None)
    scopes = scopes.axis(ticks=False, domain=False) if with_scopes else scopes.axis(None)
    axis = alt.Axis(format=".2~f" if named == AUC else ".0%", values=[0, 0.5, 1])
    words = named if named == AUC else f"{named} (%)"
    x = alt.X("value:Q", title=words, scale=alt.Scale(domain=[0, 1]), axis=axis)
    base = alt.Chart(rows).encode(
        y=scopes,
        tooltip=told(
            "measure:N",
            "true_class:N",
            "scope:N",
            "right:Q",
            "cases:Q",
            alt.Tooltip("value:Q", format=".3f"),
            alt.Tooltip("se:Q", format=".3f", title="standard error"),
            alt.Tooltip("low:Q", format=".3f", title="95% from"),
            alt.Tooltip("high:Q", format=".3f", title="to"),
            "note:N",
        ),
    )
    title = alt.TitleParams(named, anchor="start", fontSize=12, offset=4)
    layers = [*dots(base, value=x, low="low", high="high", colour=colour), beside(base, "words")]
    return alt.layer(*layers).properties(width=_WIDTH, height=alt.Step(22), title=title)


def _words(row: Mapping[Any, Any]) -> str:
    """What stands beside a dot."""
    if pd.isna(row["value"]):
        return "undefined"
    error = row.get("se")
    if row["measure"] == AUC:
        return f"{row['value']:.2f}" + ("" if pd.isna(error) else f" ± {error:.2f}")
    if not pd.isna(error):
        return f"{row['value']:.0%} ± {error:.0%}"
    if row["measure"] in (RECALL, ACCURACY) and not pd.isna(row["cases"]):
        return f"{row['value']:.0%} ({row['right']:.0f} of {row['cases']:.0f})"
    return f"{row['value']:.0%}"
