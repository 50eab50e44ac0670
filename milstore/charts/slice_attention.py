"""`slice-attention`: the slices' weights by rank in each stain, against the weight of an even spread."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from milstore.charts.attended import all_stains, slice_names
from milstore.charts.theme import ACCENT, WIDTH, About, class_colour, outcome_shape, stain_colour, themed, titled
from milstore.charts.tooltips import SLICE, told

MOST_POINTS = 4000


def chart(frame: pd.DataFrame, about: About) -> Any:
    """For one case, bars by rank in each stain; for several, the top slice's share against the number of slices."""
    about = all_stains(frame, about)
    frame = frame.assign(slice=slice_names(frame))
    if frame.groupby(["run_id", "case_id"]).ngroups > 1:
        words = "Dashed: the weight if all slices of the stain weighed the same."
        left_out = int((frame["slice_rank"] == 1).sum()) - MOST_POINTS
        notes = [*about.notes, words + (f" {left_out} points are left out." if left_out > 0 else "")]
        title = titled(About(title=about.title, subtitle=about.subtitle, notes=notes))
        return themed(_overview(frame, about).properties(title=title))
    stains = [stain for stain in about.stains if stain in set(frame["stain"])]
    highest = min(1.0, 1.15 * float(frame[["slice_attention", "even", "by_patches"]].max().max()))
    panels = [_stain(frame[frame["stain"] == stain], about, len(stains), highest) for stain in stains]
    first = frame.iloc[0]
    words = f"Case {first['case_id']} ({first['true_class']}, called {first['outcome']}). Dashed: even over the slices; black line: even over the patches."
    title = titled(About(title=about.title, subtitle=about.subtitle, notes=[*about.notes, words]))
    return themed(alt.hconcat(*panels, spacing=14).resolve_scale(y="shared").properties(title=title))


def _stain(rows: pd.DataFrame, about: About, n_stains: int, highest: float) -> Any:
    first = rows.iloc[0]
    rows = rows.assign(name="slice " + rows["slice_idx"].astype(str), short=rows["slice_idx"].astype(str))
    words = [
        f"{first['stain']}: weight {first['stain_attention']:.2f}",
        f"the top one of {len(rows)} slices takes {first['top_share']:.0%}"
        if len(rows) > 1
        else "its only slice takes all",
    ]
    base = alt.Chart(rows).encode(
        x=alt.X("short:N", sort=None, title="slice, the heaviest first", axis=alt.Axis(labelAngle=0, ticks=False)),
        tooltip=_tooltip(),
    )
    y = alt.Y("slice_attention:Q", title="slice attention", scale=alt.Scale(domain=[0, highest], nice=False))
    bars = base.mark_bar(width={"band": 0.75}).encode(y=y, color=stain_colour(about).legend(None))
    even = alt.Chart(rows.head(1)).mark_rule(color=ACCENT, strokeDash=[5, 4], strokeWidth=1.4).encode(y="even:Q")
    patches = base.mark_tick(color=ACCENT, thickness=2, width={"band": 0.75}).encode(y="by_patches:Q")
    width = (WIDTH + 80) / n_stains - 50
    return alt.layer(bars, patches, even).properties(width=width, height=240, title=_small(words))


def _overview(frame: pd.DataFrame, about: About) -> Any:
    """A point a case and stain, with the line of an even spread."""
    tops = frame[frame["slice_rank"] == 1]
    tops = tops.head(MOST_POINTS).assign(
        jitter=lambda rows: rows["stain_slices"] + [((i * 0.618034) % 1 - 0.5) * 0.5 for i in range(len(rows))]
    )
    stains = [stain for stain in about.stains if stain in set(tops["stain"])]
    most = int(tops["stain_slices"].max())
    curve = pd.DataFrame({"n": np.linspace(1, most, 200)}).assign(even=lambda rows: 1 / rows["n"])
    panels = []
    for stain in stains:
        of_stain = tops[tops["stain"] == stain]
        several = of_stain[of_stain["stain_slices"] > 1]
        lift = (several["top_share"] * several["stain_slices"]).median()
        words = [stain, "one slice in every case"]
        if len(several):
            words = [
                stain,
                f"median {lift:.1f} times the even weight",
                f"({len(several)} of {len(of_stain)} with 2 or more slices)",
            ]
        points = (
            alt.Chart(of_stain)
            .mark_point(size=34, strokeWidth=1.4, opacity=0.8)
            .encode(
                x=alt.X(
                    "jitter:Q",
                    title="slices of the stain",
                    axis=alt.Axis(tickMinStep=1, format="d"),
                    scale=alt.Scale(domain=[0.5, most + 0.5], nice=False),
                ),
                y=alt.Y(
                    "top_share:Q",
                    title="slice attention of the top slice",
                    axis=alt.Axis(format="%"),
                    scale=alt.Scale(domain=[0, 1.02], nice=False),
                ),
                color=class_colour(about).legend(orient="bottom"),
                shape=outcome_shape().legend(orient="bottom"),
                tooltip=_tooltip(),
            )
        )
        line = alt.Chart(curve).mark_line(color=ACCENT, strokeDash=[5, 4], strokeWidth=1.4).encode(x="n:Q", y="even:Q")
        panels.append(
            alt.layer(line, points).properties(width=(WIDTH + 60) / len(stains) - 50, height=300, title=_small(words))
        )
    return alt.hconcat(*panels, spacing=20).resolve_scale(y="shared")


def _small(words: list[str]) -> alt.TitleParams:
    return alt.TitleParams(
        words[0], subtitle=words[1:], fontSize=12, fontWeight="normal", subtitleFontSize=10, anchor="start"
    )


def _tooltip() -> list[alt.Tooltip]:
    return told(
        *SLICE,
        "slice_attention:Q",
        alt.Tooltip("even:Q", title="even over slices", format=".3g"),
        alt.Tooltip("by_patches:Q", title="even over patches", format=".3g"),
        "stain_attention:Q",
        "true_class:N",
        "outcome:N",
    )
