"""The chart of `compare-runs`: how alike pairs of runs are, over the cases that both predicted; or the cases of one pair."""

import math
from typing import TYPE_CHECKING, Any

import altair as alt

from milstore.analysis.outcomes import split_words
from milstore.charts.answer_line import answered
from milstore.charts.theme import ACCENT, INK, NEUTRAL, About, themed
from milstore.charts.tooltips import told
from milstore.charts.whiskers import DOT, RING, ring
from milstore.charts.within import whose
from milstore.store.names import counted

if TYPE_CHECKING:
    import pandas as pd

WITHIN_COHORT = True

_ALIKE = {"spearman": "Spearman's ρ", "jaccard": "Jaccard of the\ntop {pct:g}%"}
_UNLIKE = {"js_divergence": "Jensen–Shannon\n(bits)", "p_distance": "difference in p"}
_MORE = {"cosine": "cosine", "kl_divergence": "Kullback–Leibler a || b (nats)"}
"""What the tooltip tells beside what is drawn."""
_MOST_PAIRS = 30
"""So many pairs have a row each; more make a heat map for each measure."""
_MOST_ROWS = 400
_HEIGHT, _STEPS = 860, (2.0, 16.0)
_COLOUR = "#475569"
"""Of no class and no stain."""
_WIDTH = 100


def chart(frame: "pd.DataFrame", about: About) -> Any:
    """A row a pair of runs, a column a measure: median of the cases, and their middle half; of a single pair, every case."""
    frame = frame.assign(p_distance=frame["p_true_difference"].abs(), asked=frame["case_id"].isin(list(about.cases)))
    notes = []
    differing = int((~frame["same_patches"]).sum())
    if differing:
        notes.append(f"{differing} of {len(frame)} comparisons left out: not over the same patches")
    pairs = len(frame[["run_a", "run_b"]].drop_duplicates())
    # One case of several pairs has no cohort where a report asked for it alone.
    within = bool(frame["asked"].any()) and not bool(frame["asked"].all())
    if pairs == 1 and len(frame) > _MOST_ROWS:
        notes.append(f"the {_MOST_ROWS} cases that differ most, of {len(frame):,}")
    if pairs == 1:
        drawn = _cases(frame, about)
        notes += [f"Ringed: {whose(about)}."] if within else []
    else:
        notes.append("Over the cases that both runs predicted, whatever subset they were in; p: of the true class.")
        if pairs <= _MOST_PAIRS:
            drawn = _dots(frame, about, within=within)
            notes.append(
                "Dot: median of the cases; line: their middle half." + (f" Ring: {whose(about)}." if within else "")
            )
        else:
            drawn = _heat_maps(frame[frame["asked"]] if within else frame, about)
            notes.append(f"A cell: {whose(about)}." if within else "A cell: the median of the cases.")
    return themed(drawn.properties(title=answered(about, _answers(frame, about, within=within), notes)))


def _answers(frame: "pd.DataFrame", about: About, *, within: bool) -> list[str]:
    """How alike the pairs are by rank, and which are the least alike; of one pair, which case."""
    known = frame[frame["spearman"].notna()]
    if known.empty:
        return ["How alike the attention is cannot be said: no case has the same patches in both runs, ranked."]
    labels = _labels(frame)
    of_pair = known.groupby(["run_a", "run_b"], sort=False)["spearman"].median().sort_values(kind="stable")
    jaccard = f"Jaccard of the top {about.values.get('pct', 5):g}% {known['jaccard'].median():.2f}"
    if len(of_pair) == 1:
        least = known.sort_values(["spearman", "case_id"], kind="stable").iloc[0]
        said = [
            f"Median over {counted(len(known), 'case')}: Spearman's ρ {of_pair.iloc[0]:.2f}, {jaccard}; "
            f"least alike is case {least['case_id']} ({least['spearman']:.2f})."
        ]
    else:
        least_and_most = [f"{_pair(of_pair.index[i], labels)} ({of_pair.iloc[i]:.2f})" for i in (0, -1)]
        said = [
            f"Median Spearman's ρ of the {len(of_pair)} pairs: {of_pair.median():.2f}; {jaccard}.",
        ]
        said += (
            [f"Least alike: {least_and_most[0]}; most: {least_and_most[1]}."]
            if of_pair.iloc[0] < of_pair.iloc[-1]
            else []
        )
    if within:
        own = known[known["asked"]]["spearman"]
        ends = dict.fromkeys(f"{own.quantile(end):.2f}" for end in (0, 1)) if len(own) else ["undefined"]
        said.append(f"{whose(about).capitalize()}: Spearman's ρ {' to '.join(ends)}.")
    return said


