"""A sheet of a case's slices: their tissue, what is painted over it at the patches' places, and outlines of some patches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np
import pandas as pd

from milstore.charts.attended import slice_names
from milstore.charts.theme import NEUTRAL, About
from milstore.errors import UsageError
from milstore.pixels.pictures import PatchFolder, data_uri, is_data_uri
from milstore.pixels.slide_patches import WHY

if TYPE_CHECKING:
    from PIL.Image import Image

_WIDTH, _GAP = 620, 14
"""Pixels of a row of slices, and between them."""
_MOST_COLUMNS = 4
_PIXELS = 460
"""Pixels of the longer side of the largest slice's picture."""
_MOST_PICTURES = 6000
"""Patches whose pictures are read, from the slice of most attention, or of the highest score, on."""
_MOST_ROWS = 4500
_GLASS = (244, 244, 246)
_ABSENT = (205, 208, 214)
SLICE = ["stain", "slice_idx"]
"""What names a slice of a case."""
_DRAWN = ("case_id", "stain", "slice_idx", "slice_name", "patch_idx", "rank", "shade", "outlined", "x", "y")
"""Columns of every patch that is drawn."""
LEGEND: dict[str, Any] = {
    "type": "gradient",
    "orient": "bottom",
    "gradientLength": 300,
    "gradientThickness": 12,
    "titleLimit": 560,
}
"""How the legend of the shade looks."""


@dataclass(frozen=True, kw_only=True)
class Paint:
    """What is painted over the tissue."""

    value: str
    """Column of what the shade is of: of blocks of patches the highest is drawn."""
    columns: Sequence[str]
    """Columns that are told of a patch, beside those that every patch has."""
    colour: alt.Color
    """By the column `shade`."""
    opacity: alt.FillOpacity
    """The same: what is pale lets the tissue through."""
    tooltip: Sequence[alt.Tooltip]
    """What is told of a patch."""
    words: Callable[["pd.Series[Any]"], str]
    """What stands under a slice's name; it is given the slice's first row."""


def with_slice_pictures(frame: pd.DataFrame, about: About, first: str) -> pd.DataFrame:
    """With the columns `slice_picture` and `slice_faint`, data URIs in a slice's first row, and `missing_pictures`, how many
    pictures it lacks. Among several slices there is the faint one alone. Those of the highest value of the column `first` come first.
    """
    if about.store is None:
        return frame
    folder = PatchFolder.of(about.store)
    frame = frame.assign(um=_um(frame, folder))
    slices = [rows for _, rows in frame.groupby(SLICE, sort=False) if not _placeless(rows)]
    slices.sort(key=lambda rows: -float(rows[first].iloc[0]))
    sized = [_with_sizes(rows) for rows in slices]
    largest = max((max(_extent(rows)) * _um_of(rows) for rows in sized), default=1.0)
    empty = pd.Series(index=frame.index, dtype=object)
    frame = frame.assign(slice_picture=empty, slice_faint=empty, missing_pictures=0, picture_problem="")
    read = 0
    for rows in sized:
        if read and read + len(rows) > _MOST_PICTURES:
            frame.loc[rows.index, "missing_pictures"] = len(rows)
            continue
        read += len(rows)
        picture, missing, problem = _picture(rows, folder, _PIXELS / largest * _um_of(rows))
        frame.loc[rows.index, "missing_pictures"] = missing
        frame.loc[rows.index, "picture_problem"] = problem
        if picture is None:
            continue
        # A text, which loc would take for a list.
        frame.at[rows.index[0], "slice_faint"] = data_uri(_faint(picture), quality=80)
        if len(sized) == 1:
            frame.at[rows.index[0], "slice_picture"] = data_uri(picture, quality=82)
    return frame


