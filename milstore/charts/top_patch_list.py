"""`top-patch-list`: the most or least attended patches of a case, what they look like, and the weights that made them so."""

from typing import Any

import altair as alt
import pandas as pd

from milstore.charts.answer_line import answered
from milstore.charts.attended import all_stains, called, case_names, patch_names, times_even
from milstore.charts.patch_pictures import checked, thumbnails, why_missing, with_pictures
from milstore.charts.strips import classes_of
from milstore.charts.theme import ACCENT, NEUTRAL, About, stain_colour, themed
from milstore.charts.tooltips import PATCH, told

MOST_IN_DETAIL, MOST_BARS = 3, 120
"""Cases and patches that are drawn a row a patch."""
_MOST_PICTURES = 40
_ROWS = 20
"""Cases that are drawn a row each: those that matter. The rest share one row."""
_MOST_MARKS = 4000
_SIDE, _PIXELS = 34, 96
_LEVELS = (
    ("stain_attention", "stain"),
    ("slice_attention", "× slice"),
    ("patch_attention", "× patch"),
)
_SMALLEST = 1e-6
"""Where the logarithmic axis ends, in even shares."""


def prepare(frame: pd.DataFrame, about: About) -> pd.DataFrame:
    """With pictures of the patches, where there are few."""
    return with_pictures(frame, about, _PIXELS) if in_detail(frame) and len(frame) <= _MOST_PICTURES else frame


def in_detail(frame: pd.DataFrame) -> bool:
    """Whether there are so few cases and patches that each patch has a row of its own."""
    return frame.groupby(["run_id", "case_id"]).ngroups <= MOST_IN_DETAIL and len(frame) <= MOST_BARS


def chart(frame: pd.DataFrame, about: About) -> Any:
    """For few cases, a row a patch with its picture and its weights; for many, the cases that matter, a mark a patch."""
    about = all_stains(frame, about)
    frame = checked(frame)
    missing = int(frame["picture"].isna().sum())
    frame = frame.assign(
        case=case_names(frame),
        patch="#" + frame["rank"].astype(str) + "  " + patch_names(frame),
        words=[times_even(value) for value in frame["times_even"]],
    )
    bottom = str(about.values.get("end", "top")).lower() == "bottom"
    cases = frame.groupby(["run_id", "case_id"], sort=False)
    if not in_detail(frame):
        return _overview(frame, about, bottom=bottom)
    answer = [_case_answer(rows, bottom=bottom) for _, rows in cases]
    notes = [f"{missing} of {len(frame)} pictures cannot be shown."] if 0 < missing < len(frame) else []
    notes += why_missing(frame)
    panels = [_case(rows, about, pictured=missing < len(frame), several=cases.ngroups > 1) for _, rows in cases]
    return themed(alt.vconcat(*panels, spacing=24).properties(title=answered(about, answer, notes)))


def _case_answer(frame: pd.DataFrame, *, bottom: bool) -> str:
    """What the listed patches hold, and which level made the first of them what it is."""
    first = frame.iloc[0]
    held, n, of = float(frame["effective_attention"].sum()), len(frame), int(first["case_patches"])
    which = "least" if bottom else "most"
    stains = frame["stain"].value_counts(sort=True)
    where = ", ".join(f"{stain} {count}" for stain, count in stains.items())
    return (
        f"Case {first['case_id']} ({called(first)}): the {n} {which} attended of {of:,} patches hold {held:.2%} of the "
        f"attention ({where}); an even share would be {n / of:.2%}."
        if bottom
        else f"Case {first['case_id']} ({called(first)}): the {n} {which} attended of {of:,} patches hold {held:.0%} of the "
        f"attention ({where}); an even share would need {held * of:,.0f}."
    )


def _case(frame: pd.DataFrame, about: About, *, pictured: bool, several: bool) -> Any:
    step = _SIDE + 4 if pictured else 20
    panels = [_effective(frame, about, step), *(_level(frame, about, field, title, step) for field, title in _LEVELS)]
    if pictured:
        base = alt.Chart(frame)
        pictures = thumbnails(
            base,
            patch_axis(named=False),
            _SIDE,
            [*_tooltip(), *told(alt.Tooltip("problem:N", title="no picture, for"))],
        )
        panels.insert(1, pictures.properties(width=_SIDE, height=alt.Step(step)))
    return beside(panels, frame, several=several)


