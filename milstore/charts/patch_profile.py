"""`patch-profile`: attention along the patches of one slice."""

from typing import Any

import altair as alt
import pandas as pd

from milstore.charts.answer_line import answered
from milstore.charts.attended import MOST_ROWS, all_stains, called, one_run, slice_names
from milstore.charts.theme import ACCENT, WIDTH, About, stain_colours, themed
from milstore.charts.tooltips import PATCH, PLACE, told

_LABELLED = 3
"""Patches whose number stands above their bar."""


def chart(frame: pd.DataFrame, about: About) -> Any:
    """A bar a patch at its number, the even share of the slice, and twice that."""
    one_run(frame, "patch-profile")
    about = all_stains(frame, about)
    first = frame.iloc[0]
    colour = dict(zip(about.stains, stain_colours(about.stains), strict=True))[first["stain"]]
    effective = 1 / float((frame["patch_attention"] ** 2).sum())
    answer = [
        f"Case {first['case_id']} ({called(first)}), {slice_names(frame).iloc[0]}: its highest patch holds "
        f"{frame['patch_attention'].max():.0%} of the slice; as concentrated as on {effective:.1f} of "
        f"{first['slice_patches']} patches alike.",
        f"The slice has {first['slice_effective_attention']:.1%} of the case's attention.",
    ]
    shown, note = thinned(frame, "patch_attention")
    notes = [*note, f"The {_LABELLED} highest patches are named by their numbers."]
    return themed(_bars(shown, colour).properties(width=WIDTH - 60, height=270, title=answered(about, answer, notes)))


def thinned(frame: pd.DataFrame, value: str) -> tuple[pd.DataFrame, list[str]]:
    """The highest patch of every few where there are too many to draw."""
    every = -(-len(frame) // (MOST_ROWS - 10))
    if every <= 1:
        return frame, []
    kept = frame.groupby([i // every for i in range(len(frame))])[value].idxmax()
    return frame.loc[kept], [f"Of every {every} patches the highest is drawn."]


def _bars(frame: pd.DataFrame, colour: str) -> Any:
    frame = frame.assign(
        left=frame["patch_idx"] - 0.42, right=frame["patch_idx"] + 0.42, twice=2 * frame["uniform"], zero=0.0
    )
    highest = max(float(frame["patch_attention"].max()), 2 * float(frame["uniform"].iloc[0])) * 1.1
    base = alt.Chart(frame)
    ends = [float(frame["left"].min()) - 0.5, float(frame["right"].max()) + 0.5]
    x = alt.X(
        "left:Q",
        title="patch (number in its file's name)",
        scale=alt.Scale(domain=ends, nice=False),
        axis=alt.Axis(grid=False, tickMinStep=1, format="d"),
    )
    y = alt.Y(
        "patch_attention:Q",
        title="patch attention (sums to 1 in the slice)",
        scale=alt.Scale(domain=[0, highest], nice=False),
    )
    tooltip = told(*PATCH, "patch_attention:Q", *PLACE)
    bars = base.mark_bar(color=colour).encode(x=x, x2="right:Q", y=y, y2="zero:Q", tooltip=tooltip)
    top = alt.Chart(frame.nlargest(_LABELLED, "patch_attention"))
    labels = top.mark_text(dy=-7, fontSize=10, color=ACCENT).encode(
        x="patch_idx:Q", y="patch_attention:Q", text="patch_idx:N"
    )
    levels = pd.DataFrame(
        {
            "level": [frame["uniform"].iloc[0], frame["twice"].iloc[0]],
            "words": ["even share", "twice the even share"],
            "end": [ends[1]] * 2,
        }
    )
    lines = alt.Chart(levels)
    rules = lines.mark_rule(color=ACCENT, strokeWidth=1.2).encode(
        y="level:Q",
        strokeDash=alt.StrokeDash(
            "words:N",
            scale=alt.Scale(domain=list(levels["words"]), range=[[1, 0], [5, 4]]),
            title=None,
            legend=alt.Legend(orient="bottom", symbolType="stroke"),
        ),
    )
    return alt.layer(bars, rules, labels)
