"""The chart of `level-correlation`: how patch, slice and stain attention go with effective attention, by class."""

from math import isnan
from typing import TYPE_CHECKING, Any

import altair as alt

from milstore.analysis.correlation import signed
from milstore.charts.answer_line import answered
from milstore.charts.error_scatter import few_enough
from milstore.charts.strips import NOTE, classes_of, strips
from milstore.charts.theme import NEUTRAL, About, themed
from milstore.charts.tooltips import CALLED, ORIGIN, told
from milstore.charts.within import whose

if TYPE_CHECKING:
    import pandas as pd

WITHIN_COHORT = True
LEVELS = ["patch", "slice", "stain"]
_MEASURES = {"pearson": "Pearson's r", "spearman": "Spearman's ρ"}


def chart(frame: "pd.DataFrame", about: About) -> Any:
    """A dot a case for each level and class, with median and quartiles; Pearson's and Spearman's side by side."""
    drawn, notes = few_enough(frame, 2000)
    undefined = [
        f"{level} {int(rows['spearman'].isna().sum())}"
        for level, rows in frame.groupby("level", sort=False)
        if rows["spearman"].isna().any()
    ]
    cases = frame.groupby(["run_id", "case_id"]).ngroups
    if undefined:
        notes = [f"Undefined, and not drawn, of {cases} cases: {', '.join(undefined)} (the tables say why).", *notes]
    if about.cases:
        notes = [f"Ringed and named: {whose(about)}; the others are paler.", *notes]
    sides = [_side(drawn, about, name, words) for name, words in _MEASURES.items()]
    both = alt.hconcat(*sides, spacing=18)
    pct = float(about.values.get("pct") or 100)
    over = "all patches" if pct >= 100 else f"the top {pct:g}% of patches"
    marks = [
        f"Dot: correlation over {over} of a case. {NOTE}",
        "Under each level: over the same patches of all cases of a class at once; pooled only where the classes agree.",
    ]
    title = answered(about, _answer(frame, about), [*marks, *notes])
    return themed(both.properties(title=title))


def _answer(frame: "pd.DataFrame", about: About) -> list[str]:
    """The level that decides most by class, with the medians of all; and what all patches of a class say at once."""
    lines = []
    for name in classes_of(frame, about):
        of_class = frame[frame["true_class"] == name]
        medians = {
            level: of_class.loc[of_class["level"] == level, "spearman"].median()
            for level in LEVELS
            if of_class.loc[of_class["level"] == level, "spearman"].notna().any()
        }
        if not medians:
            lines.append(f"{name}: no level has a correlation.")
            continue
        most = max(medians, key=lambda level: abs(medians[level]))
        said = ", ".join(f"{level} {signed(value)}" for level, value in medians.items() if level != most)
        also = f"; {said}" if said else ""
        lines.append(
            f"{name}: {most} attention goes most with effective attention (median ρ {signed(medians[most])}{also})."
        )
    return lines


def _side(frame: "pd.DataFrame", about: About, name: str, words: str) -> Any:
    rows = frame.assign(group=frame["level"], value=frame[name])
    y = alt.Y(
        "value:Q",
        title=f"{words} with effective attention",
        scale=alt.Scale(domain=[-1, 1], nice=False),
        axis=alt.Axis(values=[-1, -0.5, 0, 0.5, 1], format="~g"),
    )
    kept = [
        "group", "value", "case_id", "true_class", "outcome", "error", "level", "pearson", "spearman", "n_patches",
        "subset", "run_id",
    ]  # fmt: skip
    strip = strips(rows[kept], about, groups=LEVELS, y=y, tooltip=_tooltip(), labels=_labels(frame, about, name))
    zero = alt.Chart(alt.InlineData(values=[{}])).mark_rule(color=NEUTRAL, strokeDash=[4, 3]).encode(y=alt.datum(0))
    return alt.layer(zero, strip)


def _labels(frame: "pd.DataFrame", about: About, name: str) -> list[list[str]]:
    """Under each level: the correlation over all patches of each class at once, and of all where the classes agree."""
    labels = []
    for level in LEVELS:
        rows = frame[frame["level"] == level]
        first = rows.drop_duplicates("true_class").set_index("true_class")[f"{name}_class"]
        lines = [level, *(f"{class_name} {_said(first[class_name])}" for class_name in classes_of(rows, about))]
        over_all = float(rows[f"{name}_all"].iloc[0])
        if not isnan(over_all) and len(lines) > 2:
            lines.append(f"pooled {_said(over_all)}")
        labels.append(lines)
    return labels


def _said(value: float) -> str:
    return "undefined" if isnan(value) else signed(value)


def _tooltip() -> list[alt.Tooltip]:
    return told(
        "case_id:N",
        "level:N",
        alt.Tooltip("pearson:Q", title="Pearson's r", format=".3f"),
        alt.Tooltip("spearman:Q", title="Spearman's ρ", format=".3f"),
        "n_patches:Q",
        *CALLED,
        *ORIGIN,
    )
