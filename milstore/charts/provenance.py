"""The chart of `provenance`: a table of runs in which what sets one apart is marked."""

from typing import TYPE_CHECKING, Any

import altair as alt

from milstore.charts.answer_line import answered
from milstore.charts.theme import ACCENT, INK, NEUTRAL, About, themed
from milstore.charts.within import OF_ASKED, call_of, said_of
from milstore.store.names import counted

if TYPE_CHECKING:
    import pandas as pd

NEEDS_CALLS = OF_ASKED

_FIELDS = {
    "split": "split",
    "seed": "seed",
    "slurm_job_id": "SLURM job",
    "best": "best epoch",
    "weights": "weights",
    "cohort": "cohort",
    "features": "features",
    "patches": "patches",
    "config": "config",
    "code_version": "code",
}
_SHARED = ("cohort", "features", "patches", "config", "code_version")
"""What runs that are to be compared have in common."""
_ALWAYS = ("split", "best", "weights")
"""What is shown of each run even where it is the same in all."""
_MOST_RUNS = 100
_LETTERS = 8
_ODD, _USUAL, _NONE = "#FDE68A", "#F3F4F6", "–"
_NAMES = 190
"""Pixels of the run's name."""


def chart(frame: "pd.DataFrame", about: About) -> Any:
    """A row a run and a column for what differs between them; what all share stands above, once."""
    import pandas as pd

    runs = frame.tail(_MOST_RUNS)
    cells = _cells(runs)
    shown, same = _columns(cells)
    odd = sorted({cell["field"] for cell in cells if cell["odd"]}, key=list(_FIELDS.values()).index)
    call = call_of(about)
    notes = [f"Same in all: {', '.join(f'{field} {text}' for field, text in same.items())}."] if same else []
    if odd:
        notes.append("Yellow: not as in most runs.")
    if call is not None:
        notes.append(f"Framed: the run that answers for {said_of(call)}.")
    if len(runs) < len(frame):
        notes.append(f"the last {len(runs)} of {len(frame):,} runs")
    rows = pd.DataFrame([cell for cell in cells if cell["field"] in shown])
    rows["asked"] = rows["run"] == (call["run_id"] if call is not None else None)
    base = alt.Chart(rows).encode(
        x=alt.X(
            "field:N", sort=shown, title=None,
            axis=alt.Axis(orient="top", labelAngle=0, ticks=False, domain=False, labelFontSize=10),
        ),
        y=alt.Y("run:N", sort=list(runs["run_id"]), title=None, axis=alt.Axis(labelLimit=_NAMES, ticks=False, domain=False, labelFontSize=10)),
        tooltip=[alt.Tooltip("run:N"), alt.Tooltip("field:N"), alt.Tooltip("value:N")],
    )  # fmt: skip
    fill = alt.condition("datum.odd", alt.value(_ODD), alt.value(_USUAL))
    boxes = base.mark_rect(stroke="white").encode(color=fill)
    frames = base.transform_filter("datum.asked").mark_rect(filled=False, stroke=ACCENT, strokeWidth=2)
    colour = alt.condition(f"datum.value == '{_NONE}'", alt.value(NEUTRAL), alt.value(INK))
    words = base.mark_text(font="Menlo, Consolas, DejaVu Sans Mono, monospace", fontSize=10)
    layers = alt.layer(boxes, frames, words.encode(text="text:N", color=colour))
    title = answered(about, _answer(len(runs), cells, odd), notes)
    width = min(64, (590 - _NAMES) / len(shown)) * len(shown)
    return themed(layers.properties(width=width, height=alt.Step(20), title=title), least=0.9)


def _answer(n_runs: int, cells: list[dict[str, Any]], odd: list[str]) -> str:
    """Whether the runs may be compared: whether they are of the same data, configuration and code."""
    shared = "cohort, features, patches, config and code"
    if n_runs == 1:
        return "One run: there is none to differ from."
    if not odd:
        return f"All {n_runs} runs agree in {shared}: their numbers may be compared."
    said = [f"{field} in {sum(cell['odd'] for cell in cells if cell['field'] == field)}" for field in odd]
    apart = len({cell["run"] for cell in cells if cell["odd"]})
    return f"{apart} of {counted(n_runs, 'run')} not as most: {', '.join(said)}."


def _columns(cells: list[dict[str, Any]]) -> tuple[list[str], dict[str, str]]:
    """The columns that are shown, and what the others have in all rows."""
    shown, same = [], {}
    for name, words in _FIELDS.items():
        of_field = {cell["value"]: cell["text"] for cell in cells if cell["field"] == words}
        if len(of_field) > 1 or name in _ALWAYS:
            shown.append(words)
        elif list(of_field) != [_NONE]:
            same[words] = next(iter(of_field.values()))
    return shown, same


def _cells(runs: "pd.DataFrame") -> list[dict[str, Any]]:
    runs = runs.assign(best=[f"{b} of {n}" for b, n in zip(runs["best_epoch"], runs["n_epochs"], strict=True)])
    cells = []
    for field, words in _FIELDS.items():
        known = runs[field].mode()
        usual = known.iloc[0] if field in _SHARED and len(known) else None
        for run_id, value in zip(runs["run_id"], runs[field], strict=True):
            text = _NONE if value is None or value != value else str(value)  # noqa: PLR0124
            cells.append(
                {
                    "run": run_id, "field": words, "value": text, "text": text[:_LETTERS],
                    "odd": bool(usual is not None and value != usual),
                }
            )  # fmt: skip
    return cells
