"""The chart of `coverage`: patches that exist, that training could see, and that evaluation used."""

from typing import TYPE_CHECKING, Any

import altair as alt

from milstore.charts.theme import About, themed, titled

if TYPE_CHECKING:
    import pandas as pd

_COUNTS = ["existing", "with_feature", "trained", "evaluated"]
_WORDS = {"existing": "exist", "evaluated": "evaluation used", "trained": "a training epoch could see"}
_COLOURS = ["#D1D5DB", "#0072B2", "#E69F00"]
_FEW_CASES = 3
"""So few cases are shown slice by slice."""
_MOST_ROWS = 400
_HEIGHT, _STEPS = 860, (2.0, 16.0)


def chart(frame: "pd.DataFrame", about: About) -> Any:
    """Counts of each case, and their share of the patches that exist; of up to three cases, of each slice."""
    by_slice = frame["case_id"].nunique() <= _FEW_CASES
    rows = _rows(frame, by_slice=by_slice)
    notes = [*about.notes, _totals(rows)]
    if len(rows) > _MOST_ROWS:
        notes.append(f"the first {_MOST_ROWS} of {len(rows):,} {'slices' if by_slice else 'cases'}")
        rows = rows.head(_MOST_ROWS)
    step = min(max(_HEIGHT / len(rows), _STEPS[0]), _STEPS[1])
    axis = alt.Axis(labels=step >= 8, ticks=False, labelFontSize=min(11, max(8, round(step))), labelPadding=4)
    order = list(rows["row"])
    named = alt.Y("row:N", sort=order, title="slice" if by_slice else "case", axis=axis)
    bare = alt.Y("row:N", sort=order, title=None, axis=None)
    panels = [
        _counts(named, step).properties(width=440, height=alt.Step(step)),
        _shares(bare).properties(width=180, height=alt.Step(step)),
    ]
    title = titled(About(title=about.title, subtitle=about.subtitle, notes=notes))
    return themed(alt.hconcat(*panels, data=rows, spacing=16).resolve_scale(y="shared").properties(title=title))


def _rows(frame: "pd.DataFrame", *, by_slice: bool) -> "pd.DataFrame":
    """A row for each case, or slice, in the order of the answer; trained is null where no run had it in training."""
    if by_slice:
        rows = frame.copy()
        rows["row"] = "case " + rows["case_id"] + " · " + rows["stain"] + " · slice " + rows["slice_idx"].astype(str)
    else:
        of_case = frame.groupby("case_id", sort=False)
        rows = of_case[_COUNTS].sum(min_count=1).reset_index()
        rows["runs"], rows["runs_trained"] = (of_case[name].max().to_numpy() for name in ("runs", "runs_trained"))
        rows["row"] = rows["case_id"]
    for name in ("trained", "evaluated"):
        rows[f"{name}_share"] = rows[name] / rows["existing"]
    return rows


def _totals(rows: "pd.DataFrame") -> str:
    """What was lost, in words."""
    known = rows[rows["trained"].notna()]
    unused = int((rows["existing"] - rows["evaluated"]).sum())
    unseen = int((known["existing"] - known["trained"]).sum())
    return (
        f"{unused:,} of {int(rows['existing'].sum()):,} patches not evaluated; "
        f"{unseen:,} of {int(known['existing'].sum()):,} beyond what a training epoch could see"
    )


def _counts(y: alt.Y, step: float) -> Any:
    x = alt.X("existing:Q", title="patches", axis=alt.Axis(orient="top", format=",d"))
    there = _of("existing").mark_bar(size=max(1.0, step * 0.8))
    used = _of("evaluated").mark_bar(size=max(1.0, step * 0.35))
    seen = _of("trained").mark_tick(thickness=2, size=max(2.0, step * 0.9))
    return there.encode(x=x, y=y) + used.encode(x="evaluated:Q", y=y) + seen.encode(x="trained:Q", y=y)


def _shares(y: alt.Y) -> Any:
    points = []
    for name in ("evaluated", "trained"):
        axis = alt.Axis(orient="top", format=".0%", values=[0, 0.5, 1])
        x = alt.X(f"{name}_share:Q", title="share of those that exist", scale=alt.Scale(domain=[0, 1]), axis=axis)
        # A ring around the dot where both are the same.
        look: dict[str, Any] = (
            {"filled": True, "size": 26} if name == "evaluated" else {"filled": False, "size": 60, "strokeWidth": 2}
        )
        points.append(_of(name).mark_point(opacity=1, **look).encode(x=x, y=y))
    return alt.layer(*points)


def _of(name: str) -> alt.Chart:
    """What shows one of the counts, in the count's colour."""
    scale = alt.Scale(domain=list(_WORDS.values()), range=_COLOURS)
    legend = alt.Legend(title="patches that", orient="bottom", symbolType="square", labelLimit=300)
    chart = alt.Chart().transform_filter(f"isValid(datum.{name})").transform_calculate(what=f"'{_WORDS[name]}'")
    return chart.encode(color=alt.Color("what:N", scale=scale, legend=legend), tooltip=_tooltip())


def _tooltip() -> list[alt.Tooltip]:
    titles = {
        "existing": "exist",
        "with_feature": "with a feature",
        "trained": "seen by training",
        "evaluated": "evaluated",
    }
    return [
        alt.Tooltip("row:N", title="case"),
        *(alt.Tooltip(f"{name}:Q", title=title, format=",d") for name, title in titles.items()),
        alt.Tooltip("runs:Q", title="runs"),
        alt.Tooltip("runs_trained:Q", title="of these, had it in training"),
    ]