def beside(panels: list[Any], frame: pd.DataFrame, *, several: bool) -> Any:
    """The panels of a case in a row, headed by its name where there are several cases."""
    title = f"case {frame['case_id'].iloc[0]}" if several else ""
    heading = alt.TitleParams(title, fontSize=12, fontWeight="normal", anchor="start") if title else alt.Undefined
    return alt.hconcat(*panels, spacing=10, title=heading)


def patch_axis(*, named: bool) -> alt.Y:
    """The rows of the patches, with their names or without."""
    axis = alt.Axis(ticks=False, domain=False, labelLimit=220) if named else None
    return alt.Y("patch:N", sort=None, title=None, axis=axis)


def _effective(frame: pd.DataFrame, about: About, step: int) -> Any:
    highest = max(float(frame["effective_attention"].max()), 1e-30)
    base = alt.Chart(frame).encode(y=patch_axis(named=True), tooltip=_tooltip())
    scale = alt.Scale(domain=[0, highest * 1.4], nice=False)
    axis = alt.Axis(tickCount=3, format="~g")
    x = alt.X("effective_attention:Q", title=["effective attention", "(times the even share)"], scale=scale, axis=axis)
    colour = stain_colour(about).legend(orient="bottom", direction="horizontal")
    bars = base.mark_bar(height={"band": 0.6}).encode(x=x, color=colour)
    text = base.mark_text(align="left", dx=4, fontSize=10, color="#374151").encode(x=x, text="words:N")
    return alt.layer(bars, text).properties(width=150, height=alt.Step(step))


def _level(frame: pd.DataFrame, about: About, field: str, title: str, step: int) -> Any:
    base = alt.Chart(frame).encode(y=patch_axis(named=False), tooltip=_tooltip())
    # Room for the number beside a bar that reaches 1; the axis ends there.
    x = alt.X(
        f"{field}:Q", title=[title, "attention"], scale=alt.Scale(domain=[0, 1.45]), axis=alt.Axis(values=[0, 0.5, 1])
    )
    bars = base.mark_bar(height={"band": 0.6}).encode(x=x, color=stain_colour(about))
    text = base.mark_text(align="left", dx=3, fontSize=10, color="#374151").encode(
        x=x, text=alt.Text(f"{field}:Q", format=".2g")
    )
    return alt.layer(bars, text).properties(width=64, height=alt.Step(step))


def _tooltip() -> list[alt.Tooltip]:
    return told(*PATCH, "times_even:Q", *(f"{field}:Q" for field, _ in _LEVELS))


def _overview(frame: pd.DataFrame, about: About, *, bottom: bool) -> Any:
    """The cases whose listed patches hold most (of the other end: least), a mark a patch; all others in one row."""
    held = frame.groupby(["run_id", "case_id"], sort=False)["effective_attention"].sum()
    order = held.sort_values(ascending=bottom, kind="stable")
    rows, drawn, sort, notes = named_rows(frame, order)
    if len(order) > _ROWS:
        notes[0] = f"Right: the attention that they hold. {notes[0]}"
    title = answered(about, _cohort_answer(frame, held, about, bottom=bottom), notes)
    marks = _marks(drawn, about, sort)
    keys = pd.MultiIndex.from_frame(rows[["run_id", "case_id"]])
    rows = rows.assign(held=held.reindex(keys).to_numpy())
    sums = rows[rows["name"] != sort[-1]].drop_duplicates("name")[["name", "held"]]
    words = [f"{value:.0%}" if value >= 0.01 else f"{value:.1e}" for value in sums["held"]]
    text = alt.Chart(sums.assign(words=words)).mark_text(align="left", fontSize=10, color=ACCENT)
    shares = text.encode(x=alt.value(0), y=alt.Y("name:N", sort=sort, axis=None), text="words:N")
    shares = shares.properties(width=40, height=alt.Step(16))
    return themed(alt.hconcat(marks, shares, spacing=6).resolve_scale(y="shared").properties(title=title))


