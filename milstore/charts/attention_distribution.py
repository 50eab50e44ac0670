"""`attention-distribution`: how few patches of a case hold how much of its attention, and how many would in an even spread."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from milstore.charts.answer_line import answered
from milstore.charts.attended import called, one_run
from milstore.charts.theme import ACCENT, NEUTRAL, About, themed
from milstore.charts.tooltips import told

ASKED: Mapping[str, Any] = {"bins": 1000, "log": True}
"""What the question is asked with unless somebody says otherwise: bins so narrow that their patches weigh nearly the same."""
_LINE = "#4B5563"
_WIDTH = 520
_TEN = 10
"""Patches that the answer speaks of, or as many near that as can be told apart."""
_STEPS = 12
"""Points of a line between two bins: patches of a bin weigh alike, which is no straight line on a logarithmic axis."""


def chart(frame: pd.DataFrame, about: About) -> Any:
    """The share of attention that the most attended patches hold, against their number; that of an even spread dashed."""
    one_run(frame, "attention-distribution")
    first = frame.iloc[0]
    of = int(first["case_patches"])
    curve = _curve(frame)
    mark = _mark(curve, of)
    half = _patches_for(curve, 0.5)
    title = answered(about, _answer(first, mark, of), _notes(first, half, of))
    lines = pd.concat([curve.assign(words="this case"), _even(of)], ignore_index=True)
    x = alt.X(
        "k:Q",
        title="most attended patches (log scale)",
        scale=alt.Scale(type="log", domain=[1, max(of, 2)], nice=False),
        axis=alt.Axis(format="~s", tickCount=6),
    )
    y = alt.Y(
        "share:Q",
        title="share of the case's attention that they hold",
        scale=alt.Scale(domain=[0, 1], nice=False),
        axis=alt.Axis(format="%"),
    )
    words = ["this case", "an even spread"]
    line = (
        alt.Chart(lines)
        .mark_line(strokeWidth=2.2, interpolate="linear")
        .encode(
            x=x,
            y=y,
            color=alt.Color(
                "words:N", scale=alt.Scale(domain=words, range=[_LINE, NEUTRAL]), title=None, legend=_legend()
            ),
            strokeDash=alt.StrokeDash(
                "words:N", scale=alt.Scale(domain=words, range=[[1, 0], [5, 4]]), title=None, legend=_legend()
            ),
        )
    )
    steps = frame[frame["patches"] > 0]
    steps = steps.assign(k=steps["top_patches"], share=steps["top_attention"].clip(upper=1))
    shown = steps.iloc[:: -(-len(steps) // 300)][["case_id", "k", "share", "even_patches", "low"]]
    dots = (
        alt.Chart(shown)
        .mark_circle(size=26, color=_LINE, opacity=1)
        .encode(
            x=x,
            y=y,
            tooltip=told(
                "case_id:N",
                alt.Tooltip("k:Q", title="most attended patches"),
                alt.Tooltip("share:Q", title="attention they hold", format=".1%"),
                alt.Tooltip("even_patches:Q", title="as many as this in an even spread", format=",.0f"),
                alt.Tooltip("low:Q", title="attention of each, from", format=".3g"),
            ),
        )
    )
    return themed(alt.layer(line, dots, *_marked(mark, of, x, y)).properties(width=_WIDTH, height=320, title=title))


def _legend() -> alt.Legend:
    return alt.Legend(orient="bottom", direction="horizontal", symbolType="stroke", symbolSize=300)


def _curve(frame: pd.DataFrame) -> pd.DataFrame:
    """The points of the line: numbers of patches and the share that they hold, from the highest bin down."""
    known = frame[frame["patches"] > 0].sort_values("top_patches")
    ends = [(0.0, 0.0), *zip(known["top_patches"].astype(float), known["top_attention"].clip(upper=1), strict=True)]
    points = [ends[1]]
    for (k0, share0), (k1, share1) in pairwise(ends[1:]):
        # Patches of a bin weigh alike: their share grows with their number.
        inner = np.unique(np.rint(np.geomspace(k0, k1, _STEPS)))[1:]
        points += [(k, share0 + (share1 - share0) * (k - k0) / (k1 - k0)) for k in inner.tolist()]
    first_k, first_share = ends[1]
    begin = [(k, first_share * k / first_k) for k in np.unique(np.rint(np.geomspace(1, first_k, _STEPS))).tolist()[:-1]]
    return pd.DataFrame([*begin, *points], columns=["k", "share"])


def _even(of: int) -> pd.DataFrame:
    k = np.unique(np.rint(np.geomspace(1, of, 120)))
    return pd.DataFrame({"k": k, "share": k / of, "words": "an even spread"})


def _mark(curve: pd.DataFrame, of: int) -> tuple[int, float]:
    """How many patches the answer speaks of, and what they hold."""
    k = min(_TEN, max(1, of // 2))
    return k, float(np.interp(k, curve["k"], curve["share"]))


def _patches_for(curve: pd.DataFrame, share: float) -> int:
    """The fewest patches that hold a share."""
    k = float(np.interp(share, curve["share"], curve["k"]))
    return max(1, int(np.ceil(k - 1e-6)))


def _answer(first: "pd.Series[Any]", mark: tuple[int, float], of: int) -> str:
    k, share = mark
    many = f"{k} of {of:,} patches hold" if k > 1 else f"1 of {of:,} patches holds"
    return (
        f"Case {first['case_id']} ({called(first)}): {many} {share:.0%} of the attention; "
        f"an even share would need {share * of:,.0f}."
    )


def _notes(first: "pd.Series[Any]", half: int, of: int) -> list[str]:
    return [
        f"Half of the attention lies in {half:,} patch{'es' if half > 1 else ''}. Even share: 1 / {of:,} = {first['uniform']:.3g}."
    ]


def _marked(mark: tuple[int, float], of: int, x: alt.X, y: alt.Y) -> list[Any]:
    """The patches of the answer, and as much attention in an even spread."""
    k, share = mark
    even = max(1.0, share * of)
    points = pd.DataFrame(
        {
            "k": [k, even], "share": [share, share], "k2": [even, even],
            "words": [f"{k} patch{'es' if k > 1 else ''}: {share:.0%}", f"{even:,.0f} in an even spread"],
        }
    )  # fmt: skip
    base = alt.Chart(points)
    far = 6 * even > of
    return [
        base.transform_filter(f"datum.k < {even}").mark_rule(color=ACCENT, strokeWidth=1.2).encode(x=x, x2="k2:Q", y=y),
        base.mark_point(filled=True, size=75, color=ACCENT, shape="diamond", opacity=1).encode(x=x, y=y),
        base.transform_filter(f"datum.k != {even}")
        .mark_text(align="right", dx=-10, dy=-8, fontSize=11.5, fontWeight="bold", color=ACCENT)
        .encode(x=x, y=y, text="words:N"),
        base.transform_filter(f"datum.k == {even}")
        .mark_text(align="right" if far else "left", dx=-8 if far else 10, dy=16, fontSize=11.5, color=ACCENT)
        .encode(x=x, y=y, text="words:N"),
    ]
