"""The chart of `compare-runs`: heat maps of pairs of runs, or the cases of one pair."""

import math
from typing import TYPE_CHECKING, Any

import altair as alt

from milstore.analysis.outcomes import split_words
from milstore.charts.theme import ACCENT, NEUTRAL, About, themed, titled
from milstore.charts.tooltips import told

if TYPE_CHECKING:
    import pandas as pd

_ALIKE = {"spearman": "Spearman's ρ", "jaccard": "Jaccard of the top {pct:g}%", "cosine": "cosine"}
_UNLIKE = {
    "js_divergence": "Jensen–Shannon, bits",
    "kl_divergence": "Kullback–Leibler a || b, nats",
    "p_distance": "|difference in p(true class)|",
}
_NUMBERED = 8
"""Heat maps of at most so many runs have their numbers written into them."""
_MOST_ROWS = 400
_HEIGHT, _STEPS = 860, (2.0, 16.0)


def chart(frame: "pd.DataFrame", about: About) -> Any:
    """Median of each measure over the shared cases, a heat map a measure; of a single pair, every case."""
    frame = frame.assign(p_distance=frame["p_true_difference"].abs())
    notes = list(about.notes)
    differing = int((~frame["same_patches"]).sum())
    if differing:
        notes.append(f"{differing} of {len(frame)} comparisons left out: not over the same patches")
    single = len(frame[["run_a", "run_b"]].drop_duplicates()) == 1
    if single and len(frame) > _MOST_ROWS:
        notes.append(f"the {_MOST_ROWS} cases that differ most, of {len(frame):,}")
    if not single:
        notes.append("each cell: the median over the cases that both runs predicted, whatever subset they were in")
    drawn = _cases(frame, about) if single else _pairs(frame, about)
    title = titled(About(title=about.title, subtitle=about.subtitle, notes=notes))
    return themed(drawn.properties(title=title))


def _words(about: About) -> dict[str, str]:
    return {name: words.format(pct=about.values.get("pct", 5)) for name, words in (_ALIKE | _UNLIKE).items()}


def _pairs(frame: "pd.DataFrame", about: About) -> Any:
    """A heat map for each measure, run a downwards and run b across."""
    labels = _labels(frame)
    of_pair = frame.groupby(["run_a", "run_b"], sort=False)
    pairs = of_pair[list(_ALIKE | _UNLIKE)].median().reset_index()
    pairs["cases"] = of_pair["same_patches"].sum().to_numpy()
    pairs["a"], pairs["b"] = pairs["run_a"].map(labels), pairs["run_b"].map(labels)
    order = list(labels.values())
    panels = [_heat_map(pairs, name, words, order) for name, words in _words(about).items()]
    return alt.concat(*panels, columns=3, data=pairs, spacing=18).resolve_scale(color="independent")


def _labels(frame: "pd.DataFrame") -> dict[str, str]:
    """What each run is called: its split, its seed where there are several, and the end of its id where that is not enough."""
    runs: dict[str, tuple[int, ...]] = {}
    for side in ("a", "b"):
        for row in frame[[f"run_{side}", f"split_{side}", f"seed_{side}"]].drop_duplicates().itertuples(index=False):
            # What a recorded run lacks sorts before all numbers.
            runs[row[0]] = tuple(-1 if each is None or math.isnan(each) else int(each) for each in row[1:3])
    several = len({seed for _, seed in runs.values()}) > 1
    labels = {}
    for run_id, (split, seed) in sorted(runs.items(), key=lambda item: (item[1], item[0])):
        name = split_words(None if split < 0 else split)
        label = f"{name}, seed {seed}" if several else name
        twice = list(runs.values()).count((split, seed)) > 1
        labels[run_id] = f"{label} · {run_id[-4:]}" if twice else label
    return labels