def named_rows(
    frame: pd.DataFrame, order: "pd.Series[float]"
) -> tuple[pd.DataFrame, pd.DataFrame, list[str], list[str]]:
    """The first cases of an order one by one, and all others in one row.

    Args:
        frame: the patches.
        order: a number a run and case, the foremost first.

    Returns:
        The patches with the `name` of their row; those of them that are drawn; the names in order, that of all others last;
        and what must be known to read it.
    """
    chosen = order.index[:_ROWS]
    keys = pd.MultiIndex.from_frame(frame[["run_id", "case_id"]])
    names = {key: f"{case} ({name})" for key, case, name in zip(keys, frame["case"], frame["true_class"], strict=True)}
    others = f"{len(order) - len(chosen)} other cases"
    rows = frame.assign(
        name=[names[key] if apart else others for key, apart in zip(keys, keys.isin(chosen), strict=True)]
    )
    each = max(1, _MOST_MARKS // max(1, len(order)))
    drawn = rows.groupby(["run_id", "case_id"], sort=False).head(each)
    notes = [f"{others.capitalize()} share the last row."] if len(order) > _ROWS else []
    if len(drawn) < len(rows):
        notes.append(f"Drawn are the first {each} of each case.")
    return rows, drawn, [*(names[key] for key in chosen), others], notes


def _cohort_answer(frame: pd.DataFrame, held: "pd.Series[float]", about: About, *, bottom: bool) -> list[str]:
    """By class, what the listed patches hold in the median case, with quartiles."""
    n = int(frame.groupby(["run_id", "case_id"]).size().max())
    of_case = frame.drop_duplicates(["run_id", "case_id"]).set_index(["run_id", "case_id"])["true_class"]
    lines = []
    for name in classes_of(frame, about):
        shares = held[of_case.reindex(held.index) == name]
        low, middle, high = (float(shares.quantile(q)) for q in (0.25, 0.5, 0.75))
        digits = ".2%" if bottom else ".0%"
        lines.append(
            f"{name}: the {n} {'least' if bottom else 'most'} attended patches hold {middle:{digits}} of a case's attention "
            f"(median of {len(shares)}; quartiles {low:{digits}} to {high:{digits}})."
        )
    return lines


def case_marks(
    frame: pd.DataFrame, about: About, x: alt.X, sort: list[str], tooltip: list[alt.Tooltip], beneath: Any
) -> Any:
    """A tick a patch at `x`, a row a case in the order of `sort`, those of the last row pale; `beneath` is drawn first."""
    axis = alt.Axis(ticks=False, domain=False, grid=True, labelOverlap=False, labelLimit=200)
    points = (
        alt.Chart(frame)
        .mark_tick(thickness=2.5, height=11)
        .encode(
            x=x,
            y=alt.Y("name:N", sort=sort, title="case (* called wrong)", axis=axis),
            color=stain_colour(about).legend(orient="bottom", direction="horizontal", symbolOpacity=1),
            opacity=alt.when(alt.FieldEqualPredicate(field="name", equal=sort[-1]))
            .then(alt.value(0.18))
            .otherwise(alt.value(0.75)),
            tooltip=tooltip,
        )
    )
    return alt.layer(beneath, points).properties(width=430, height=alt.Step(16))


def _marks(frame: pd.DataFrame, about: About, sort: list[str]) -> Any:
    frame = frame.assign(shown=frame["times_even"].clip(lower=_SMALLEST))
    title = "times the even share, 1 / patches of the case (log scale; dashed: 1, the even share)"
    x = alt.X("shown:Q", title=title, scale=alt.Scale(type="log"), axis=alt.Axis(format="~r", tickCount=6))
    kept = [
        "case_id", "stain", "slice_idx", "slice_name", "patch_idx", "rank", "effective_attention", "times_even", "shown",
        "name", *(field for field, _ in _LEVELS),
    ]  # fmt: skip
    even = alt.Chart(pd.DataFrame({"x": [1.0]})).mark_rule(color=NEUTRAL, strokeDash=[4, 3]).encode(x="x:Q")
    return case_marks(frame[kept], about, x, sort, _tooltip(), even)
