"""The chart of `entropy`: how sparse a case's attention is, and which level makes it so."""

from typing import TYPE_CHECKING, Any

import altair as alt

from milstore.charts.answer_line import answered
from milstore.charts.error_scatter import few_enough, ringed
from milstore.charts.strips import NOTE, classes_of, strips
from milstore.charts.theme import ACCENT, About, class_colour, outcome_shape, themed
from milstore.charts.tooltips import CASE, ORIGIN, told
from milstore.charts.within import FADED, PLAIN, asked_for, whose

if TYPE_CHECKING:
    import pandas as pd

WITHIN_COHORT = True
LEVELS = ["stain", "slice", "patch"]
LEVEL_COLOURS = ["#1F2937", "#6B7280", "#D1D5DB"]
"""Grey, from dark to light: from the whole case down to the patch. Colours are the classes'."""
_MANY = {"stain": "stains", "slice": "slices", "patch": "patches"}
_ROWS = 12
"""Cases that are shown one by one: the sparsest."""


def chart(frame: "pd.DataFrame", about: About) -> Any:
    """Each level's share of its most by class, effective patches against the error, and the sparsest cases by level."""
    drawn, notes = few_enough(frame, 800)
    above = alt.hconcat(_shares(drawn, about), _scatter(drawn, about), spacing=20)
    rows = frame.assign(asked=asked_for(frame, about), sparse=frame["effective_patches"] / frame["n_patches"])
    shown = rows.sort_values(["asked", "sparse"], ascending=[False, True], kind="stable").head(_ROWS)
    parts = alt.vconcat(above, _bars(shown, len(frame), about), spacing=24)
    if about.cases:
        notes = [f"Ringed and named: {whose(about)}; the others are paler.", *notes]
    title = answered(about, _answer(frame, about), [f"A share of 1 is an even spread. {NOTE}", *notes])
    return themed(parts.resolve_scale(color="independent", shape="independent").properties(title=title))


def _answer(frame: "pd.DataFrame", about: About) -> list[str]:
    """How many patches alike attention amounts to, by class, and which level spreads the least."""
    import pandas as pd

    lines = []
    for name in classes_of(frame, about):
        of_class = frame[frame["true_class"] == name]
        medians = {level: of_class[f"{level}_ratio"].median() for level in LEVELS}
        known = {level: value for level, value in medians.items() if not pd.isna(value)}
        least = min(known, key=lambda level: known[level]) if known else None
        spread = f"; least even over {_MANY[least]} ({known[least]:.0%} of the most entropy)" if least else ""
        lines.append(
            f"{name}: as concentrated as on {of_class['effective_patches'].median():.0f} of "
            f"{of_class['n_patches'].median():,.0f} patches alike (medians){spread}."
        )
    return lines


def _shares(frame: "pd.DataFrame", about: About) -> Any:
    import pandas as pd

    groups = {"all levels": "ratio", **{level: f"{level}_ratio" for level in LEVELS}}
    kept = ["case_id", "true_class", "outcome", "error", "n_patches", "effective_patches", "subset", "run_id"]
    rows = pd.concat(
        [frame[kept].assign(group=group, value=frame[column]) for group, column in groups.items()], ignore_index=True
    )
    y = alt.Y("value:Q", title="entropy, share of its maximum", scale=alt.Scale(domain=[0, 1], nice=False))
    labels = []
    for group, column in groups.items():
        missing = int(frame[column].isna().sum())
        labels.append([group, f"{missing} have only one"] if missing else [group])
    tooltip = [
        *told(*CASE, "n_patches:Q", "effective_patches:Q"),
        alt.Tooltip("group:N", title="level"),
        alt.Tooltip("value:Q", title="share of its maximum", format=".2f"),
        *told(*ORIGIN),
    ]
    return strips(rows, about, groups=list(groups), y=y, tooltip=tooltip, labels=labels, width=300, height=230)