def _pair(runs: Any, labels: dict[str, str]) -> str:
    return f"{labels[runs[0]]} and {labels[runs[1]]}"


def _words(about: About) -> dict[str, str]:
    return {name: words.format(pct=about.values.get("pct", 5)) for name, words in (_ALIKE | _UNLIKE).items()}


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


def _of_pairs(frame: "pd.DataFrame") -> "pd.DataFrame":
    """A row a pair: median and quartiles of each measure over the cases, and the value of the case that was asked for."""
    labels = _labels(frame)
    by_pair = frame.groupby(["run_a", "run_b"], sort=False)
    measures = list(_ALIKE | _UNLIKE | _MORE)
    pairs = by_pair[measures].median().reset_index()
    for name in measures:
        for end, share in (("low", 0.25), ("high", 0.75)):
            pairs[f"{name}_{end}"] = by_pair[name].quantile(share).to_numpy()
    own = frame[frame["asked"]].groupby(["run_a", "run_b"])[measures].median()
    for name in measures:
        pairs[f"{name}_own"] = [own[name].get(key) for key in zip(pairs["run_a"], pairs["run_b"], strict=True)]
    pairs["cases"] = by_pair["same_patches"].sum().to_numpy()
    pairs["a"], pairs["b"] = pairs["run_a"].map(labels), pairs["run_b"].map(labels)
    pairs["pair"] = pairs["a"] + " – " + pairs["b"]
    return pairs


def _pair_tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("run_a:N", title="run a"),
        alt.Tooltip("run_b:N", title="run b"),
        alt.Tooltip("cases:Q", title="cases over the same patches"),
        *(alt.Tooltip(f"{measure}:Q", title=f"median {measure}", format=".3f") for measure in _ALIKE | _UNLIKE | _MORE),
    ]


def _scale(name: str, values: Any) -> alt.Scale:
    """The range that a measure has: 0 to 1, from -1 where ranks run against each other."""
    return alt.Scale(domain=[-1 if name == "spearman" and (values < 0).any() else 0, 1])


def _dots(frame: "pd.DataFrame", about: About, *, within: bool) -> Any:
    """Pairs from the most alike down, a column a measure."""
    pairs = _of_pairs(frame).sort_values("spearman", ascending=False, kind="stable")
    axis = alt.Axis(ticks=False, domain=False, labelLimit=190)
    panels = []
    for i, (name, words) in enumerate(_words(about).items()):
        y = alt.Y("pair:N", sort=list(pairs["pair"]), title=None, axis=axis if i == 0 else None)
        base = alt.Chart(pairs).transform_filter(f"isValid(datum.{name})").encode(y=y, tooltip=_pair_tooltip())
        scale = _scale(name, pairs[[name, f"{name}_low", f"{name}_own"]].stack())
        ticks = alt.Axis(values=[-1, 0, 0.5, 1], format=".2~f")
        x, low, own = (alt.X(f"{name}{end}:Q", title=None, scale=scale, axis=ticks) for end in ("", "_low", "_own"))
        layers = [
            base.mark_rule(strokeWidth=2, opacity=0.6, color=_COLOUR).encode(x=low, x2=f"{name}_high:Q"),
            base.mark_point(filled=True, size=DOT, opacity=1, color=_COLOUR, shape="circle").encode(x=x),
        ]
        if within:
            rings = base.transform_filter(f"isValid(datum.{name}_own)")
            mark = rings.mark_point(filled=False, size=RING / 2, strokeWidth=2, color=ACCENT, opacity=1, shape="circle")
            layers.append(mark.encode(x=own))
        title = alt.TitleParams(words.split("\n"), anchor="start", fontSize=11, fontWeight="normal", offset=4)
        panels.append(alt.layer(*layers).properties(width=_WIDTH, height=alt.Step(16), title=title))
    return alt.hconcat(*panels, spacing=10).resolve_scale(y="shared")


