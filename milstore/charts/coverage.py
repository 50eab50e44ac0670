"""The chart of `coverage`: patches that exist, that training could see, and that evaluation used."""

from typing import TYPE_CHECKING, Any

import altair as alt

from milstore.charts.answer_line import answered
from milstore.charts.theme import ACCENT, NEUTRAL, About, themed
from milstore.charts.whiskers import ring
from milstore.charts.within import whose
from milstore.store.names import counted

if TYPE_CHECKING:
    import pandas as pd

WITHIN_COHORT = True

_COUNTS = ["existing", "with_feature", "trained", "evaluated"]
_USES = {"trained": "a training epoch could see", "evaluated": "evaluation used"}
_KINDS = ["exist", *_USES.values()]
_COLOURS, _SHAPES = ["#6B7280", "#7C3AED", ACCENT], ["square", "diamond", "circle"]
_MOST_ROWS = 30
"""Rows one can take in; the table has all."""
_MOST_POINTS = 2400


def chart(frame: "pd.DataFrame", about: About) -> Any:
    """Each case by its size and the share of it that was used; below, what lost most, or the slices that were asked for."""
    cases = _cases(frame, about)
    rows, what, notes = _rows(frame, cases, about)
    if cases["asked"].any():
        notes.insert(0, f"Ringed above, and slice by slice below: {whose(about)}.")
    if len(cases) > _MOST_POINTS:
        notes.append(f"Dots: {_MOST_POINTS:,} of {len(cases):,} cases, those that lost most.")
    plots = [_sizes(cases.head(_MOST_POINTS))]
    if len(rows):
        plots.append(_counts(rows, what))
    title = answered(about, _answers(cases), notes)
    return themed(
        alt.vconcat(*plots, spacing=22).resolve_scale(color="independent", shape="independent").properties(title=title)
    )


def _cases(frame: "pd.DataFrame", about: About) -> "pd.DataFrame":
    """A row a case, what lost most first; trained is null where no run had it in training."""
    of_case = frame.groupby("case_id", sort=False)
    rows = of_case[_COUNTS].sum(min_count=1).reset_index()
    rows["runs"], rows["runs_trained"] = (of_case[name].max().to_numpy() for name in ("runs", "runs_trained"))
    rows["asked"] = rows["case_id"].isin(list(about.cases))
    for name in _USES:
        rows[f"{name}_share"] = rows[name] / rows["existing"]
    rows["lost"] = rows["existing"] - rows[list(_USES)].min(axis=1)
    return rows.sort_values("lost", ascending=False, kind="stable")


def _answers(cases: "pd.DataFrame") -> list[str]:
    """How much was used, and which cases lost."""
    said = []
    for name, words in _USES.items():
        known = cases[cases[name].notna()]
        there, used = int(known["existing"].sum()), int(known[name].sum())
        if not there:
            continue
        many = f"all {there:,}" if used == there else f"{used:,} of {there:,} ({_percent(used, there)})"
        said.append(f"{words} {many} patches of {counted(len(known), 'case')}")
    text = "; ".join(said)
    losing = cases[cases["lost"] > 0]
    if losing.empty and cases["trained"].notna().all():
        there = int(cases["existing"].sum())
        of = counted(len(cases), "case")
        return [f"Nothing was lost: training could see, and evaluation used, all {there:,} patches of {of}."]
    if losing.empty:
        return [f"Nothing was lost: {text}."]
    lost = [
        f"{row['case_id']} ({row['lost']:,.0f} of {row['existing']:,})" for row in losing.head(4).to_dict("records")
    ]
    return [
        f"{text[:1].upper()}{text[1:]}.",
        f"{counted(len(losing), 'case')} lost patches: {', '.join(lost[:3])}{', …' if len(losing) > 3 else ''}.",
    ]


def _percent(part: int, whole: int) -> str:
    """A share in percent; 100 only where nothing is missing."""
    return f"{min(99.9, 100 * part / whole):.1f}%"


def _rows(frame: "pd.DataFrame", cases: "pd.DataFrame", about: About) -> tuple["pd.DataFrame", str, list[str]]:
    """The rows below: slices of the cases that were asked for, else the cases that lost; what a row is; what is left out."""
    if cases["asked"].any():
        rows = frame[frame["case_id"].isin(list(about.cases))].copy()
        rows["row"] = _slices(rows, several=len(about.cases) > 1)
        what = "slice"
    else:
        rows = cases[cases["lost"] > 0].copy()
        rows["row"], what = rows["case_id"], "case"
    notes = [] if len(rows) <= _MOST_ROWS else [f"Below: {_MOST_ROWS} of {len(rows):,} {what}s; the table has all."]
    if what == "case" and len(rows):
        notes.insert(0, "Below: the cases that lost patches, most first.")
    return rows.head(_MOST_ROWS), what, notes


