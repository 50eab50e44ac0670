"""Cases in rows: the probability of the true class drawn, and what else is known of each case written beside it."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from milstore.charts import case_pictures
from milstore.charts.case_rows import MOST_CASES, row_names, row_step
from milstore.charts.theme import ACCENT, NEUTRAL, About, class_colour, outcome_shape
from milstore.charts.tooltips import told
from milstore.charts.whiskers import ring
from milstore.charts.within import asked_for, said_of, whose
from milstore.charts.wording import WRONG, called_wrong
from milstore.store.names import counted

_WIDTH = 140
_COLUMNS = {"predicted": 70, "patches": 45, "slices": 38, "stains missing": 80}
"""Heading and width in pixels of the columns of words."""
_MISSING = "stains missing"


def case_list(frame: pd.DataFrame, about: About, around: float = 0.5) -> Any:
    """The first rows of a list of cases, as many as can be read.

    Args:
        frame: the answer of `misclassified` or `near-threshold`, with `outcome`; with the columns of `case_pictures` it shows
            pictures.
        about: where it comes from.
        around: with two classes, how far to both sides of the threshold probabilities are drawn.
    """
    pictured = set(case_pictures.COLUMNS) <= set(frame)
    rows = frame.head(case_pictures.MOST_CASES if pictured else MOST_CASES)
    top = f"top {about.values.get('pct', 5.0):g}%"
    rows = rows.assign(row=row_names(rows), asked=asked_for(rows, about), **_words(rows, top))
    step = case_pictures.SIDE + 4 if pictured else max(13.0, row_step(len(rows)))
    y = alt.Y(
        "row:N",
        sort=list(rows["row"]),
        title="case",
        axis=alt.Axis(ticks=False, domain=False, labelOverlap=False, labelLimit=100, labelPadding=10),
    )
    bare = y.axis(None).title(None)
    two = len(about.class_names) == 2
    plots: list[Any] = [_plot(rows, about, y, around if two else None)]
    columns = {**_COLUMNS, top: 45}
    # What has to be said of none, and what a reader of pictures can do without, takes no room.
    left_out = {"slices"} if pictured else set()
    left_out |= set() if (rows[_MISSING] != "").any() else {_MISSING}
    for column, width in columns.items():
        if column not in left_out:
            text = alt.Chart(rows).mark_text(align="left", fontSize=11, color=ACCENT, limit=width)
            plots.append(_headed(text.encode(x=alt.value(0), y=bare, text=f"{column}:N"), column, width))
    if pictured:
        plots += [_pictures(rows, bare, name, i) for i, name in enumerate(case_pictures.COLUMNS)]
    plots = [plot.properties(height=alt.Step(step)) for plot in plots]
    return alt.hconcat(*plots, spacing=6).resolve_scale(y="shared")


def _headed(plot: Any, heading: str, width: int) -> Any:
    title = alt.TitleParams(heading, anchor="start", fontSize=11, fontWeight="normal", offset=2)
    return plot.properties(width=width, title=title)


def _pictures(rows: pd.DataFrame, y: alt.Y, name: str, place: int) -> Any:
    """The most attended patch of each case, or the one after it."""
    mark = alt.Chart(rows[["row", name]].dropna()).mark_image(
        width=case_pictures.SIDE, height=case_pictures.SIDE, aspect=True
    )
    drawn = mark.encode(x=alt.value(case_pictures.SIDE / 2), y=y, url=f"{name}:N")
    return _headed(drawn, f"#{place + 1}", case_pictures.SIDE)


def by_class(about: About) -> list[str]:
    """How many cases of each class were called wrong, of all; nothing where no case has a label."""
    labelled = [row for row in about.calls if row["outcome"] and not row["beside"]]
    wrong = [row for row in labelled if row["outcome"] == WRONG]
    classes = dict.fromkeys(row["true_class"] for row in labelled)
    said = [called_wrong(_of_class(wrong, name), _of_class(labelled, name), f"{name} case") for name in classes]
    return [f"{'; '.join(said)}."] if said else []


def of_asked(frame: pd.DataFrame, about: About) -> list[str]:
    """Whether the cases that were asked for are in the list, and how they were called."""
    there = set(frame["case_id"])
    return [
        f"{said_of(row).capitalize()} is {'' if row['case_id'] in there else 'not '}among these: "
        f"probability of the true class {1 - row['error']:.3f}."
        for row in about.calls
        if row["case_id"] in about.cases and row["error"] is not None
    ]


def _of_class(calls: Sequence[Mapping[str, Any]], name: str) -> int:
    return sum(row["true_class"] == name for row in calls)


def notes_of(frame: pd.DataFrame, about: About) -> list[str]:
    """How the list is to be read, and what of it is not shown."""
    pct = about.values.get("pct", 5.0)
    shown = case_pictures.MOST_CASES if set(case_pictures.COLUMNS) <= set(frame) else MOST_CASES
    notes = [f"Top {pct:g}%: effective attention of that share of the case's patches. Line: to the threshold."]
    if shown == case_pictures.MOST_CASES:
        notes.append(f"#1 to #{case_pictures.SHOWN}: the case's most attended patches.")
    if len(frame) > shown:
        notes.insert(0, f"The first {shown} of {counted(len(frame), 'row')}; the table has all.")
    if asked_for(frame, about).any():
        notes.insert(0, f"Ringed: {whose(about)}.")
    return notes


def _words(rows: pd.DataFrame, top: str) -> dict[str, Sequence[str]]:
    return {
        "predicted": [str(name) for name in rows["pred_class"]],
        "patches": [f"{n:,}" for n in rows["patches"]],
        "slices": [str(n) for n in rows["slices"]],
        # Null of a run without attention.
        top: ["–" if pd.isna(share) else f"{share:.0%}" for share in rows["concentration"]],
        _MISSING: [text if isinstance(text, str) else "" for text in rows["missing_stains"]],
    }


def _plot(rows: pd.DataFrame, about: About, y: alt.Y, around: float | None) -> Any:
    """The probabilities; with their distance from the threshold unless `around` is None."""
    base = alt.Chart(rows).encode(y=y, color=class_colour(about).legend(symbolOpacity=1, orient="bottom"))
    low, high = (0.0, 1.0) if around is None else (max(0.0, 0.5 - around), min(1.0, 0.5 + around))
    scale, axis = alt.Scale(domain=[low, high], nice=False, zero=False), alt.Axis(tickCount=3, format=".3~f")
    x = alt.X("p_true:Q", title="probability of the true class", scale=scale, axis=axis)
    tooltip = told(
        "case_id:N",
        "true_class:N",
        "pred_class:N",
        "p_true:Q",
        alt.Tooltip("margin:Q", format=".3f"),
        "patches:Q",
        "slices:Q",
        alt.Tooltip("missing_stains:N", title="stains missing"),
        alt.Tooltip("concentration:Q", format=".3f", title="attention of the top patches"),
        "subset:N",
        "split:Q",
        "run_id:N",
    )
    points = base.mark_point(filled=True, size=70, opacity=1)
    points = points.encode(x=x, shape=outcome_shape().legend(orient="bottom"), tooltip=tooltip)
    layers = [points, ring(alt.Chart(rows).encode(y=y), x=x)]
    if around is not None:
        threshold = alt.Chart(pd.DataFrame({"threshold": [0.5]})).mark_rule(color=NEUTRAL, strokeDash=[5, 4])
        lines = base.mark_rule(strokeWidth=2, opacity=0.45).encode(x=x, x2=alt.datum(0.5))
        layers = [threshold.encode(x="threshold:Q"), lines, *layers]
    return alt.layer(*layers).properties(width=_WIDTH)
