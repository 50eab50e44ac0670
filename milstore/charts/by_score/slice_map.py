"""`slice-map` by a score: a case's slices on one sheet, and the score painted over their tissue, on a scale that parts at 0."""

from typing import Any, Final

import altair as alt
import pandas as pd

from milstore.charts.answer_line import answered
from milstore.charts.attended import all_stains, called, one_run, slice_names
from milstore.charts.by_score.signed import between, number, score_of
from milstore.charts.slice_map import SCHEME
from milstore.charts.slice_sheet import LEGEND, SLICE, Paint, lacking_pictures, sheet, with_slice_pictures
from milstore.charts.theme import About, themed
from milstore.charts.tooltips import PLACE, SCORED, told

_PARTED: Final = ("#0571b0", "#f7f7f7", "#ca0020")
"""Below 0, 0 and above 0 (ColorBrewer's RdBu, Harrower & Brewer 2003): for the colour-blind too."""


def prepare(frame: pd.DataFrame, about: About) -> pd.DataFrame:
    """With pictures of the slices, those of the highest score first: see `with_slice_pictures`."""
    return with_slice_pictures(frame, about, "slice_highest_score")


def chart(frame: pd.DataFrame, about: About) -> Any:
    """A panel for each slice, in one scale; of one slice alone its tissue in colour too.

    UsageError if several runs answer, or if no slice has places.
    """
    one_run(frame, "slice-map")
    about = all_stains(frame, about)
    drawn, more = sheet(frame, _paint(frame, about))
    frame = frame.assign(slice=slice_names(frame))
    outlined = int(frame["outlined_patches"].iloc[0])
    many = frame.groupby(SLICE).ngroups > 1
    one = "All slices of a case have one scale of colour and of size." if many else "Its scale of colour is the case's."
    patches = f"{outlined} patches" if outlined > 1 else "patch"
    how = f"Outlined: the case's {patches} of the highest score (top 5 %). {one}{lacking_pictures(frame)}"
    return themed(drawn.properties(title=answered(about, _answer(frame, about), [how, *more])))


def _answer(frame: pd.DataFrame, about: About) -> str:
    """The range of the score, on how many patches it is above 0, and in which slices the outlined ones lie."""
    first = frame.iloc[0]
    counts = frame[frame["outlined"]].groupby("slice", sort=False).size().sort_values(ascending=False, kind="stable")
    named = ", ".join(f"{name}: {n}" for name, n in list(counts.items())[:4])
    more = f" and {len(counts) - 4} more" if len(counts) > 4 else ""
    whole = frame.groupby(SLICE).ngroups == first["case_slices"]
    where = "" if whole else f"{frame['slice'].iloc[0]}: "
    lie = f"the highest lie in {named}{more}" if len(counts) else "none of the case's highest lies here"
    return (
        f"Case {first['case_id']} ({called(first)}), {where}{score_of(about)} is "
        f"{between(frame['score'].min(), frame['score'].max())}, above 0 for {int((frame['score'] > 0).sum()):,} of {len(frame):,} patches; {lie}."
    )


def _paint(frame: pd.DataFrame, about: About) -> Paint:
    by_rank = str(about.values.get("scale", "score")).lower() == "rank"
    # As far below 0 as above it, so that 0 is the colour between, and a shade says the same on both sides.
    far = max(abs(float(frame["lowest_shade"].min())), abs(float(frame["highest_shade"].max()))) or 1.0
    return Paint(
        value="score",
        columns=("score",),
        colour=_by_rank() if by_rank else _by_score(far, about),
        opacity=_opacity([0.0, 1.0], [0.12, 0.9]) if by_rank else _opacity([-far, 0.0, far], [0.9, 0.12, 0.9]),
        tooltip=told(*SCORED, *PLACE),
        words=lambda first: f"up to {number(first['slice_highest_score'])}, mean {number(first['slice_mean_score'])}",
    )


def _opacity(domain: list[float], shown: list[float]) -> alt.FillOpacity:
    scale = alt.Scale(domain=domain, range=shown, clamp=True, nice=False)
    return alt.FillOpacity("shade:Q", legend=None, scale=scale)


def _by_rank() -> alt.Color:
    scale = alt.Scale(domain=[0, 1], scheme=SCHEME, clamp=True, nice=False)
    words = "rank in the case: lowest (pale) to highest (dark)"
    return alt.Color("shade:Q", scale=scale, title=words, legend=alt.Legend(format="%", tickCount=5, **LEGEND))


def _by_score(far: float, about: About) -> alt.Color:
    scale = alt.Scale(domain=[-far, 0.0, far], range=list(_PARTED), clamp=True, nice=False)
    # Labels at the very ends stand within the legend's width.
    values = [-far, -far / 2, 0.0, far / 2, far]
    words = f"score {score_of(about)} (blue: below 0; red: above 0)"
    return alt.Color("shade:Q", scale=scale, title=words, legend=alt.Legend(format=".3~g", values=values, **LEGEND))