def sheet(frame: pd.DataFrame, paint: Paint) -> tuple[Any, list[str]]:
    """A panel for each slice, in one scale, of one slice alone its tissue in colour too; and what must be said of it.

    UsageError if no slice has places.
    """
    frame = frame.assign(slice=slice_names(frame))
    slices = [rows for _, rows in frame.groupby(SLICE, sort=False)]
    placed = [_with_sizes(rows) for rows in slices if not _placeless(rows)]
    if not placed:
        first = slices[0].iloc[0]
        raise UsageError(
            f"{first['slice']} of case {first['case_id']} has patches without x and y: give them by milstore ingest "
            "patches --coordinates, or draw patch-profile, which needs none"
        )
    without = [str(rows["slice"].iloc[0]) for rows in slices if _placeless(rows)]
    columns = min(_MOST_COLUMNS, len(placed)) if len(placed) > 1 else 2
    side = (_WIDTH - _GAP * (columns - 1)) / columns
    scale = side / max(max(_extent(rows)) * _um_of(rows) for rows in placed)
    each = [_coarser(rows, _MOST_ROWS * len(rows) // sum(map(len, placed)), paint.value) for rows in placed]
    panels = [
        _painted(shown, _Space(rows, scale * _um_of(rows)), paint)
        for rows, (shown, _) in zip(placed, each, strict=True)
    ]
    if len(placed) == 1:
        panels.insert(0, _plain(each[0][0], _Space(placed[0], scale * _um_of(placed[0])), paint))
    told = [note for _, note in each if note][:3]
    if without:
        told.append(f"Not drawn, for their patches have no places: {', '.join(without)}.")
    return alt.concat(*panels, columns=columns, spacing=_GAP), told


def lacking_pictures(frame: pd.DataFrame) -> str:
    """What is said of pictures that are not there; empty if none is missing."""
    missing = int(frame.groupby(SLICE)["missing_pictures"].first().sum()) if "missing_pictures" in frame else len(frame)
    problems = [word for word in frame.get("picture_problem", pd.Series(dtype=object)).unique() if word]
    why = f": {problems[0]}" if problems else ""
    if not missing:
        return ""
    return f" No pictures are shown{why}." if missing == len(frame) else f" {missing} pictures are missing: grey."


def _placeless(rows: pd.DataFrame) -> bool:
    return bool(rows[["x", "y"]].isna().any(axis=None))


def _with_sizes(frame: pd.DataFrame) -> pd.DataFrame:
    """With a width and height for every patch: where unknown, the smallest distance between patches."""
    filled = {}
    for side, place in (("width", "x"), ("height", "y")):
        steps = np.diff(np.unique(frame[place].to_numpy(float)))
        filled[side] = frame[side].astype(float).fillna(float(steps.min()) if len(steps) else 1.0)
    return frame.assign(**filled)


def _extent(frame: pd.DataFrame) -> tuple[float, float]:
    """Width and height of what the patches of a slice cover, in its own pixels."""
    wide = float((frame["x"] + frame["width"]).max() - frame["x"].min())
    return wide, float((frame["y"] + frame["height"]).max() - frame["y"].min())


class _Space:
    """The rectangle of a slice that its patches cover, and its size in the chart."""

    def __init__(self, frame: pd.DataFrame, scale: float) -> None:
        self.left, self.upper = float(frame["x"].min()), float(frame["y"].min())
        self.wide, self.high = _extent(frame)
        self.scale = scale
        # A slice of one row of patches still gets a panel.
        self.width, self.height = max(scale * self.wide, 110.0), max(scale * self.high, 60.0)

    def axes(self) -> tuple[alt.X, alt.Y]:
        """Place on the slice, y growing downwards as in images. A panel that was widened keeps the patches' shape."""
        x_end = self.left + self.width / self.scale
        y_end = self.upper + self.height / self.scale
        quiet = alt.Axis(labels=False, ticks=False, domain=False, grid=False, title=None)
        x = alt.X("x:Q", scale=alt.Scale(domain=[self.left, x_end], nice=False, zero=False), axis=quiet)
        y = alt.Y("y:Q", scale=alt.Scale(domain=[y_end, self.upper], nice=False, zero=False), axis=quiet)
        return x, y


def _um(frame: pd.DataFrame, folder: PatchFolder) -> "pd.Series[float]":
    """Micrometres a pixel of each row's slice, so that slides of several resolutions are drawn in one scale; 1 where that of
    any is unknown."""
    known = {} if folder.slides is None else folder.slides.resolutions()
    keys = zip(frame["case_id"], frame["stain"], frame["slice_idx"], strict=True)
    found = [known.get((case_id, stain, int(slice_idx))) for case_id, stain, slice_idx in keys]
    return pd.Series([1.0 if None in found else value for value in found], index=frame.index, dtype=float)


def _um_of(rows: pd.DataFrame) -> float:
    return float(rows["um"].iloc[0]) if "um" in rows else 1.0


def _picture(frame: pd.DataFrame, folder: PatchFolder, scale: float) -> tuple["Image | None", int, str]:
    """The slice's picture, how many patches have none in it, and why the slide that they lie on cannot be shown.

    It is put together from the patches' own pictures; where they have no files it is the part of the slide that they cover.
    """
    if folder.slides is None or frame["file"].notna().any():
        return *_mosaic(frame, folder, scale), ""
    first = frame.iloc[0]
    wide, high = _extent(frame)
    box = float(frame["x"].min()), float(frame["y"].min()), wide, high
    size = max(1, round(wide * scale)), max(1, round(high * scale))
    picture, problem = folder.slides.ground(
        str(first["case_id"]), str(first["stain"]), int(first["slice_idx"]), box, size
    )
    return picture, len(frame) if picture is None else 0, WHY.get(problem, "")


def _mosaic(frame: pd.DataFrame, folder: PatchFolder, scale: float) -> tuple["Image | None", int]:
    """The slice put together from its patches' pictures, and how many are missing; no picture if all are."""
    from PIL import Image

    begin_N2 = frame[["x", "y"]].to_numpy(float) - (float(frame["x"].min()), float(frame["y"].min()))
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
    return whole, missing


def _faint(picture: "Image") -> "Image":
    """In light grey: colours are attention's."""
    return picture.convert("L").point([round(115 + 0.55 * level) for level in range(256)]).convert("RGB")


def _coarser(frame: pd.DataFrame, most: int, value: str) -> tuple[pd.DataFrame, str]:
    """Blocks of patches, each shown by its highest, where there are too many patches to draw."""
    across = 1
    shown = frame
    while len(shown) > max(most, 20):
        across += 1
        wide, high = across * frame["width"].max(), across * frame["height"].max()
        column = ((frame["x"] - frame["x"].min()) // wide).astype(int)
        line = ((frame["y"] - frame["y"].min()) // high).astype(int)
        shown = frame.loc[frame.groupby([column, line])[value].idxmax()]
        shown = shown.assign(
            x=column.loc[shown.index] * wide + frame["x"].min(),
            y=line.loc[shown.index] * high + frame["y"].min(),
            width=wide,
            height=high,
        )
    words = (
        f"{frame['slice'].iloc[0]}: of every {across} × {across} patches the highest is drawn." if across > 1 else ""
    )
    return shown, words


def _squares(frame: pd.DataFrame, paint: Paint) -> pd.DataFrame:
    return frame[[*_DRAWN, *paint.columns]].assign(x2=frame["x"] + frame["width"], y2=frame["y"] + frame["height"])


def _layers(frame: pd.DataFrame, space: _Space, paint: Paint, marks: Sequence[alt.Chart]) -> Any:
    """Outlines over what lies below, black on white to be seen on any ground."""
    x, y = space.axes()
    base = alt.Chart(_squares(frame, paint)).encode(x=x, x2="x2:Q", y=y, y2="y2:Q", tooltip=list(paint.tooltip))
    outlined = base.transform_filter("datum.outlined")
    outlines = [
        outlined.mark_rect(fillOpacity=0, stroke=colour, strokeWidth=width, strokeJoin="round")
        for colour, width in (("white", 3.2), ("black", 1.6))
    ]
    first = frame.iloc[0]
    title = _head(str(first["slice"]), f"{paint.words(first)}, {first['slice_patches']:,} patches")
    size = {"width": space.width, "height": space.height, "title": title}
    return alt.layer(*marks, *outlines, view=alt.ViewBackground(fill="#F4F4F6"), **size)


def _head(words: str, below: str) -> alt.TitleParams:
    return alt.TitleParams(
        words, subtitle=below, fontSize=11.5, fontWeight="normal", subtitleFontSize=10, anchor="start", offset=3
    )


def _ground(frame: pd.DataFrame, space: _Space, paint: Paint, column: str) -> Any:
    """The slice's picture; squares where there is none."""
    pictures = frame[column].dropna() if column in frame else pd.Series(dtype=object)
    picture = next((uri for uri in pictures if is_data_uri(uri)), None)
    if picture is None:
        x, y = space.axes()
        squares = alt.Chart(_squares(frame, paint)).mark_rect(color="#E2E4E8", stroke="white", strokeWidth=0.4)
        return squares.encode(x=x, x2="x2:Q", y=y, y2="y2:Q")
    wide, high = space.scale * space.wide, space.scale * space.high
    image = alt.Chart(pd.DataFrame({"picture": [picture]}))
    mark = image.mark_image(width=wide, height=high, aspect=False)
    return mark.encode(x=alt.value(wide / 2), y=alt.value(high / 2), url="picture:N")


def _plain(frame: pd.DataFrame, space: _Space, paint: Paint) -> Any:
    """The tissue as it looks, with the outlines."""
    panel = _layers(frame, space, paint, [_ground(frame, space, paint, "slice_picture")])
    if "slice_picture" not in frame or frame["slice_picture"].isna().all():
        words = alt.Chart(pd.DataFrame({"words": ["no pictures"]})).mark_text(color=NEUTRAL, fontSize=12)
        panel += words.encode(x=alt.value(space.width / 2), y=alt.value(space.height / 2), text="words:N")
    words = "as on the slide" if frame["file"].isna().all() else "put together from its patches' pictures"
    return panel.properties(title=_head("the tissue", words))


def _painted(frame: pd.DataFrame, space: _Space, paint: Paint) -> Any:
    """The tissue in grey, and the shades over it."""
    x, y = space.axes()
    squares = alt.Chart(_squares(frame, paint)).mark_rect(strokeWidth=0)
    painted = squares.encode(
        x=x, x2="x2:Q", y=y, y2="y2:Q", color=paint.colour, fillOpacity=paint.opacity, tooltip=list(paint.tooltip)
    )
    return _layers(frame, space, paint, [_ground(frame, space, paint, "slice_faint"), painted])