def _heat_maps(frame: "pd.DataFrame", about: About) -> Any:
    """A heat map for each measure, run a downwards and run b across."""
    pairs, order = _of_pairs(frame), list(_labels(frame).values())
    panels = [_heat_map(pairs, name, words, order) for name, words in _words(about).items()]
    return alt.concat(*panels, columns=2, spacing=18).resolve_scale(color="independent")


def _heat_map(pairs: "pd.DataFrame", name: str, words: str, order: list[str]) -> Any:
    alike = name in _ALIKE
    least = min(0.0, float(pairs[name].min())) if alike else 0.0
    most = 1.0 if alike else max(float(pairs[name].max()), 1e-9)
    # Grey to dark where runs are alike, and the other way round: dark is always alike.
    scale = alt.Scale(range=["#F3F4F6", INK] if alike else [INK, "#F3F4F6"], domain=[least, most])
    axis: dict[str, Any] = {"ticks": False, "domain": False, "labelLimit": 110, "grid": False}
    base = alt.Chart(pairs).encode(
        x=alt.X(
            "b:N", sort=order, scale=alt.Scale(domain=order[1:]), title="run b", axis=alt.Axis(labelAngle=-90, **axis)
        ),
        y=alt.Y("a:N", sort=order, scale=alt.Scale(domain=order[:-1]), title="run a", axis=alt.Axis(**axis)),
        tooltip=_pair_tooltip(),
    )
    legend = alt.Legend(title=None, orient="bottom", gradientLength=120, gradientThickness=8, tickCount=3)
    cells = base.mark_rect(stroke="white").encode(color=alt.Color(f"{name}:Q", scale=scale, legend=legend))
    return cells.properties(width=190, height=190, title=alt.TitleParams(words.split("\n"), fontSize=12))


def _cases(frame: "pd.DataFrame", about: About) -> Any:
    """A row for each case of one pair of runs, the least alike first, and a column for each measure."""
    rows = frame.sort_values(["js_divergence", "case_id"], ascending=[False, True], kind="stable").head(_MOST_ROWS)
    step = min(max(_HEIGHT / len(rows), _STEPS[0]), _STEPS[1])
    # A name needs ten pixels: of more cases the tooltip tells them.
    axis = alt.Axis(labels=step >= 10, ticks=False, labelFontSize=10, labelPadding=4, grid=step >= 10)
    words = _words(about) | {"p_true_difference": "p of a − p of b"}
    del words["p_distance"]
    tooltip = told(
        "case_id:N",
        alt.Tooltip("subset_a:N", title="subset of a"),
        alt.Tooltip("subset_b:N", title="subset of b"),
        "n_patches:Q",
        *(
            alt.Tooltip(f"{name}:Q", title=title.replace("\n", " "), format=".3f")
            for name, title in (words | _MORE).items()
            if name != "p_true_difference"
        ),
        alt.Tooltip("p_true_difference:Q", title="p(true class), a less b", format=".3f"),
    )
    panels = []
    for i, (name, title) in enumerate(words.items()):
        signed = name == "p_true_difference"
        scale = alt.Scale(domain=[-1, 1]) if signed else _scale(name, rows[name])
        heading = alt.TitleParams(title.split("\n"), anchor="start", fontSize=11, fontWeight="normal", offset=4)
        y = alt.Y(
            "case_id:N",
            sort=list(rows["case_id"]),
            title="case, least alike first" if i == 0 else None,
            axis=axis if i == 0 else None,
        )
        x = alt.X(f"{name}:Q", title=None, scale=scale, axis=alt.Axis(orient="top", tickCount=3))
        base = alt.Chart(rows).transform_filter(f"isValid(datum.{name})").encode(y=y, tooltip=tooltip)
        points = base.mark_point(filled=True, size=28, color=_COLOUR, opacity=1, shape="circle").encode(x=x)
        layers = [points, ring(base, x=x)]
        if signed or scale.domain[0] < 0:
            layers.insert(0, alt.Chart(alt.InlineData(values=[{}])).mark_rule(color=NEUTRAL).encode(x=alt.datum(0)))
        panels.append(alt.layer(*layers).properties(width=_WIDTH, height=alt.Step(step), title=heading))
    return alt.hconcat(*panels, spacing=12).resolve_scale(y="shared")
