"""What is drawn of a case against its error: each class's correlation with its interval, and the cases themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Any

import altair as alt

from milstore.analysis.correlation import in_short, sentence, signed
from milstore.charts.answer_line import answered
from milstore.charts.theme import ACCENT, CLASS_COLOURS, NEUTRAL, About, class_colour, outcome_shape, themed
from milstore.charts.tooltips import CASE, ORIGIN, told
from milstore.charts.within import FADED, PLAIN, asked_for, whose

if TYPE_CHECKING:
    import pandas as pd

_MOST = 4000
POOLED = "pooled"
_STEP, _WHO = 15, 66
"""Pixels of a line of the correlations, and of the name of the class in it."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """What goes with the error, and how it is drawn."""

    name: str
    rows: "pd.DataFrame"
    """Its cases, with the numbers of `correlation.COLUMNS`."""
    x: alt.X
    """What is against the error."""
    even: float | None = None
    """Where an even spread would be, if that is known."""


def few_enough(frame: "pd.DataFrame", most: int = _MOST) -> tuple["pd.DataFrame", list[str]]:
    """At most so many of the rows, evenly taken, and what must be told of it."""
    if len(frame) <= most:
        return frame, []
    step = -(-len(frame) // most)
    drawn = frame.iloc[::step]
    return drawn, [f"{len(drawn):,} of {len(frame):,} points are drawn, evenly taken; the statistics are of all."]


def panels(
    parts: Sequence[Panel],
    about: About,
    *,
    answer: Panel,
    tooltip: list[alt.Tooltip],
    columns: int,
    width: int,
    notes: Sequence[str] = (),
) -> Any:
    """Above, Spearman's rho of each panel and class with its interval; below, a scatter against the error for each panel.

    Args:
        parts: the panels, in their order.
        about: what the chart says of where it came from.
        answer: the panel whose correlations stand under the title.
        tooltip: what is told of a point beside its case, class and error.
        columns: panels side by side.
        width: width of a panel, in pixels.
        notes: what must be told besides.
    """
    said = in_short(answer.rows.to_dict("records"), about.class_names)
    words = f"{answer.name.capitalize()}: {said}." if said else "No case has a label: there is no error."
    marks = [
        "Spearman's ρ with the error, by class, with its 95% interval; pooled only where the classes go the same way."
    ]
    if about.cases:
        marks.append(f"Ringed and named: {whose(about)}; the others are paler.")
    below: list[Any] = []
    thinned: list[str] = []
    for part in parts:
        drawn, thinned = few_enough(part.rows, _MOST // len(parts))
        below.append(_scatter(drawn, part, about, tooltip, width))
    scatters = alt.concat(*below, columns=columns, spacing=18)
    title = answered(about, words, [*notes, *marks, *thinned])
    return themed(
        alt.vconcat(_forest(parts, about), scatters, spacing=22)
        .resolve_scale(color="independent")
        .properties(title=title)
    )


def _forest(parts: Sequence[Panel], about: About) -> Any:
    """A line for each panel and class: rho, its interval, and both in words."""
    import pandas as pd

    rows = [row for part in parts for row in _lines(part, about)]
    frame = pd.DataFrame(rows)
    order = list(dict.fromkeys([*about.class_names, *frame["who"]]))
    order = [name for name in order if name != POOLED] + [POOLED]
    frame = frame.assign(line=frame["panel"] + "/" + frame["who"])
    y = alt.Y("line:N", sort=list(frame["line"]), title=None, axis=None)
    base = alt.Chart(frame).encode(
        y=y,
        tooltip=[
            alt.Tooltip("panel:N", title="of"),
            alt.Tooltip("who:N", title="cases"),
            alt.Tooltip("words:N", title="correlation with the error"),
        ],
    )
    x = alt.X(
        "rho:Q",
        title="Spearman's ρ with the error",
        scale=alt.Scale(domain=[-1, 1], nice=False),
        axis=alt.Axis(values=[-1, -0.5, 0, 0.5, 1], format="~g"),
    )
    zero = alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(color=NEUTRAL, strokeDash=[4, 3]).encode(x="zero:Q")
    colour = _forest_colour(about, order)
    known = base.transform_filter("isValid(datum.rho)")
    whiskers = (
        known.transform_filter("isValid(datum.low)")
        .mark_rule(strokeWidth=2)
        .encode(x=alt.X("low:Q", scale=alt.Scale(domain=[-1, 1])), x2="high:Q", color=colour)
    )
    dots = known.mark_point(filled=True, size=60, opacity=1, shape="diamond").encode(x=x, color=colour)
    middle = alt.layer(zero, whiskers, dots).properties(width=235, height=alt.Step(_STEP))
    heads = alt.Chart(frame.drop_duplicates("panel")).encode(y=y)
    left = heads.mark_text(align="right", fontSize=11, color=ACCENT).encode(x=alt.value(96), text="panel:N")
    right = alt.layer(
        base.mark_text(align="left", fontSize=10.5, color=ACCENT, limit=_WHO - 4).encode(x=alt.value(0), text="who:N"),
        base.mark_text(align="left", fontSize=10.5, color=ACCENT).encode(x=alt.value(_WHO), text="words:N"),
    )
    return alt.hconcat(
        left.properties(width=98, height=alt.Step(_STEP)),
        middle,
        right.properties(width=_WHO + 180, height=alt.Step(_STEP)),
        spacing=6,
    ).resolve_scale(y="shared")


def _forest_colour(about: About, order: Sequence[str]) -> alt.Color:
    """The classes' colours; black for what is pooled. Each line is named beside it, so that no legend is needed."""
    names = {name: CLASS_COLOURS[i % len(CLASS_COLOURS)] for i, name in enumerate(about.class_names)} | {POOLED: ACCENT}
    return alt.Color(
        "who:N",
        legend=None,
        scale=alt.Scale(domain=list(order), range=[names.get(name, NEUTRAL) for name in order]),
    )


