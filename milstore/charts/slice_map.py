"""`slice-map`: a slice as it looks, and beside it its attention, painted at the patches' places."""

from typing import Any, Final

import altair as alt
import numpy as np
import pandas as pd

from milstore.charts.attended import MOST_ROWS, all_stains, called, one_run, slice_names
from milstore.charts.theme import NEUTRAL, About, themed, titled
from milstore.charts.tooltips import PATCH, PLACE, told
from milstore.errors import UsageError
from milstore.pixels.pictures import PatchFolder, data_uri, is_data_uri

SCHEME: Final = "viridis"
"""Perceptually even, readable for the colour-blind and in grey: dark is little, bright is much."""
_SIDE = 350
"""Pixels of the longer side of each panel."""
_PIXELS = 800
_DECADES = 4.0
"""Powers of ten that the logarithmic scale shows below its highest value."""
_GLASS = (244, 244, 246)
_ABSENT = (205, 208, 214)


def prepare(frame: pd.DataFrame, about: About) -> pd.DataFrame:
    """With the columns `slice_picture`, a data URI in the first row, and `missing_pictures`, how many patches it lacks."""
    if about.store is None or frame[["x", "y"]].isna().any(axis=None):
        return frame
    frame = _with_sizes(frame)
    uri, missing = _mosaic(frame, PatchFolder.of(about.store))
    in_first = pd.Series([uri], index=frame.index[:1], dtype=object).reindex(frame.index)
    return frame.assign(slice_picture=in_first, missing_pictures=missing)


def chart(frame: pd.DataFrame, about: About) -> Any:
    """The slice put together from its patches' pictures, and the map with its colour scale.

    UsageError if several runs answer, or if a patch has no place.
    """
    one_run(frame, "slice-map")
    about = all_stains(frame, about)
    first = frame.iloc[0]
    name = slice_names(frame).iloc[0]
    if frame[["x", "y"]].isna().any(axis=None):
        raise UsageError(
            f"{name} of case {first['case_id']} has patches without x and y: give them by milstore ingest patches "
            "--coordinates, or draw patch-profile, which needs none"
        )
    frame = _with_sizes(frame)
    n_top = int(frame["is_top"].sum())
    percent = about.values.get("pct", 5)
    words = [
        f"Case {first['case_id']} ({called(first)}), {name} ({first['slice_name']}): {first['slice_patches']} patches, "
        f"{first['slice_effective_attention']:.1%} of the case's attention.",
        f"Outlined: the {n_top} of its patches that are in the case's top {percent:g}%.",
    ]
    picture = frame["slice_picture"].iloc[0] if "slice_picture" in frame else None
    missing = int(frame["missing_pictures"].iloc[0]) if "missing_pictures" in frame else len(frame)
    if 0 < missing < len(frame):
        words.append(f"The pictures of {missing} patches cannot be shown: their places are grey.")
    shown, note = _coarser(frame)
    title = titled(About(title=about.title, subtitle=about.subtitle, notes=[*about.notes, *words, *note]))
    space = _Space(frame)
    return themed(alt.hconcat(_plain(shown, space, picture), _painted(shown, space, about), spacing=18, title=title))


def _with_sizes(frame: pd.DataFrame) -> pd.DataFrame:
    """With a width and height for every patch: where unknown, the smallest distance between patches."""
    filled = {}
    for side, place in (("width", "x"), ("height", "y")):
        steps = np.diff(np.unique(frame[place].to_numpy(float)))
        filled[side] = frame[side].astype(float).fillna(float(steps.min()) if len(steps) else 1.0)
    return frame.assign(**filled)


class _Space:
    """The rectangle of a slice that its patches cover, and its size in the chart."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.left, self.upper = float(frame["x"].min()), float(frame["y"].min())
        self.right = float((frame["x"] + frame["width"]).max())
        self.lower = float((frame["y"] + frame["height"]).max())
        # A slice of one row of patches still gets a panel.
        self.scale = _SIDE / max(self.right - self.left, self.lower - self.upper)
        self.width = max(self.scale * (self.right - self.left), 60.0)
        self.height = max(self.scale * (self.lower - self.upper), 60.0)

    def axes(self) -> tuple[alt.X, alt.Y]:
        """Place on the slice, y growing downwards as in images. A panel that was widened keeps the patches' shape."""
        x_end = self.left + self.width / self.scale
        y_end = self.upper + self.height / self.scale
        quiet = alt.Axis(labels=False, ticks=False, domain=False, grid=False, title=None)
        x = alt.X("x:Q", scale=alt.Scale(domain=[self.left, x_end], nice=False, zero=False), axis=quiet)
        y = alt.Y("y:Q", scale=alt.Scale(domain=[y_end, self.upper], nice=False, zero=False), axis=quiet)
        return x, y


def _mosaic(frame: pd.DataFrame, folder: PatchFolder) -> tuple[str | None, int]:
    """The slice put together from its patches' pictures, and how many are missing; no picture if all are."""
    from PIL import Image

    space = _Space(frame)
    scale = _PIXELS / max(space.right - space.left, space.lower - space.upper)
    begin_N2 = frame[["x", "y"]].to_numpy(float) - (space.left, space.upper)
    end_N2 = begin_N2 + frame[["width", "height"]].to_numpy(float)
    # Edges are rounded, not sizes: neighbours touch.
    begin_N2, end_N2 = np.rint(begin_N2 * scale).astype(int), np.rint(end_N2 * scale).astype(int)
    end_N2 = np.maximum(end_N2, begin_N2 + 1)
    pictures = folder.read_all(frame, int((end_N2 - begin_N2).max()))
    missing = sum(picture.image is None for picture in pictures)
    if missing == len(pictures):
        return None, missing
    whole = Image.new("RGB", tuple(end_N2.max(axis=0).tolist()), _GLASS)
    for picture, begin, size in zip(pictures, begin_N2.tolist(), (end_N2 - begin_N2).tolist(), strict=True):
        tile = Image.new("RGB", size, _ABSENT) if picture.image is None else picture.image.resize(size)
        whole.paste(tile, tuple(begin))
    return data_uri(whole, quality=82), missing


