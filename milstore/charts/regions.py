"""`regions`: how many times its even share of attention each annotated region gets, by class, and in the cases asked for."""

import textwrap
from typing import Any

import altair as alt
import pandas as pd

from milstore.charts.answer_line import answered
from milstore.charts.attended import called, times_even
from milstore.charts.error_scatter import few_enough
from milstore.charts.strips import NOTE, classes_of, strips
from milstore.charts.theme import NEUTRAL, WIDTH, About, themed
from milstore.charts.tooltips import CASE, ORIGIN, told
from milstore.charts.within import asked_for, whose
from milstore.store.names import counted, named

WITHIN_COHORT = True

MOST_REGIONS = 6
"""Regions that are drawn, those of most cases first; the table has all."""
_LEAST = 0.01
"""Shares below this many times the even share are drawn here: a log scale has no zero."""
OUTSIDE = "outside"
"""What the patches are in that lie in no region."""


def chart(frame: pd.DataFrame, about: About) -> Any:
    """A strip a region: a dot a case at attention's share over the patches' share, with the line of an even spread."""
    # A region that somebody called outside is not what lies in none.
    drawn_as = f"{OUTSIDE} (a region)"
    frame = frame.assign(region=frame["region"].where(~frame["annotated"] | (frame["region"] != OUTSIDE), drawn_as))
    regions = _regions(frame)
    drawn = frame[frame["region"].isin(regions)]
    points, notes = few_enough(drawn, 4000)
    low = points["times_even"] < _LEAST
    points = points.assign(group=points["region"], value=points["times_even"].clip(lower=_LEAST))
    notes += [f"Below {_LEAST:g} times: drawn at {_LEAST:g} ({counted(int(low.sum()), 'dot')})."] if low.any() else []
    left_out = frame["region"].nunique() - len(regions)
    notes += [f"{counted(left_out, 'region')} of fewer cases are in the table alone."] if left_out else []
    if about.cases:
        notes = [f"Ringed and named: {whose(about)}; the others are paler.", *notes]
    y = alt.Y(
        "value:Q",
        title="share of attention over share of patches (log scale)",
        scale=alt.Scale(type="log", nice=False, padding=14),
        axis=alt.Axis(format="~g", tickCount=6),
    )
    # Long names are broken, so that they do not run into each other.
    labels = [textwrap.wrap(name, max(8, 64 // len(regions)))[:3] for name in regions]
    strip = strips(points, about, groups=regions, labels=labels, y=y, tooltip=_tooltip(), width=WIDTH, height=300)
    even = alt.Chart(pd.DataFrame({"even": [1.0]})).mark_rule(color=NEUTRAL, strokeDash=[5, 4], strokeWidth=1.2)
    title = answered(about, _answer(frame, about), ["Dashed: attention as even as the patches.", NOTE, *notes])
    return themed(alt.layer(even.encode(y="even:Q"), strip).properties(title=title))


def _regions(frame: pd.DataFrame) -> list[str]:
    """The regions that are drawn: of most cases first, and what lies in none at last."""
    of = frame[frame["annotated"]]["region"].value_counts()
    return [*sorted(of.index, key=lambda name: (-of[name], name))[:MOST_REGIONS], OUTSIDE]


def _answer(frame: pd.DataFrame, about: About) -> list[str]:
    """The region of each class that attention falls in most beyond its size, and the regions of the cases asked for."""
    lines = []
    for name in classes_of(frame, about):
        rows = frame[(frame["true_class"] == name) & frame["annotated"]].drop_duplicates("region")
        rows = rows.dropna(subset=["class_times_even"]).sort_values("class_times_even", ascending=False)
        said = [
            f"{row['region']} {times_even(row['class_times_even'])} ({row['region_cases']} of {row['class_cases']} cases)"
            for _, row in rows.iterrows()
        ]
        lines.append(f"{name}, times the even share (median): {named(said, 3) or 'no attention on annotated slices'}.")
    mine = frame[asked_for(frame, about)]
    for (case, _), rows in mine.groupby(["case_id", "run_id"], sort=False):
        shares = [
            f"{row['region']} {row['attention_share']:.0%} of attention on {row['patch_share']:.0%} of patches"
            for _, row in rows.iterrows()
            if not pd.isna(row["attention_share"])
        ]
        lines.append(f"Case {case} ({called(rows.iloc[0])}): {'; '.join(shares)}.")
    return lines


def _tooltip() -> list[alt.Tooltip]:
    return told(
        *CASE,
        "region:N",
        alt.Tooltip("region_patches:Q", title="patches in it"),
        alt.Tooltip("patch_share:Q", title="share of the patches", format=".1%"),
        alt.Tooltip("attention_share:Q", title="share of the attention", format=".1%"),
        "times_even:Q",
        *ORIGIN,
    )
