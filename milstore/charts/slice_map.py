"""`slice-map`: a case's slices on one sheet, their tissue in grey and attention painted over it at the patches' places."""

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Any, Final

import altair as alt
import numpy as np
import pandas as pd

from milstore.charts.answer_line import answered
from milstore.charts.attended import all_stains, called, one_run, slice_names
from milstore.charts.theme import NEUTRAL, About, themed
from milstore.charts.tooltips import PATCH, PLACE, told
from milstore.errors import UsageError
from milstore.pixels.pictures import PatchFolder, data_uri, is_data_uri
from milstore.pixels.slide_patches import WHY

if TYPE_CHECKING:
    from PIL.Image import Image

SCHEME: Final = "yelloworangered"
"""One way from pale to dark, for the colour-blind and in grey too; over the tissue, what is pale lets it through."""
_WIDTH, _GAP = 620, 14
"""Pixels of a row of slices, and between them."""
_MOST_COLUMNS = 4
_PIXELS = 460
"""Pixels of the longer side of the largest slice's picture."""
_MOST_PICTURES = 6000
"""Patches whose pictures are read, from the slice of most attention on."""
_MOST_ROWS = 4500
_LEAST, _AT_LEAST_TO = -1.0, 1.0
"""The logarithmic scale begins at a tenth of the even share, and goes to ten times at least: an even slice stays pale."""
_GLASS = (244, 244, 246)
_ABSENT = (205, 208, 214)
_SLICE = ["stain", "slice_idx"]


def prepare(frame: pd.DataFrame, about: About) -> pd.DataFrame:
    """With the columns `slice_picture` and `slice_faint`, data URIs in a slice's first row, and `missing_pictures`, how many
    pictures it lacks. Among several slices there is the faint one alone.
    """
    if about.store is None:
        return frame
    folder = PatchFolder.of(about.store)
    slices = [rows for _, rows in frame.groupby(_SLICE, sort=False) if not _placeless(rows)]
    slices.sort(key=lambda rows: -float(rows["slice_effective_attention"].iloc[0]))
    sized = [_with_sizes(rows) for rows in slices]
    largest = max((max(_extent(rows)) for rows in sized), default=1.0)
    empty = pd.Series(index=frame.index, dtype=object)
    frame = frame.assign(slice_picture=empty, slice_faint=empty, missing_pictures=0, picture_problem="")
    read = 0
    for rows in sized:
        if read and read + len(rows) > _MOST_PICTURES:
            frame.loc[rows.index, "missing_pictures"] = len(rows)
            continue
        read += len(rows)
        picture, missing, problem = _picture(rows, folder, _PIXELS / largest)
        frame.loc[rows.index, "missing_pictures"] = missing
        frame.loc[rows.index, "picture_problem"] = problem
        if picture is None:
            continue
        # A text, which loc would take for a list.
        frame.at[rows.index[0], "slice_faint"] = data_uri(_faint(picture), quality=80)
        if len(sized) == 1:
            frame.at[rows.index[0], "slice_picture"] = data_uri(picture, quality=82)
    return frame


