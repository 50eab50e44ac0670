"""`recall`: recall of each class with its interval, accuracy, balanced accuracy and AUC, by split and over all."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import altair as alt
import pandas as pd

from milstore.analysis.recall import ACCURACY, AUC, MEANS, RECALL
from milstore.analysis.roc import POOLED
from milstore.charts.theme import ACCENT, CLASS_COLOURS, NEUTRAL, About, themed, titled
from milstore.charts.tooltips import told

_WIDTH = 215
_KEY = "Lines: 95% intervals (Wilson for recall and accuracy; for the AUC of two classes a bootstrap of the cases)."
_ERROR_KEY = "± is the standard error of the mean over runs; where runs share cases it is too small."
_POOLED_KEY = "Pooled AUC compares probabilities of different models; the mean over splits does not."


def chart(frame: pd.DataFrame, about: About) -> Any:
    """A panel a class and one a measure of all classes; in it a bar a split (or a repeat), the mean, and all pooled."""
    frame = frame.assign(words=[_words(row) for row in frame.to_dict("records")])
    names = list(about.class_names)
    panels: list[Any] = []
    for (measure, class_name), rows in frame.groupby(["measure", "true_class"], sort=False, dropna=False):
        colour = NEUTRAL
        if measure == RECALL:
            place = names.index(class_name) if class_name in names else len(names)
            colour = CLASS_COLOURS[place % len(CLASS_COLOURS)]
        named = f"recall of {class_name}" if measure == RECALL else str(measure)
        panels.append(_panel(rows, named, colour, with_scopes=len(panels) % 2 == 0))
    key = [_KEY, _ERROR_KEY, _POOLED_KEY] if POOLED in set(frame["scope"]) else [_KEY]
    about = replace(about, notes=[*about.notes, *key])
    return themed(alt.concat(*panels, columns=2, spacing=30).properties(title=titled(about)))


def _panel(rows: pd.DataFrame, named: str, colour: str, *, with_scopes: bool) -> Any:
    """One measure of all scopes."""
    scopes = alt.Y("scope:N", sort=list(rows["scope"]), title=None)
    scopes = scopes.axis(ticks=False, domain=False) if with_scopes else scopes.axis(None)
    axis = alt.Axis(format=".2~f" if named == AUC else ".0%", values=[0, 0.25, 0.5, 0.75, 1])
    words = named if named == AUC else f"{named} (%)"
    x, low = (alt.X(f"{end}:Q", title=words, scale=alt.Scale(domain=[0, 1]), axis=axis) for end in ("value", "low"))
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
    # The mean and the pooled value are not one more split: their bars are fuller.
    full = alt.condition(alt.FieldOneOfPredicate("scope", [*MEANS, POOLED]), alt.value(0.95), alt.value(0.45))
    bars = base.mark_bar(height=14, color=colour).encode(x=x, opacity=full)
    known = base.transform_filter("isValid(datum.low) && isValid(datum.value)").encode(x=low, x2="high:Q")
    interval = alt.layer(known.mark_rule(color=ACCENT, strokeWidth=1.4))
    beside = base.mark_text(align="left", fontSize=11, color=ACCENT).encode(x=alt.value(_WIDTH + 8), text="words:N")
    title = alt.TitleParams(named, anchor="start", fontSize=12, offset=4)
    return alt.layer(bars, interval, beside).properties(width=_WIDTH, height=alt.Step(24), title=title)


def _words(row: Mapping[Any, Any]) -> str:
    """What stands beside a bar."""
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
