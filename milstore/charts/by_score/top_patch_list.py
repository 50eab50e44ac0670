"""`top-patch-list` by a score: a case's patches of the highest or lowest score, what they look like, and their scores."""

from typing import Any

import altair as alt
import pandas as pd

from milstore.charts.answer_line import answered
from milstore.charts.attended import all_stains, called, case_names, patch_names
from milstore.charts.by_score.signed import ROOM, between, number, of_models, score_of, score_title, span, zero_rule
from milstore.charts.patch_pictures import checked, thumbnails, why_missing
from milstore.charts.strips import classes_of
from milstore.charts.theme import About, stain_colour, themed
from milstore.charts.tooltips import SCORED, told
from milstore.charts.top_patch_list import beside, case_marks, in_detail, named_rows, patch_axis, prepare

__all__ = ["chart", "prepare"]

_SIDE = 34


def chart(frame: pd.DataFrame, about: About) -> Any:
    """For few cases, a row a patch with its picture and its score; for many, the cases that matter, a mark a patch."""
    about = all_stains(frame, about)
    frame = checked(frame)
    frame = frame.assign(
        case=case_names(frame),
        patch="#" + frame["rank"].astype(str) + "  " + patch_names(frame),
        words=[number(score) for score in frame["score"]],
    )
    bottom = str(about.values.get("end", "top")).lower() == "bottom"
    if not in_detail(frame):
        return _overview(frame, about, bottom=bottom)
    missing = int(frame["picture"].isna().sum())
    cases = frame.groupby(["run_id", "case_id"], sort=False)
    answer = [_case_answer(rows, about, bottom=bottom) for _, rows in cases]
    notes = [f"{missing} of {len(frame)} pictures cannot be shown."] if 0 < missing < len(frame) else []
    notes += why_missing(frame)
    ends = span(frame["score"])
    panels = [_case(rows, about, ends, pictured=missing < len(frame), several=cases.ngroups > 1) for _, rows in cases]
    return themed(alt.vconcat(*panels, spacing=24).properties(title=answered(about, answer, notes)))


def _case_answer(frame: pd.DataFrame, about: About, *, bottom: bool) -> str:
    """Between which scores the listed patches lie, and of which stains they are."""
    first = frame.iloc[0]
    which = "lowest" if bottom else "highest"
    stains = ", ".join(f"{stain} {count}" for stain, count in frame["stain"].value_counts(sort=True).items())
    return (
        f"Case {first['case_id']} ({called(first)}): the {len(frame)} patches of the {which} {score_of(about)}, of "
        f"{first['case_patches']:,}, have {between(frame['score'].min(), frame['score'].max())} ({stains})."
    )


def _case(frame: pd.DataFrame, about: About, ends: list[float], *, pictured: bool, several: bool) -> Any:
    step = _SIDE + 4 if pictured else 20
    panels = [_bars(frame, about, ends, step)]
    if pictured:
        problem = told(*SCORED, alt.Tooltip("problem:N", title="no picture, for"))
        pictures = thumbnails(alt.Chart(frame), patch_axis(named=False), _SIDE, problem)
        panels.append(pictures.properties(width=_SIDE, height=alt.Step(step)))
    return beside(panels, frame, several=several)


def _bars(frame: pd.DataFrame, about: About, ends: list[float], step: int) -> Any:
    """A bar a patch from 0 to its score, with the number behind its end, or behind 0 where it is below."""
    wide = ends[1] - ends[0]
    frame = frame.assign(zero=0.0, at=frame["score"].clip(lower=0))
    scale = alt.Scale(domain=[ends[0], ends[1] + ROOM * wide], nice=False)
    base = alt.Chart(frame).encode(y=patch_axis(named=True), tooltip=told(*SCORED))
    x = alt.X("score:Q", title=score_title(about), scale=scale, axis=alt.Axis(tickCount=5))
    colour = stain_colour(about).legend(orient="bottom", direction="horizontal")
    bars = base.mark_bar(height={"band": 0.6}).encode(x=x, x2="zero:Q", color=colour)
    text = base.mark_text(align="left", dx=4, fontSize=10, color="#374151").encode(x="at:Q", text="words:N")
    return alt.layer(bars, zero_rule(x="zero:Q"), text).properties(width=300, height=alt.Step(step))


def _overview(frame: pd.DataFrame, about: About, *, bottom: bool) -> Any:
    """The cases whose listed patches reach furthest, a mark a patch; all others in one row."""
    cases = frame.groupby(["run_id", "case_id"], sort=False)["score"]
    furthest = cases.min() if bottom else cases.max()
    order = furthest.sort_values(ascending=bottom, kind="stable")
    _, drawn, sort, notes = named_rows(frame, order)
    notes += of_models(frame)
    marks = _marks(drawn, about, sort)
    answer = _cohort_answer(frame, furthest, about, bottom=bottom)
    return themed(marks.properties(title=answered(about, answer, notes)))


def _cohort_answer(frame: pd.DataFrame, furthest: "pd.Series[float]", about: About, *, bottom: bool) -> list[str]:
    """By class, the highest (or lowest) score of a case in the median, with quartiles."""
    of_case = frame.drop_duplicates(["run_id", "case_id"]).set_index(["run_id", "case_id"])["true_class"]
    lines = []
    for name in classes_of(frame, about):
        own = furthest[of_case.reindex(furthest.index) == name]
        low, middle, high = (number(float(own.quantile(q))) for q in (0.25, 0.5, 0.75))
        lines.append(
            f"{name}: the {'lowest' if bottom else 'highest'} {score_of(about)} of a case is {middle} (median of {len(own)}; "
            f"quartiles {low} to {high})."
        )
    return lines


def _marks(frame: pd.DataFrame, about: About, sort: list[str]) -> Any:
    x = alt.X("score:Q", title=score_title(about), scale=alt.Scale(domain=span(frame["score"]), nice=False))
    kept = ["case_id", "stain", "slice_idx", "slice_name", "patch_idx", "rank", "score", "name"]
    return case_marks(frame[kept], about, x, sort, told(*SCORED), zero_rule(x="zero:Q"))
