"""What charts with one row a case share: names of the rows, their height, and what to draw where there is none."""

from typing import Any

import altair as alt
import pandas as pd

from milstore.analysis.outcomes import split_words
from milstore.charts.theme import NEUTRAL, WIDTH, About, themed, titled

MOST_CASES = 120
"""Rows that one picture can show with a readable name each."""


def row_names(frame: pd.DataFrame) -> pd.Series:
    """The name of each row: its case, with the split where the case stands in several rows."""
    names = frame["case_id"].astype(str)
    repeated = names.duplicated(keep=False)
    return names.where(~repeated, names + " (" + split_names(frame["split"]) + ")")


def split_names(splits: pd.Series) -> pd.Series:
    """What splits are called; null is a run without splits."""
    # Numbers beside a null are floats in pandas.
    return splits.map(lambda split: split_words(None if pd.isna(split) else int(split)))


def row_step(rows: int) -> float:
    """Height of a row in pixels: small enough for a page, large enough for its name while names can be shown at all."""
    return 18 if rows <= 20 else 14 if rows <= 40 else 10 if rows <= MOST_CASES else max(1.5, 1200 / rows)


def nothing(about: About, text: str) -> Any:
    """A chart that says in words why there is nothing to draw."""
    words = pd.DataFrame({"words": [text]})
    mark = alt.Chart(words).mark_text(fontSize=14, color=NEUTRAL, align="center")
    return themed(mark.encode(text="words:N").properties(width=WIDTH, height=80, title=titled(about)))