def _lines(part: Panel, about: About) -> list[dict[str, Any]]:
    """The classes of a panel, and all of them together where they go the same way."""
    first: dict[str, Mapping[Any, Any]] = {}
    rows: list[Mapping[Any, Any]] = list(part.rows.to_dict("records"))
    for row in rows:
        if row["n"]:
            first.setdefault(str(row["true_class"]), row)
    order = [name for name in about.class_names if name in first]
    found = [
        {
            "panel": part.name, "who": name, "rho": first[name]["rho"], "low": first[name]["rho_low"],
            "high": first[name]["rho_high"], "words": _short(first[name]),
        }
        for name in [*order, *sorted(first.keys() - set(order))]
    ]  # fmt: skip
    if not first:
        return [{"panel": part.name, "who": "no label", "rho": None, "low": None, "high": None, "words": "no error"}]
    row = next(iter(first.values()))
    rho, low, high = (row[name] for name in ("pooled_rho", "pooled_low", "pooled_high"))
    if _missing(rho):
        return found
    words = _between(rho, low, high)
    return [*found, {"panel": part.name, "who": POOLED, "rho": rho, "low": low, "high": high, "words": words}]


def _short(row: Mapping[Any, Any]) -> str:
    """As `sentence`, in as few letters as fit beside a whisker."""
    rho, low, high = row["rho"], row["rho_low"], row["rho_high"]
    if _missing(rho):
        return sentence(row).removeprefix("ρ ")
    counted = f"{row['n_cases']} cases" if row["n"] == row["n_cases"] else f"{row['n']} of {row['n_cases']} cases"
    return f"{_between(rho, low, high)}, {counted}"


def _between(rho: float, low: float | None, high: float | None) -> str:
    if low is None or high is None or _missing(low):
        return signed(rho)
    return f"{signed(rho)} ({signed(low)} to {signed(high)})"


def _missing(value: float | None) -> bool:
    """pandas turns what is null into NaN."""
    return value is None or isnan(value)


def _scatter(rows: "pd.DataFrame", part: Panel, about: About, tooltip: list[alt.Tooltip], width: int) -> Any:
    import pandas as pd

    rows = rows.drop(columns=[name for name in rows if str(name).startswith(("rho", "pooled", "p_value"))])
    rows = rows.assign(asked=asked_for(rows, about))
    y = alt.Y("error:Q", title="error, 1 − p(true class)", scale=alt.Scale(domain=[0, 1]))
    base = alt.Chart(rows)
    below: dict[str, Any] = {"orient": "bottom", "direction": "horizontal"}
    points = base.mark_point(filled=True, size=42, opacity=FADED if about.cases else PLAIN).encode(
        x=part.x,
        y=y,
        color=class_colour(about).legend(symbolOpacity=1, **below),
        shape=outcome_shape().legend(symbolOpacity=1, **below),
        tooltip=told(*CASE, *tooltip, *ORIGIN),
    )
    layers: list[Any] = [points]
    if part.even is not None:
        line = alt.Chart(pd.DataFrame({"even": [part.even]})).mark_rule(color=NEUTRAL, strokeDash=[5, 4])
        layers.insert(0, line.encode(x="even:Q"))
    if about.cases:
        layers += ringed(base.transform_filter("datum.asked"), part.x, y, about)
    title = alt.TitleParams(part.name, fontSize=12, fontWeight="normal", anchor="start", offset=4)
    return alt.layer(*layers).properties(width=width, height=min(width, 200), title=title)


def ringed(base: Any, x: alt.X, y: alt.Y, about: About) -> list[Any]:
    """The cases that were asked for: in their colours and shapes, with a ring, and their names."""
    dots = base.mark_point(filled=True, size=60, opacity=1).encode(
        x=x, y=y, color=class_colour(about), shape=outcome_shape()
    )
    rings = base.mark_point(size=170, strokeWidth=2, color=ACCENT, shape="circle").encode(x=x, y=y)
    names = base.mark_text(dy=-15, fontSize=11, fontWeight="bold", color=ACCENT).encode(x=x, y=y, text="case_id:N")
    return [rings, dots, names]
