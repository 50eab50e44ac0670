"""`patch-gallery` by a score: pictures of a case's patches of the highest and the lowest score."""

from typing import Any

import altair as alt
import pandas as pd

from milstore.charts.answer_line import answered
from milstore.charts.attended import all_stains, called, one_run
from milstore.charts.by_score.signed import between, number, score_of
from milstore.charts.patch_gallery import grid, on_grid, prepare
from milstore.charts.patch_pictures import checked, why_missing
from milstore.charts.theme import About, themed
from milstore.charts.tooltips import SCORED, told

__all__ = ["chart", "prepare"]

_ENDS = {"top": "highest", "bottom": "lowest"}


def chart(frame: pd.DataFrame, about: About) -> Any:
    """Two grids of pictures, in the order of the score; a placeholder says why where there is none."""
    one_run(frame, "patch-gallery")
    about = all_stains(frame, about)
    frame = on_grid(checked(frame)).assign(third=[number(score) for score in frame["score"]])
    grids = [
        grid(frame[frame["end"] == end], about, f"{words} {score_of(about)}", told(*SCORED, "file:N"))
        for end, words in _ENDS.items()
        if (frame["end"] == end).any()
    ]
    missing = int(frame["picture"].isna().sum())
    notes = [f"Under each: slice, patch and its rank in the case, score {score_of(about)} (signed; no attention)."]
    if missing:
        notes.append(f"{missing} of {len(frame)} pictures cannot be shown: the grey fields say why.")
        notes += why_missing(frame)
    return themed(alt.vconcat(*grids, spacing=16).properties(title=answered(about, _answer(frame, about), notes)))


def _answer(frame: pd.DataFrame, about: About) -> str:
    """Between which scores the highest and the lowest patches lie."""
    first = frame.iloc[0]
    said = [
        f"the {len(rows)} {_ENDS[str(end)]} have {between(rows['score'].min(), rows['score'].max())}"
        for end, rows in frame.groupby("end", sort=False)
    ]
    lead = frame.loc[frame["end"] == "top", "stain"].value_counts()
    stains = ", ".join(f"{stain} {count}" for stain, count in lead.items())
    return (
        f"Case {first['case_id']} ({called(first)}), {score_of(about)} of its {first['case_patches']:,} patches: "
        f"{' and '.join(said)}; highest: {stains}."
    )
