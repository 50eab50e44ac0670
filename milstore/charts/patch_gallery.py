"""`patch-gallery`: pictures of the most and the least attended patches of a case, each with its place and weight."""

from typing import Any

import altair as alt
import pandas as pd

from milstore.charts.answer_line import answered
from milstore.charts.attended import all_stains, called, one_run, slice_names, times_even
from milstore.charts.patch_pictures import checked, why_missing, with_pictures
from milstore.charts.theme import NEUTRAL, About, stain_colour, themed
from milstore.charts.tooltips import PATCH, told

COLUMNS = 8
SIDE = 70
"""Pixels of a picture in the chart."""
_PIXELS = 128
_WIDTH, _HEIGHT = 81, 128
_ENDS = {"top": "most attended", "bottom": "least attended"}


def prepare(frame: pd.DataFrame, about: About) -> pd.DataFrame:
    """With the columns `picture`, a data URI or null, and `problem`, why it is null."""
    return with_pictures(frame, about, _PIXELS)


def chart(frame: pd.DataFrame, about: About) -> Any:
    """Two grids of pictures, in the order of attention; a placeholder says why where there is none."""
    one_run(frame, "patch-gallery")
    about = all_stains(frame, about)
    frame = checked(frame)
    frame = on_grid(frame).assign(
        third=[
            f"{w:.2g} ({times_even(t)})" for w, t in zip(frame["effective_attention"], frame["times_even"], strict=True)
        ],
    )
    grids = [
        grid(frame[frame["end"] == end], about, words, told(*PATCH, "file:N"))
        for end, words in _ENDS.items()
        if (frame["end"] == end).any()
    ]
    missing = int(frame["picture"].isna().sum())
    notes = ["Under each: slice, patch and its rank in the case, effective attention (times the even share)."]
    if missing:
        notes.append(f"{missing} of {len(frame)} pictures cannot be shown: the grey fields say why.")
        notes += why_missing(frame)
    return themed(alt.vconcat(*grids, spacing=16).properties(title=answered(about, _answer(frame), notes)))


def _answer(frame: pd.DataFrame) -> str:
    """How much the most and the least attended patches hold."""
    first = frame.iloc[0]
    said = [
        f"the {len(rows)} {_ENDS[str(end)]} hold {rows['effective_attention'].sum():{'.0%' if end == 'top' else '.2%'}}"
        for end, rows in frame.groupby("end", sort=False)
    ]
    lead = frame.loc[frame["end"] == "top", "stain"].value_counts()
    stains = ", ".join(f"{stain} {count}" for stain, count in lead.items())
    return (
        f"Case {first['case_id']} ({called(first)}), of its {first['case_patches']:,} patches {' and '.join(said)} of the "
        f"attention; most attended: {stains}."
    )


def on_grid(frame: pd.DataFrame) -> pd.DataFrame:
    """With a place for each picture, and the two lines that name the patch below it."""
    place = frame["position"] - 1
    return frame.assign(
        column=(place % COLUMNS) * _WIDTH,
        line=(place // COLUMNS) * _HEIGHT,
        first=slice_names(frame),
        second="patch " + frame["patch_idx"].astype(str) + " · #" + frame["rank"].astype(str),
    )


def grid(rows: pd.DataFrame, about: About, words: str, tooltip: list[alt.Tooltip]) -> Any:
    """Pictures with the texts `first`, `second` and `third` below each, under a title."""
    lines = int(rows["line"].max()) // _HEIGHT + 1
    width, height = COLUMNS * _WIDTH, lines * _HEIGHT
    base = alt.Chart(rows).encode(tooltip=tooltip)
    middle = SIDE / 2 + 3

    def at(field: str, offset: float, extent: int) -> dict[str, Any]:
        """A place on the grid, in pixels."""
        scale = alt.Scale(domain=[-offset, extent - offset], nice=False, zero=False)
        return {"field": field, "type": "quantitative", "scale": scale, "axis": None}

    x = alt.X(**at("column", middle, width))
    y = alt.Y(**at("line", middle, height), sort="descending")
    frames = base.mark_square(size=(SIDE + 5) ** 2, opacity=1).encode(
        x=x, y=y, color=stain_colour(about).legend(orient="bottom", offset=0)
    )
    blank = (
        base.transform_filter("!datum.picture").mark_square(size=SIDE**2, opacity=1, color="#E5E7EB").encode(x=x, y=y)
    )
    why = base.transform_filter("!datum.picture").mark_text(fontSize=10, color=NEUTRAL, limit=SIDE - 4)
    pictures = (
        base.transform_filter("datum.picture")
        .mark_image(width=SIDE, height=SIDE, aspect=True)
        .encode(x=x, y=y, url="picture:N")
    )
    texts = [
        base.mark_text(
            dy=SIDE / 2 + 14 + 12 * i, fontSize=10, color="#111827" if i == 0 else NEUTRAL, limit=_WIDTH - 3
        ).encode(x=x, y=y, text=f"{field}:N")
        for i, field in enumerate(("first", "second", "third"))
    ]
    layers = alt.layer(frames, blank, why.encode(x=x, y=y, text="problem:N"), pictures, *texts)
    title = alt.TitleParams(words, fontSize=12, fontWeight="normal", anchor="start")
    return layers.properties(width=width, height=height, title=title)