def chart(frame: pd.DataFrame, about: About) -> Any:
    """A panel for each slice, in one scale; of one slice alone its tissue in colour too.

    UsageError if several runs answer, or if no slice has places.
    """
    one_run(frame, "slice-map")
    about = all_stains(frame, about)
    frame = frame.assign(slice=slice_names(frame))
    slices = [rows for _, rows in frame.groupby(_SLICE, sort=False)]
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
    scale = side / max(max(_extent(rows)) for rows in placed)
    each = [_coarser(rows, _MOST_ROWS * len(rows) // sum(map(len, placed))) for rows in placed]
    panels = [_painted(shown, _Space(rows, scale), about) for rows, (shown, _) in zip(placed, each, strict=True)]
    if len(placed) == 1:
        panels.insert(0, _plain(each[0][0], _Space(placed[0], scale)))
    notes = [*_how(frame, about), *(note for _, note in each if note)][:4]
    if without:
        notes.append(f"Not drawn, for their patches have no places: {', '.join(without)}.")
    sheet = alt.concat(*panels, columns=columns, spacing=_GAP)
    return themed(sheet.properties(title=answered(about, _answer(frame), notes)))


def _answer(frame: pd.DataFrame) -> str:
    """In how few patches, and in which slices, the share of attention lies that is outlined."""
    first = frame.iloc[0]
    whole = frame.groupby(_SLICE).ngroups == first["case_slices"]
    held = float(frame.loc[frame["outlined"], "effective_attention"].sum())
    counts = frame[frame["outlined"]].groupby("slice", sort=False).size().sort_values(ascending=False, kind="stable")
    named = ", ".join(f"{name}: {n}" for name, n in list(counts.items())[:4])
    more = f" and {len(counts) - 4} more" if len(counts) > 4 else ""
    start = f"Case {first['case_id']} ({called(first)}): "
    n, of = int(first["half_patches"]), int(first["case_patches"])
    if whole:
        where = f", in {len(counts)} of {first['case_slices']} slices ({named}{more})"
        return f"{start}{n} of {of:,} patches hold {held:.0%} of the attention{where}; in an even spread {held * of:,.0f} would."
    share = float(frame.drop_duplicates(_SLICE)["slice_effective_attention"].sum())
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
    missing = (
        int(frame.groupby(_SLICE)["missing_pictures"].first().sum()) if "missing_pictures" in frame else len(frame)
    )
    problems = [word for word in frame.get("picture_problem", pd.Series(dtype=object)).unique() if word]
    why = f": {problems[0]}" if problems else ""
    lacking = (
        ""
        if not missing
        else f" No pictures are shown{why}."
        if missing == len(frame)
        else f" {missing} pictures are missing: grey."
    )
    one = (
        "one scale of colour and of size" if frame.groupby(_SLICE).ngroups > 1 else "its scale of colour is the case's"
    )
    return [
        f"{words} All slices of a case have {one}.{lacking}"
        if "size" in one
        else f"{words} {one.capitalize()}.{lacking}"
    ]


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


def _coarser(frame: pd.DataFrame, most: int) -> tuple[pd.DataFrame, str]:
    """Blocks of patches, each shown by its highest, where there are too many patches to draw."""
    across = 1
    shown = frame
    while len(shown) > max(most, 20):
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
    words = (
        f"{frame['slice'].iloc[0]}: of every {across} × {across} patches the highest is drawn." if across > 1 else ""
    )
    return shown, words


def _squares(frame: pd.DataFrame) -> pd.DataFrame:
    drawn = [
        "case_id", "stain", "slice_idx", "slice_name", "patch_idx", "rank", "effective_attention", "times_even", "shade",
        "outlined", "x", "y",
    ]  # fmt: skip
    return frame[drawn].assign(x2=frame["x"] + frame["width"], y2=frame["y"] + frame["height"])


def _layers(frame: pd.DataFrame, space: _Space, marks: Sequence[alt.Chart]) -> Any:
    """Outlines over what lies below, black on white to be seen on any ground."""
    x, y = space.axes()
    base = alt.Chart(_squares(frame)).encode(x=x, x2="x2:Q", y=y, y2="y2:Q", tooltip=_tooltip())
    outlined = base.transform_filter("datum.outlined")
    outlines = [
        outlined.mark_rect(fillOpacity=0, stroke=colour, strokeWidth=width, strokeJoin="round")
        for colour, width in (("white", 3.2), ("black", 1.6))
    ]
    first = frame.iloc[0]
    words = f"{first['slice_effective_attention']:.0%} of attention, {first['slice_patches']:,} patches"
    title = _head(str(first["slice"]), words)
    size = {"width": space.width, "height": space.height, "title": title}
    return alt.layer(*marks, *outlines, view=alt.ViewBackground(fill="#F4F4F6"), **size)


def _head(words: str, below: str) -> alt.TitleParams:
    return alt.TitleParams(
        words, subtitle=below, fontSize=11.5, fontWeight="normal", subtitleFontSize=10, anchor="start", offset=3
    )


def _ground(frame: pd.DataFrame, space: _Space, column: str) -> Any:
    """The slice's picture; squares where there is none."""
    pictures = frame[column].dropna() if column in frame else pd.Series(dtype=object)
    picture = next((uri for uri in pictures if is_data_uri(uri)), None)
    if picture is None:
        x, y = space.axes()
        squares = alt.Chart(_squares(frame)).mark_rect(color="#E2E4E8", stroke="white", strokeWidth=0.4)
        return squares.encode(x=x, x2="x2:Q", y=y, y2="y2:Q")
    wide, high = space.scale * space.wide, space.scale * space.high
    image = alt.Chart(pd.DataFrame({"picture": [picture]}))
    mark = image.mark_image(width=wide, height=high, aspect=False)
    return mark.encode(x=alt.value(wide / 2), y=alt.value(high / 2), url="picture:N")


def _plain(frame: pd.DataFrame, space: _Space) -> Any:
    """The tissue as it looks, with the outlines."""
    panel = _layers(frame, space, [_ground(frame, space, "slice_picture")])
    if "slice_picture" not in frame or frame["slice_picture"].isna().all():
        words = alt.Chart(pd.DataFrame({"words": ["no pictures"]})).mark_text(color=NEUTRAL, fontSize=12)
        panel += words.encode(x=alt.value(space.width / 2), y=alt.value(space.height / 2), text="words:N")
    words = "as on the slide" if frame["file"].isna().all() else "put together from its patches' pictures"
    return panel.properties(title=_head("the tissue", words))


def _painted(frame: pd.DataFrame, space: _Space, about: About) -> Any:
    """The tissue in grey, and attention over it: what is pale lets it through."""
    x, y = space.axes()
    by_rank = str(about.values.get("scale", "log")).lower() == "rank"
    lowest, highest = (0.0, 1.0) if by_rank else (_LEAST, max(_AT_LEAST_TO, float(frame["highest_shade"].max())))
    # Not opacity: with that Vega would draw the legend as dots.
    opacity = alt.FillOpacity(
        "shade:Q", legend=None, scale=alt.Scale(domain=[lowest, highest], range=[0.12, 0.9], clamp=True, nice=False)
    )
    squares = alt.Chart(_squares(frame)).mark_rect(strokeWidth=0)
    painted = squares.encode(
        x=x,
        x2="x2:Q",
        y=y,
        y2="y2:Q",
        color=_colour(lowest, highest, by_rank=by_rank),
        fillOpacity=opacity,
        tooltip=_tooltip(),
    )
    return _layers(frame, space, [_ground(frame, space, "slice_faint"), painted])


def _colour(lowest: float, highest: float, *, by_rank: bool) -> alt.Color:
    """The shade by rank, 0 to 1, or by powers of ten above the even share."""
    legend: dict[str, Any] = {
        "type": "gradient",
        "orient": "bottom",
        "gradientLength": 300,
        "gradientThickness": 12,
        "titleLimit": 560,
    }
    scale = alt.Scale(domain=[lowest, highest], scheme=SCHEME, clamp=True, nice=False)
    if by_rank:
        words = "rank in the case: lowest (pale) to highest (dark)"
        return alt.Color("shade:Q", scale=scale, title=words, legend=alt.Legend(format="%", tickCount=5, **legend))
    label = "format(pow(10, datum.value), '~r')"
    values = [float(power) for power in range(int(lowest), ceil(highest) + 1) if power <= highest]
    words = "times the even share of the case (log scale; 1 is even, and 0.1 or less the palest)"
    return alt.Color("shade:Q", scale=scale, title=words, legend=alt.Legend(labelExpr=label, values=values, **legend))


def _tooltip() -> list[alt.Tooltip]:
    return told(*PATCH, "times_even:Q", *PLACE)