def _scatter(frame: "pd.DataFrame", about: About) -> Any:
    kept = ["case_id", "true_class", "outcome", "error", "n_patches", "effective_patches", "subset", "run_id"]
    base = alt.Chart(frame[kept].assign(asked=asked_for(frame, about)))
    x = alt.X(
        "effective_patches:Q",
        title="effective patches, 1 / Σp² (log scale)",
        scale=alt.Scale(type="log", nice=False, padding=10),
        axis=alt.Axis(format="~s", tickCount=4),
    )
    y = alt.Y("error:Q", title="error, 1 − p(true class)", scale=alt.Scale(domain=[0, 1]))
    points = base.mark_point(filled=True, size=34, opacity=FADED if about.cases else PLAIN).encode(
        x=x,
        y=y,
        color=class_colour(about).legend(None),
        shape=outcome_shape().legend(None),
        tooltip=told(*CASE, "n_patches:Q", "effective_patches:Q", *ORIGIN),
    )
    layers = [points, *(ringed(base.transform_filter("datum.asked"), x, y, about) if about.cases else [])]
    return alt.layer(*layers).properties(width=185, height=230)


def _bars(rows: "pd.DataFrame", of: int, about: About) -> Any:
    """The entropy of some cases, cut into its levels, with that of an even spread."""
    # A case without a label has neither class nor outcome.
    said = rows["true_class"].fillna("no label") + rows["outcome"].map(
        lambda each: f", {each}", na_action="ignore"
    ).fillna("")
    names = list(rows["case_id"] + " (" + said + ")")
    if rows["case_id"].duplicated().any():
        names = [f"{name} · {run_id[-6:]}" for name, run_id in zip(names, rows["run_id"], strict=True)]
    rows = rows.assign(row=names)
    words = f"The {len(rows)} sparsest of {of} cases, by effective patches / patches" if of > len(rows) else "The cases"
    if about.cases and of > len(rows):
        words = f"{whose(about).capitalize()}, and the sparsest of {of} cases by effective patches / patches"
    y = alt.Y("row:N", sort=names, title=None, axis=alt.Axis(ticks=False, domain=False, labelLimit=220))
    base = alt.Chart(rows)
    bars = (
        base.transform_fold([f"{level}_entropy" for level in LEVELS], ["column", "part"])
        .transform_calculate(level="split(datum.column, '_')[0]", order=f"indexof({LEVELS}, datum.level)")
        .mark_bar(height={"band": 0.7})
        .encode(
            x=alt.X(
                "part:Q",
                title="entropy of effective attention, nats (tick: ln of all patches, an even spread)",
                stack="zero",
            ),
            y=y,
            color=alt.Color(
                "level:N",
                sort=LEVELS,
                scale=alt.Scale(domain=LEVELS, range=LEVEL_COLOURS),
                legend=alt.Legend(title="level", orient="bottom", direction="horizontal"),
            ),
            order=alt.Order("order:Q"),
            tooltip=_tooltip(),
        )
    )
    ticks = base.mark_tick(color=ACCENT, thickness=2, height=13).encode(x="max_entropy:Q", y=y, tooltip=_tooltip())
    heading = alt.TitleParams(words, fontSize=12, fontWeight="normal", anchor="start", offset=4)
    return alt.layer(bars, ticks).properties(width=430, height=alt.Step(17), title=heading)


def _tooltip() -> list[alt.Tooltip]:
    parts = [alt.Tooltip(f"{level}_entropy:Q", title=f"{level} entropy", format=".3f") for level in LEVELS]
    ratios = [alt.Tooltip(f"{level}_ratio:Q", title=f"{level} share of maximum", format=".2f") for level in LEVELS]
    return told(
        *CASE,
        "n_patches:Q",
        "effective_patches:Q",
        alt.Tooltip("entropy:Q", title="entropy", format=".3f"),
        alt.Tooltip("max_entropy:Q", title="ln N", format=".3f"),
        *parts,
        *ratios,
        *ORIGIN,
    )