def _heat_map(pairs: "pd.DataFrame", name: str, words: str, order: list[str]) -> Any:
    alike = name in _ALIKE
    least = min(0.0, float(pairs[name].min())) if alike else 0.0
    most = 1.0 if alike else max(float(pairs[name].max()), 1e-9)
    scale = alt.Scale(scheme="blues" if alike else "oranges", domain=[least, most])
    axis: dict[str, Any] = {"ticks": False, "domain": False, "labelLimit": 110, "grid": False}
    base = alt.Chart().encode(
        x=alt.X(
            "b:N", sort=order, scale=alt.Scale(domain=order[1:]), title="run b", axis=alt.Axis(labelAngle=-90, **axis)
        ),
        y=alt.Y("a:N", sort=order, scale=alt.Scale(domain=order[:-1]), title="run a", axis=alt.Axis(**axis)),
        tooltip=[
            alt.Tooltip("run_a:N", title="run a"),
            alt.Tooltip("run_b:N", title="run b"),
            alt.Tooltip("cases:Q", title="cases over the same patches"),
            *(alt.Tooltip(f"{measure}:Q", title=f"median {measure}", format=".3f") for measure in _ALIKE | _UNLIKE),
        ],
    )
    legend = alt.Legend(title=None, orient="bottom", gradientLength=120, gradientThickness=8, tickCount=3)
    cells = base.mark_rect(stroke="white").encode(color=alt.Color(f"{name}:Q", scale=scale, legend=legend))
    side = 150
    shown = cells
    if len(order) <= _NUMBERED:
        dark = f"datum.{name} > {least + 0.6 * (most - least)}"
        number = base.mark_text(fontSize=10).encode(
            text=alt.Text(f"{name}:Q", format=".2f"), color=alt.condition(dark, alt.value("white"), alt.value(ACCENT))
        )
        shown = cells + number
    return shown.properties(width=side, height=side, title=alt.TitleParams(words, fontSize=12))


def _cases(frame: "pd.DataFrame", about: About) -> Any:
    """A row for each case of one pair of runs, the least alike first, and a column for each measure."""
    rows = frame.sort_values(["js_divergence", "case_id"], ascending=[False, True], kind="stable").head(_MOST_ROWS)
    step = min(max(_HEIGHT / len(rows), _STEPS[0]), _STEPS[1])
    axis = alt.Axis(labels=step >= 8, ticks=False, labelFontSize=min(11, max(8, round(step))), labelPadding=4)
    order = list(rows["case_id"])
    words = _words(about) | {
        "js_divergence": "Jensen–Shannon",
        "kl_divergence": "KL a || b",
        "p_true_difference": "p of a − p of b",
    }
    units = {"js_divergence": "bits", "kl_divergence": "nats"}
    tooltip = told(
        "case_id:N",
        alt.Tooltip("subset_a:N", title="subset of a"),
        alt.Tooltip("subset_b:N", title="subset of b"),
        "n_patches:Q",
        *(
            alt.Tooltip(f"{name}:Q", title=words[name], format=".3f")
            for name in (*_ALIKE, "js_divergence", "kl_divergence")
        ),
        alt.Tooltip("p_true_difference:Q", title="p(true class), a less b", format=".3f"),
    )
    panels = []
    for i, name in enumerate((*_ALIKE, "js_divergence", "kl_divergence", "p_true_difference")):
        signed = name in ("spearman", "p_true_difference")
        scale = {"p_true_difference": alt.Scale(domain=[-1, 1]), "kl_divergence": alt.Scale(zero=True)}.get(
            name, alt.Scale(domain=[-1 if signed and rows[name].min() < 0 else 0, 1])
        )
        title = alt.TitleParams(words[name], subtitle=units.get(name, ""), fontSize=11, subtitleFontSize=10)
        y = alt.Y(
            "case_id:N", sort=order, title="case, least alike first" if i == 0 else None, axis=axis if i == 0 else None
        )
        points = (
            alt.Chart()
            .mark_point(filled=True, size=28, color="#0072B2", opacity=1)
            .encode(
                x=alt.X(f"{name}:Q", title=None, scale=scale, axis=alt.Axis(orient="top", tickCount=3)),
                y=y,
                tooltip=tooltip,
            )
        )
        zero = alt.Chart(alt.InlineData(values=[{}])).mark_rule(color=NEUTRAL).encode(x=alt.datum(0))
        layered = zero + points if signed else points
        panels.append(layered.properties(width=98, height=alt.Step(step), title=title))
    return alt.hconcat(*panels, data=rows, spacing=12).resolve_scale(y="shared")
