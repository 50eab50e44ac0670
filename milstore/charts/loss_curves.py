"""`loss-curves`: training and validation loss of each run, a panel a run."""

from dataclasses import replace
from typing import Any

import altair as alt
import pandas as pd

from milstore.charts.case_rows import nothing, split_names
from milstore.charts.theme import ACCENT, NEUTRAL, WIDTH, About, themed, titled
from milstore.charts.tooltips import told

LOSSES = {"train_loss": "training, with dropout", "val_loss": "validation"}
_COLOURS = ["#9CA3AF", "#111827"]
_MOST_POINTS = 4500
_KEY = "Diamond: the epoch kept and evaluated. Dashed: the learning rate drops to the value beside it."


def chart(frame: pd.DataFrame, about: About) -> Any:
    """A panel a run: both losses, a dashed line where the learning rate dropped, and the kept epoch."""
    if frame.empty:
        return nothing(about, "No epoch was recorded.")
    frame = _thinned(_named(frame))
    panels = frame["panel"].unique()
    columns = 1 if len(panels) == 1 else 2 if len(panels) <= 4 else 3
    base = alt.Chart(frame).encode(
        x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(values=_ticks(int(frame["epoch"].max())), format="d"))
    )
    layers = alt.layer(_drops(base), _losses(base), _kept(base))
    panel = layers.properties(width=(WIDTH - 60 * (columns - 1)) / columns, height=300 if columns == 1 else 170)
    header = alt.Header(title=None, labelFontWeight="bold", labelAnchor="start")
    facets = panel.facet(facet=alt.Facet("panel:N", sort=list(panels), header=header), columns=columns)
    return themed(facets.properties(title=titled(replace(about, notes=[*about.notes, _KEY]))))


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    """With the name of each run's panel; of several runs of a split and seed, each has its own."""
    names = split_names(frame["split"])
    if frame["seed"].nunique() > 1:
        names += ", seed " + frame["seed"].astype(str)
    if frame.groupby(names)["run_id"].nunique().max() > 1:
        names = frame["run_id"]
    kept = frame[frame["kept"]].set_index("run_id")["epoch"]
    # Another trainer need not say which it kept.
    words = frame["run_id"].map(lambda run_id: f" · kept epoch {kept[run_id]}" if run_id in kept else "")
    return frame.assign(panel=names + words)


def _thinned(frame: pd.DataFrame) -> pd.DataFrame:
    """Every k-th epoch where there are too many to draw; the kept ones and the drops stay."""
    every = -(-len(frame) // _MOST_POINTS)
    return frame[(frame["epoch"] % every == 0) | frame["kept"] | frame["rate_dropped"]] if every > 1 else frame


def _ticks(last: int) -> list[int]:
    """Epochs to write at the axis: whole ones, about five of them."""
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, last) if last <= 5 * step)
    return list(range(0, last + 1, step))


def _losses(base: alt.Chart) -> Any:
    fields: list[str | alt.FieldName] = list(LOSSES)
    label = " : ".join(f"datum.loss_of == '{name}' ? '{words}'" for name, words in LOSSES.items()) + " : ''"
    scale = alt.Scale(domain=list(LOSSES.values()), range=_COLOURS)
    legend = alt.Legend(orient="bottom", symbolType="stroke", symbolStrokeWidth=3, offset=4)
    return (
        base.transform_fold(fields, as_=["loss_of", "loss"])
        .transform_calculate(subset=label)
        .mark_line(strokeWidth=1.8)
        .encode(
            y=alt.Y("loss:Q", title="loss (nats)", scale=alt.Scale(zero=False)),
            color=alt.Color(
                "subset:N", scale=scale, sort=list(LOSSES.values()), title="mean loss over cases", legend=legend
            ),
            tooltip=told(
                "panel:N",
                "epoch:Q",
                alt.Tooltip("train_loss:Q", format=".4f"),
                alt.Tooltip("val_loss:Q", format=".4f"),
                alt.Tooltip("learning_rate:Q", format=".2e"),
                "run_id:N",
            ),
        )
    )


def _drops(base: alt.Chart) -> Any:
    """Where the learning rate dropped, and to what."""
    drops = base.transform_filter("datum.rate_dropped")
    rule = drops.mark_rule(strokeDash=[3, 3], color=NEUTRAL)
    text = drops.mark_text(baseline="bottom", fontSize=9, color=NEUTRAL).encode(
        y=alt.value(-2), text=alt.Text("learning_rate:Q", format=".1e")
    )
    return alt.layer(rule, text)


def _kept(base: alt.Chart) -> Any:
    """The epoch whose weights were restored."""
    kept = base.transform_filter("datum.kept")
    rule = kept.mark_rule(color=ACCENT, opacity=0.35, strokeWidth=1.5)
    point = kept.mark_point(shape="diamond", size=80, filled=True, color=ACCENT, opacity=1)
    return alt.layer(rule, point.encode(y="val_loss:Q"))
