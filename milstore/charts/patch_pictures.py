"""Pictures of patches beside the marks of a chart."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from milstore.charts.theme import About
from milstore.pixels.pictures import PatchFolder, data_uri, is_data_uri
from milstore.pixels.slide_patches import WHY


def with_pictures(frame: pd.DataFrame, about: About, pixels: int) -> pd.DataFrame:
    """With the columns `picture`, a data URI or null, and `problem`, why it is null; as it is where no store is known."""
    if about.store is None:
        return frame
    pictures = PatchFolder.of(about.store).read_all(frame, pixels)
    return frame.assign(
        picture=np.array([picture.image and data_uri(picture.image) for picture in pictures], dtype=object),
        problem=[picture.problem for picture in pictures],
    )


def checked(frame: pd.DataFrame) -> pd.DataFrame:
    """With `picture` null and `problem` saying why wherever there is no picture that a page may show."""
    if "picture" not in frame:
        return frame.assign(picture=None, problem="not read")
    shown = frame["picture"].map(is_data_uri)
    return frame.assign(picture=frame["picture"].where(shown, None), problem=frame["problem"].where(~shown, ""))


def why_missing(frame: pd.DataFrame) -> list[str]:
    """What hinders pictures of slides, a sentence each; nothing where nothing does."""
    problems = frame["problem"].unique() if "problem" in frame else []
    return [f"{WHY[problem][:1].upper()}{WHY[problem][1:]}." for problem in problems if problem in WHY]


def thumbnails(base: Any, y: Any, side: float, tooltip: list[alt.Tooltip]) -> Any:
    """A column of pictures at the rows of a chart; grey where there is none. The tooltip may tell `problem`."""
    x = alt.value(side / 2)
    there, missing = base.transform_filter("datum.picture"), base.transform_filter("!datum.picture")
    pictures = there.mark_image(width=side, height=side, aspect=True).encode(x=x, y=y, url="picture:N", tooltip=tooltip)
    blank = missing.mark_square(size=side**2, opacity=1, color="#E5E7EB").encode(x=x, y=y, tooltip=tooltip)
    return alt.layer(blank, pictures)
