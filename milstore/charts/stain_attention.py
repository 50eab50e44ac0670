"""`stain-attention`: the weight of each stain by class, how often each stain leads, and every case."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from milstore.charts.attended import MOST_CASE_ROWS, all_stains, case_names
from milstore.charts.case_rows import row_step
from milstore.charts.theme import ACCENT, About, class_colour, outcome_shape, stain_colour, themed, titled
from milstore.charts.tooltips import CALLED, told

MOST_POINTS = 3000
_BOXES_FROM = 5
"""Cases of a class from which on quartiles say more than the points alone."""


def chart(frame: pd.DataFrame, about: About) -> Any:
    """Weights by stain and class, the leading stain by class, and a bar a case."""
    about = all_stains(frame, about)
    frame = frame.assign(case=case_names(frame))
    above = alt.hconcat(_spread(frame, about), _leading(frame, about), spacing=30)
    above = above.resolve_scale(color="independent", shape="independent", y="independent")
    panels, notes = [above], list(about.notes)
    if frame["case"].nunique() <= MOST_CASE_ROWS:
        panels.append(_cases(frame, about))
    else:
        notes.append(f"More than {MOST_CASE_ROWS} cases: the table has them one by one.")
    parts = alt.vconcat(*panels, spacing=24).resolve_scale(color="independent", shape="independent")
    title = titled(About(title=about.title, subtitle=about.subtitle, notes=notes))
    return themed(parts.properties(title=title))


def _classes(frame: pd.DataFrame, about: About) -> list[str]:
    return [
        name for name in dict.fromkeys([*about.class_names, *frame["true_class"]]) if name in set(frame["true_class"])
    ]


def _spread(frame: pd.DataFrame, about: About) -> Any:
    """Each case's weights as points, with median and quartiles by class; a column a stain."""
    classes = _classes(frame, about)
    points = frame if len(frame) <= MOST_POINTS else frame.sample(MOST_POINTS, random_state=0)
    # A fixed scatter: the same picture each time.
    points = points.assign(jitter=[(i * 0.618034) % 1 - 0.5 for i in range(len(points))])
    stains = [stain for stain in about.stains if stain in set(frame["stain"])]
    columns = []
    for i, stain in enumerate(stains):
        panel = _column(
            points[points["stain"] == stain], _quartiles(frame[frame["stain"] == stain]), about, classes, i == 0
        )
        columns.append(panel.properties(width=400 / len(stains) - 12, height=250, title=_small(stain)))
    words = "Weights by class (bar: quartiles, line: median)"
    return alt.hconcat(*columns, spacing=8, title=_small(words)).resolve_scale(y="shared")


def _quartiles(frame: pd.DataFrame) -> pd.DataFrame:
    """Quartiles of each class that has enough cases."""
    many = frame[frame.groupby("true_class")["case_id"].transform("count") >= _BOXES_FROM]
    found = many.groupby("true_class", sort=False)["stain_attention"].quantile(np.array([0.25, 0.5, 0.75])).unstack()
    return pd.DataFrame(
        {
            "true_class": found.index,
            **{name: found.get(q) for name, q in (("lower", 0.25), ("middle", 0.5), ("upper", 0.75))},
        }
    ).reset_index(drop=True)


def _column(points: pd.DataFrame, boxes: pd.DataFrame, about: About, classes: list[str], first: bool) -> Any:
    place = {name: i for i, name in enumerate(classes)}
    points = points.assign(place=points["true_class"].map(place) + 0.55 * points["jitter"])
    middle = boxes["true_class"].map(place).astype(float)
    boxes = boxes.assign(left=middle - 0.36, right=middle + 0.36)
    ends = [-0.6, len(classes) - 0.4]
    quiet = alt.Axis(labels=False, ticks=False, grid=False, title=None)
    x = alt.X("left:Q", scale=alt.Scale(domain=ends, nice=False), axis=quiet)
    axis = alt.Axis(title="stain attention") if first else alt.Axis(title=None, labels=False, ticks=False, domain=False)
    y = alt.Y("stain_attention:Q", axis=axis, scale=alt.Scale(domain=[0, 1]))
    base = alt.Chart(boxes).encode(x=x, x2="right:Q")
    bars = base.mark_rect(color="#9CA3AF", opacity=0.35).encode(y="lower:Q", y2="upper:Q")
    lines = base.mark_rule(color=ACCENT, strokeWidth=2.5).encode(y="middle:Q")
    marks = (
        alt.Chart(points)
        .mark_point(size=26, opacity=0.85, strokeWidth=1.4)
        .encode(
            x=alt.X("place:Q", axis=quiet),
            y=y,
            color=class_colour(about).legend(orient="bottom"),
            shape=outcome_shape().legend(orient="bottom"),
            tooltip=_tooltip(),
        )
    )
    return alt.layer(bars, lines, marks)


def _leading(frame: pd.DataFrame, about: About) -> Any:
    """How many of each class's cases each stain leads."""
    led = frame.drop_duplicates(["true_class", "stain"])
    led = led.assign(share=led["leads_in_class"] / led["cases_in_class"])
    led = led[led["leads_in_class"] > 0]
    led = led.assign(words=led["leads_in_class"].astype(str) + " of " + led["cases_in_class"].astype(str))
    classes = _classes(frame, about)
    base = alt.Chart(led).encode(
        y=alt.Y("stain:N", sort=list(about.stains), title=None, axis=alt.Axis(ticks=False, domain=False)),
        tooltip=told("true_class:N", "stain:N", alt.Tooltip("words:N", title="leads")),
    )
    x = alt.X(
        "share:Q",
        title="share of the class's cases",
        axis=alt.Axis(format="%", tickCount=3),
        scale=alt.Scale(domain=[0, 1.15], nice=False),
    )
    bars = base.mark_bar(height={"band": 0.7}).encode(x=x, color=stain_colour(about).legend(None))
    text = base.mark_text(align="left", dx=4, fontSize=10).encode(x=x, text="words:N")
    panel = alt.layer(bars, text).properties(width=210, height=alt.Step(20))
    header = alt.Header(title=None, labelAnchor="start", labelFontSize=11, labelOrient="top")
    row = alt.Row("true_class:N", sort=classes, header=header)
    return panel.facet(row=row, spacing=8).properties(title=_small("The stain of highest weight"))


def _cases(frame: pd.DataFrame, about: About) -> Any:
    """A bar a case, cut into the stains' weights."""
    order = {stain: i for i, stain in enumerate(about.stains)}
    frame = frame.assign(order=frame["stain"].map(order))
    first = frame[frame["stain"] == about.stains[0]].set_index(["run_id", "case_id"])["stain_attention"]
    keys = pd.MultiIndex.from_frame(frame[["run_id", "case_id"]])
    frame = frame.assign(first=first.reindex(keys).fillna(-1.0).to_numpy())
    classes = _classes(frame, about)
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
            axis=alt.Axis(ticks=False, domain=False, labelFontSize=9, labelOverlap=False),
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
            .properties(width=640, height=alt.Step(row_step(n_cases)), title=_small(f"{name} (* called wrong)", 11))
        )
    title = _small(f"Every case, by the weight of {about.stains[0]}")
    return alt.vconcat(*rows, spacing=8, title=title).resolve_scale(color="shared")


def _small(words: str, size: int = 12) -> alt.TitleParams:
    return alt.TitleParams(words, fontSize=size, fontWeight="normal", anchor="start")


def _tooltip() -> list[alt.Tooltip]:
    return told("case_id:N", "stain:N", "stain_attention:Q", *CALLED, "stain_slices:Q", "stain_patches:Q")
