"""`slice-map`: a case's slices on one sheet, their tissue in grey and attention painted over it at the patches' places."""

from math import ceil
from typing import Any, Final

import altair as alt
import pandas as pd

from milstore.charts.answer_line import answered
from milstore.charts.attended import all_stains, called, one_run, slice_names
from milstore.charts.slice_sheet import LEGEND, SLICE, Paint, lacking_pictures, sheet, with_slice_pictures
from milstore.charts.theme import About, themed
from milstore.charts.tooltips import PATCH, PLACE, told

SCHEME: Final = "yelloworangered"
"""One way from pale to dark, for the colour-blind and in grey too; over the tissue, what is pale lets it through."""
_LEAST, _AT_LEAST_TO = -1.0, 1.0
"""The logarithmic scale begins at a tenth of the even share, and goes to ten times at least: an even slice stays pale."""


def prepare(frame: pd.DataFrame, about: About) -> pd.DataFrame:
    """With pictures of the slices, those of most attention first: see `with_slice_pictures`."""
    return with_slice_pictures(frame, about, "slice_effective_attention")


def chart(frame: pd.DataFrame, about: About) -> Any:
    """A panel for each slice, in one scale; of one slice alone its tissue in colour too.

    UsageError if several runs answer, or if no slice has places.
    """
    one_run(frame, "slice-map")
    about = all_stains(frame, about)
    drawn, more = sheet(frame, _paint(frame, about))
    notes = [*_how(frame, about), *more]
    frame = frame.assign(slice=slice_names(frame))
    return themed(drawn.properties(title=answered(about, _answer(frame), notes)))


def _answer(frame: pd.DataFrame) -> str:
    """In how few patches, and in which slices, the share of attention lies that is outlined."""
    first = frame.iloc[0]
    whole = frame.groupby(SLICE).ngroups == first["case_slices"]
    held = float(frame.loc[frame["outlined"], "effective_attention"].sum())
    counts = frame[frame["outlined"]].groupby("slice", sort=False).size().sort_values(ascending=False, kind="stable")
    named = ", ".join(f"{name}: {n}" for name, n in list(counts.items())[:4])
    more = f" and {len(counts) - 4} more" if len(counts) > 4 else ""
    start = f"Case {first['case_id']} ({called(first)}): "
    n, of = int(first["half_patches"]), int(first["case_patches"])
    if whole:
        where = f", in {len(counts)} of {first['case_slices']} slices ({named}{more})"
        return f"{start}{n} of {of:,} patches hold {held:.0%} of the attention{where}; in an even spread {held * of:,.0f} would."
    share = float(frame.drop_duplicates(SLICE)["slice_effective_attention"].sum())
    said = (
        f"of the {n} patches that hold most, {counts.sum()} lie here"
        if len(counts)
        else f"none of the {n} that hold most"
    )
    return (
        f"{start}{frame['slice'].iloc[0]} has {share:.1%} of the attention in {len(frame):,} of {of:,} patches; {said}."
    )


def _how(frame: pd.DataFrame, about: About) -> list[str]:
    """How colours and outlines are to be read."""
    share = float(about.values.get("share") or 50)
    words = f"Outlined: the fewest patches of the case that hold {'half' if share == 50 else f'{share:g}%'} of its attention."
    one = (
        "All slices of a case have one scale of colour and of size."
        if frame.groupby(SLICE).ngroups > 1
        else "Its scale of colour is the case's."
    )
    return [f"{words} {one}{lacking_pictures(frame)}"]


def _paint(frame: pd.DataFrame, about: About) -> Paint:
    by_rank = str(about.values.get("scale", "log")).lower() == "rank"
    lowest, highest = (0.0, 1.0) if by_rank else (_LEAST, max(_AT_LEAST_TO, float(frame["highest_shade"].max())))
    # Not opacity: with that Vega would draw the legend as dots.
    opacity = alt.FillOpacity(
        "shade:Q", legend=None, scale=alt.Scale(domain=[lowest, highest], range=[0.12, 0.9], clamp=True, nice=False)
    )
    return Paint(
        value="effective_attention",
        columns=("effective_attention", "times_even"),
        colour=_colour(lowest, highest, by_rank=by_rank),
        opacity=opacity,
        tooltip=told(*PATCH, "times_even:Q", *PLACE),
        words=lambda first: f"{first['slice_effective_attention']:.0%} of attention",
    )


def _colour(lowest: float, highest: float, *, by_rank: bool) -> alt.Color:
    """The shade by rank, 0 to 1, or by powers of ten above the even share."""
    scale = alt.Scale(domain=[lowest, highest], scheme=SCHEME, clamp=True, nice=False)
    if by_rank:
        words = "rank in the case: lowest (pale) to highest (dark)"
        return alt.Color("shade:Q", scale=scale, title=words, legend=alt.Legend(format="%", tickCount=5, **LEGEND))
    label = "format(pow(10, datum.value), '~r')"
    values = [float(power) for power in range(int(lowest), ceil(highest) + 1) if power <= highest]
    words = "times the even share of the case (log scale; 1 is even, and 0.1 or less the palest)"
    return alt.Color("shade:Q", scale=scale, title=words, legend=alt.Legend(labelExpr=label, values=values, **LEGEND))