def _slices(rows: "pd.DataFrame", *, several: bool) -> "pd.Series[str]":
    """What each row's slice is called: by the name that its files have, if the answer knows it."""
    number = "slice " + rows["slice_idx"].astype(str)
    name = rows["slice_name"].fillna(number) if "slice_name" in rows else number
    names = rows["stain"] + " · " + name
    return "case " + rows["case_id"] + " · " + names if several else names


def _sizes(cases: "pd.DataFrame") -> Any:
    """Two panels, one scale: patches of a case against the share of them that was used."""
    largest, smallest = int(cases["existing"].max()), max(1, int(cases["existing"].min()))
    scale = alt.Scale(type="log", domain=[smallest * 0.8, largest * 1.25], nice=False)
    ticks = [
        n
        for n in (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 1_000_000)
        if smallest * 0.8 <= n <= largest * 1.25
    ]
    panels = []
    for i, (name, words) in enumerate(_USES.items()):
        axis = alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1])
        y = alt.Y(
            f"{name}_share:Q",
            title="share of them" if i == 0 else None,
            scale=alt.Scale(domain=[0, 1.04], nice=False),
            axis=axis if i == 0 else alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], labels=False, ticks=False),
        )
        x = alt.X(
            "existing:Q", title="patches of the case (log scale)", scale=scale, axis=alt.Axis(values=ticks, format=",d")
        )
        base = alt.Chart(cases).transform_filter(f"isValid(datum.{name}_share)")
        points = base.mark_point(filled=True, size=38, color=ACCENT, opacity=0.45, shape="circle")
        title = alt.TitleParams(f"patches that {words}", anchor="start", fontSize=12, offset=4)
        layers = alt.layer(points.encode(x=x, y=y, tooltip=_tooltip("case_id:N")), ring(base, x=x, y=y))
        panels.append(layers.properties(width=240, height=130, title=title))
    return alt.hconcat(*panels, spacing=16)


def _counts(rows: "pd.DataFrame", what: str) -> Any:
    """A line a row, with a mark for each of its counts."""
    axis = alt.Axis(ticks=False, domain=False, labelLimit=190)
    y = alt.Y("row:N", sort=list(rows["row"]), title=what, axis=axis)
    x = alt.X("existing:Q", title="patches", axis=alt.Axis(format=",d", tickMinStep=1), scale=alt.Scale(zero=True))
    base = alt.Chart(rows).encode(y=y, tooltip=_tooltip("row:N"))
    line = base.transform_calculate(
        least="min(datum.evaluated, isValid(datum.trained) ? datum.trained : datum.existing)"
    )
    layers = [line.mark_rule(color=NEUTRAL, strokeWidth=1, opacity=0.6).encode(x=x, x2="least:Q")]
    for name, words in zip(("existing", *_USES), _KINDS, strict=True):
        layers.append(_marks(base, name, words, x))
    return alt.layer(*layers).properties(width=400, height=alt.Step(18))


def _marks(base: alt.Chart, name: str, words: str, x: alt.X) -> Any:
    """The marks of one of the counts, with its colour and shape. They grow from the last drawn to the first, so all are seen."""
    legend = alt.Legend(title="patches that", orient="bottom", labelLimit=300)
    of_kind = base.transform_filter(f"isValid(datum.{name})").transform_calculate(kind=f"'{words}'")
    size = {"existing": 150, "trained": 90, "evaluated": 26}[name]
    return of_kind.mark_point(filled=name == "evaluated", size=size, opacity=1, strokeWidth=2).encode(
        x=alt.X(f"{name}:Q", title=x["title"]) if name != "existing" else x,
        color=alt.Color("kind:N", scale=alt.Scale(domain=_KINDS, range=_COLOURS), legend=legend),
        shape=alt.Shape("kind:N", scale=alt.Scale(domain=_KINDS, range=_SHAPES), legend=legend),
    )


def _tooltip(row: str) -> list[alt.Tooltip]:
    titles = {
        "existing": "exist",
        "with_feature": "with a feature",
        "trained": "seen by training",
        "evaluated": "evaluated",
    }
    return [
        alt.Tooltip(row, title="case" if row == "case_id:N" else "row"),
        *(alt.Tooltip(f"{name}:Q", title=title, format=",d") for name, title in titles.items()),
        alt.Tooltip("runs:Q", title="runs"),
        alt.Tooltip("runs_trained:Q", title="of these, had it in training"),
    ]
