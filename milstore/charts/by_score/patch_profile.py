"""`patch-profile` by a score: the score along the patches of one slice."""

from typing import Any

import altair as alt
import pandas as pd

from milstore.charts.answer_line import answered
from milstore.charts.attended import all_stains, called, one_run, slice_names
from milstore.charts.by_score.signed import between, number, score_of, score_title, span, zero_rule
from milstore.charts.patch_profile import thinned
from milstore.charts.theme import ACCENT, WIDTH, About, stain_colours, themed
from milstore.charts.tooltips import PLACE, SCORED, told

_LABELLED = 3
"""Patches whose number stands above their bar."""


def chart(frame: pd.DataFrame, about: About) -> Any:
    """A bar a patch at its number, from 0 to its score, and the mean of the slice."""
    one_run(frame, "patch-profile")
    about = all_stains(frame, about)
    first = frame.iloc[0]
    colour = dict(zip(about.stains, stain_colours(about.stains), strict=True))[first["stain"]]
    above = int((frame["score"] > 0).sum())
    answer = [
        f"Case {first['case_id']} ({called(first)}), {slice_names(frame).iloc[0]}: {score_of(about)} is "
        f"{between(frame['score'].min(), frame['score'].max())}, {number(first['slice_mean_score'])} on average; "
        f"above 0 for {above} of {first['slice_patches']} patches."
    ]
    shown, note = thinned(frame, "score")
    notes = [*note, f"The {min(_LABELLED, len(shown))} highest patches are named by their numbers."]
    return themed(
        _bars(shown, about, colour).properties(width=WIDTH - 60, height=270, title=answered(about, answer, notes))
    )


def _bars(frame: pd.DataFrame, about: About, colour: str) -> Any:
    frame = frame.assign(left=frame["patch_idx"] - 0.42, right=frame["patch_idx"] + 0.42, zero=0.0)
    base = alt.Chart(frame)
    ends = [float(frame["left"].min()) - 0.5, float(frame["right"].max()) + 0.5]
    x = alt.X(
        "left:Q",
        title="patch (number in its file's name)",
        scale=alt.Scale(domain=ends, nice=False),
        axis=alt.Axis(grid=False, tickMinStep=1, format="d"),
    )
    y = alt.Y("score:Q", title=score_title(about), scale=alt.Scale(domain=span(frame["score"], 0.1), nice=False))
    bars = base.mark_bar(color=colour).encode(x=x, x2="right:Q", y=y, y2="zero:Q", tooltip=told(*SCORED, *PLACE))
    top = alt.Chart(frame.nlargest(_LABELLED, "score").assign(at=lambda rows: rows["score"].clip(lower=0)))
    labels = top.mark_text(dy=-7, fontSize=10, color=ACCENT).encode(x="patch_idx:Q", y="at:Q", text="patch_idx:N")
    level = pd.DataFrame({"level": [float(frame["slice_mean_score"].iloc[0])], "words": ["mean of the slice"]})
    mean = (
        alt.Chart(level)
        .mark_rule(color=ACCENT, strokeWidth=1.2)
        .encode(
            y="level:Q",
            strokeDash=alt.StrokeDash(
                "words:N",
                scale=alt.Scale(domain=list(level["words"]), range=[[5, 4]]),
                title=None,
                legend=alt.Legend(orient="bottom", symbolType="stroke"),
            ),
        )
    )
    return alt.layer(bars, zero_rule(y="zero:Q"), mean, labels)