def _coarser(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Blocks of patches, each shown by its highest, where there are too many patches to draw."""
    across = 1
    shown = frame
    while len(shown) > (MOST_ROWS - 10) / 2:
        across += 1
        wide, high = across * frame["width"].max(), across * frame["height"].max()
        column = ((frame["x"] - frame["x"].min()) // wide).astype(int)
        line = ((frame["y"] - frame["y"].min()) // high).astype(int)
        shown = frame.loc[frame.groupby([column, line])["effective_attention"].idxmax()]
        shown = shown.assign(
            x=column.loc[shown.index] * wide + frame["x"].min(),
            y=line.loc[shown.index] * high + frame["y"].min(),
            width=wide,
            height=high,
        )
    return shown, [f"Of every {across} × {across} patches the highest is drawn."] if across > 1 else []


def _squares(frame: pd.DataFrame) -> pd.DataFrame:
    drawn = [
        "case_id",
        "stain",
        "slice_idx",
        "slice_name",
        "patch_idx",
        "rank",
        "effective_attention",
        "shade",
        "is_top",
        "x",
        "y",
    ]
    return frame[drawn].assign(
        x2=frame["x"] + frame["width"],
        y2=frame["y"] + frame["height"],
        times_even=frame["effective_attention"] * frame["case_patches"],
    )


def _outlines(frame: pd.DataFrame, space: _Space) -> list[Any]:
    """Black on white around the top patches, to be seen on any ground."""
    x, y = space.axes()
    base = alt.Chart(_squares(frame[frame["is_top"]])).encode(x=x, x2="x2:Q", y=y, y2="y2:Q", tooltip=_tooltip())
    return [
        base.mark_rect(fillOpacity=0, stroke=colour, strokeWidth=width, strokeJoin="round")
        for colour, width in (("white", 3.6), ("black", 1.8))
    ]


def _plain(frame: pd.DataFrame, space: _Space, picture: str | None) -> Any:
    x, y = space.axes()
    title = alt.TitleParams("the slice, from its patches' pictures", fontSize=12, fontWeight="normal", anchor="start")
    size = {"width": space.width, "height": space.height, "title": title}
    if not is_data_uri(picture):
        words = alt.Chart(pd.DataFrame({"words": ["no pictures"]})).mark_text(color=NEUTRAL, fontSize=12)
        squares = alt.Chart(_squares(frame)).mark_rect(color="#CDD0D6", stroke="white", strokeWidth=0.5)
        ground = squares.encode(x=x, x2="x2:Q", y=y, y2="y2:Q", tooltip=_tooltip())
        text = words.encode(x=alt.value(space.width / 2), y=alt.value(space.height / 2), text="words:N")
        return alt.layer(ground, text, *_outlines(frame, space), **size)
    wide, high = space.scale * (space.right - space.left), space.scale * (space.lower - space.upper)
    image = alt.Chart(pd.DataFrame({"picture": [picture]})).mark_image(width=wide, height=high, aspect=False)
    ground = image.encode(x=alt.value(wide / 2), y=alt.value(high / 2), url="picture:N")
    # Invisible squares, so that the picture tells its patches too.
    squares = (
        alt.Chart(_squares(frame)).mark_rect(fillOpacity=0).encode(x=x, x2="x2:Q", y=y, y2="y2:Q", tooltip=_tooltip())
    )
    return alt.layer(ground, squares, *_outlines(frame, space), **size)


def _painted(frame: pd.DataFrame, space: _Space, about: About) -> Any:
    x, y = space.axes()
    squares = (
        alt.Chart(_squares(frame))
        .mark_rect(strokeWidth=0)
        .encode(x=x, x2="x2:Q", y=y, y2="y2:Q", color=_colour(frame, about), tooltip=_tooltip())
    )
    title = alt.TitleParams("effective attention", fontSize=12, fontWeight="normal", anchor="start")
    view = alt.ViewBackground(fill="#F4F4F6")
    outlines = _outlines(frame, space)
    return alt.layer(squares, *outlines, width=space.width, height=space.height, title=title, view=view)


def _colour(frame: pd.DataFrame, about: About) -> alt.Color:
    """The shade by rank, 0 to 1, or by powers of ten above the even share."""
    legend: dict[str, Any] = {"orient": "bottom", "gradientLength": 260, "gradientThickness": 12, "titleLimit": 320}
    if str(about.values.get("scale", "rank")).lower() != "log":
        scale = alt.Scale(domain=[0, 1], scheme=SCHEME)
        words = "rank in the slice: lowest (dark) to highest (bright)"
        return alt.Color(
            "shade:Q", scale=scale, title=words, legend=alt.Legend(format="%", values=[0, 0.25, 0.5, 0.75, 1], **legend)
        )
    highest = float(frame["shade"].max())
    lowest = max(float(frame["shade"].min()), highest - _DECADES)
    scale = alt.Scale(
        domain=[lowest, highest if highest > lowest else lowest + 1], scheme=SCHEME, clamp=True, nice=False
    )
    label = "format(pow(10, datum.value), '.2~g')"
    words = "times the even share of the case (logarithmic; bright is much)"
    return alt.Color("shade:Q", scale=scale, title=words, legend=alt.Legend(labelExpr=label, tickCount=5, **legend))


def _tooltip() -> list[alt.Tooltip]:
    return told(*PATCH, "times_even:Q", *PLACE)
