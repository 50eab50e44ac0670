"""The chart of `provenance`: a table of runs in which what sets one apart is marked."""

from typing import TYPE_CHECKING, Any

import altair as alt

from milstore.charts.theme import ACCENT, NEUTRAL, About, themed, titled

if TYPE_CHECKING:
    import pandas as pd

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
_MOST_RUNS = 100
_LETTERS = 8


def chart(frame: "pd.DataFrame", about: About) -> Any:
    """A row a run; a cell is marked where its data, configuration or code are not those of most runs."""
    runs = frame.tail(_MOST_RUNS)
    cells = _cells(runs)
    odd = sum(cell["odd"] for cell in cells)
    notes = [
        *about.notes,
        f"{odd} marked: not as in most runs" if odd else "data, configuration and code agree in all runs",
    ]
    if len(runs) < len(frame):
        notes.append(f"the last {len(runs)} of {len(frame):,} runs")
    import pandas as pd

    base = alt.Chart(pd.DataFrame(cells)).encode(
        x=alt.X(
            "field:N", sort=list(_FIELDS.values()), title=None,
            axis=alt.Axis(orient="top", labelAngle=0, ticks=False, domain=False, labelFontSize=10),
        ),
        y=alt.Y("run:N", sort=list(runs["run_id"]), title=None, axis=alt.Axis(labelLimit=240, ticks=False, domain=False)),
        tooltip=[alt.Tooltip("run:N"), alt.Tooltip("field:N"), alt.Tooltip("value:N")],
    )  # fmt: skip
    fill = alt.condition("datum.odd", alt.value("#FDE3C8"), alt.value("#F3F4F6"))
    boxes = base.mark_rect(stroke="white").encode(color=fill)
    colour = alt.condition("datum.value == '–'", alt.value(NEUTRAL), alt.value(ACCENT))
    words = base.mark_text(font="Menlo, Consolas, DejaVu Sans Mono, monospace", fontSize=9).encode(
        text="text:N", color=colour
    )
    title = titled(About(title=about.title, subtitle=about.subtitle, notes=notes))
    return themed((boxes + words).properties(width=54 * len(_FIELDS), height=alt.Step(20), title=title))


def _cells(runs: "pd.DataFrame") -> list[dict[str, Any]]:
    runs = runs.assign(best=[f"{b} of {n}" for b, n in zip(runs["best_epoch"], runs["n_epochs"], strict=True)])
    cells = []
    for field, words in _FIELDS.items():
        known = runs[field].mode()
        usual = known.iloc[0] if field in _SHARED and len(known) else None
        for run_id, value in zip(runs["run_id"], runs[field], strict=True):
            text = "–" if value is None or value != value else str(value)  # noqa: PLR0124
            cells.append(
                {
                    "run": run_id, "field": words, "value": text, "text": text[:_LETTERS],
                    "odd": bool(usual is not None and value != usual),
                }
            )  # fmt: skip
    return cells
