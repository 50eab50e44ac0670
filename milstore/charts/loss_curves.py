"""`loss-curves`: training and validation loss of each run, a panel a run."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd

from milstore.charts.answer_line import answered
from milstore.charts.case_rows import nothing, split_names
from milstore.charts.split_balance import SUBSET_WORDS
from milstore.charts.theme import ACCENT, NEUTRAL, WIDTH, About, themed
from milstore.charts.tooltips import told
from milstore.charts.within import OF_ASKED, call_of, said_of
from milstore.store.names import counted

NEEDS_CALLS = OF_ASKED

LOSSES = {"train_loss": "training, with dropout", "val_loss": "validation"}
_COLOURS = ["#9CA3AF", "#111827"]
_MOST_POINTS = 4500
_FEW = 6
"""So many runs have their kept epochs named one by one."""
_KEY = "Diamond: the epoch kept and evaluated. Dashed: the learning rate drops to the value beside it."


def chart(frame: pd.DataFrame, about: About) -> Any:
    """A panel a run: both losses, a dashed line where the learning rate dropped, and the kept epoch."""
    if frame.empty:
        return nothing(about, "No epoch was recorded.")
    answer, notes = _answer(frame), [_KEY]
    call = call_of(about)
    if call is not None:
        notes.insert(
            0, f"Named in a heading: {said_of(call)}, where the run held it in {SUBSET_WORDS[call['subset']]}."
        )
    frame = _thinned(_named(frame, {call["run_id"]: f" · case {call['case_id']}"} if call is not None else {}))
    panels = frame["panel"].unique()
    columns = 1 if len(panels) == 1 else 2 if len(panels) <= 4 else 3
    base = alt.Chart(frame).encode(
        x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(values=_ticks(int(frame["epoch"].max())), format="d"))
    )
    layers = alt.layer(_drops(base), _losses(base), _kept(base))
    panel = layers.properties(width=(WIDTH + 20) / columns, height=260 if columns == 1 else 150)
    header = alt.Header(title=None, labelFontWeight="bold", labelAnchor="start", labelFontSize=11)
    facets = panel.facet(facet=alt.Facet("panel:N", sort=list(panels), header=header), columns=columns)
    if columns > 1:
        notes.append("All panels have one scale.")
    return themed(facets.properties(title=answered(about, answer, notes)))


def _answer(frame: pd.DataFrame) -> str:
    """Which epochs were kept, and whether the validation loss rose after them."""
    runs = [rows for _, rows in frame.groupby("run_id", sort=False)]
    kept = [(rows[rows["kept"]].iloc[0], rows.iloc[-1]) for rows in runs if rows["kept"].any()]
    if not kept:
        return f"{counted(len(runs), 'run')}; which epoch was kept is not said."
    words = [f"{row['epoch']} of {last['epoch']}" for row, last in kept]
    few = f"Kept epoch{'s' if len(words) > 1 else ''} {', '.join(words)}"
    epochs = [row["epoch"] for row, _ in kept]
    said = few if len(kept) <= _FEW else f"Kept epochs {min(epochs)} to {max(epochs)} of {len(kept)} runs"
    rises = [last["val_loss"] - row["val_loss"] for row, last in kept if last["val_loss"] > row["val_loss"]]
    if not rises:
        return f"{said}; in no run did the validation loss end higher than there."
    return f"{said}; validation loss ended higher than there in {len(rises)} of {counted(len(kept), 'run')} (by up to {max(rises):.2f})."


def _named(frame: pd.DataFrame, held: Mapping[str, str]) -> pd.DataFrame:
    """With the name of each run's panel; of several runs of a split and seed, each has its own. `held` is added to a run's."""
    names = split_names(frame["split"])
    if frame["seed"].nunique() > 1:
        names += ", seed " + frame["seed"].astype(str)
    if frame.groupby(names)["run_id"].nunique().max() > 1:
        names = frame["run_id"]
    kept = frame[frame["kept"]].set_index("run_id")["epoch"]
    # Another trainer need not say which it kept.
    words = frame["run_id"].map(lambda run_id: f" · kept {kept[run_id]}" if run_id in kept else "")
    return frame.assign(panel=names + words + frame["run_id"].map(lambda run_id: held.get(run_id, "")))


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
    text = drops.mark_text(baseline="bottom", fontSize=10, color=NEUTRAL).encode(
        y=alt.value(-2), text=alt.Text("learning_rate:Q", format=".1e")
    )
    return alt.layer(rule, text)


def _kept(base: alt.Chart) -> Any:
    """The epoch whose weights were restored."""
    kept = base.transform_filter("datum.kept")
    rule = kept.mark_rule(color=ACCENT, opacity=0.35, strokeWidth=1.5)
    point = kept.mark_point(shape="diamond", size=80, filled=True, color=ACCENT, opacity=1)
    return alt.layer(rule, point.encode(y="val_loss:Q"))
