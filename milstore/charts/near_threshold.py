"""`near-threshold`: the cases whose call was close, the closest first."""

from typing import Any

import pandas as pd

from milstore.charts.answer_line import answered
from milstore.charts.case_list import case_list, notes_of, of_asked
from milstore.charts.case_rows import nothing
from milstore.charts.theme import About, themed
from milstore.charts.within import OF_ALL
from milstore.charts.wording import WRONG, called_wrong
from milstore.store.names import counted

WITHIN_COHORT = True
NEEDS_CALLS = OF_ALL


def chart(frame: pd.DataFrame, about: About) -> Any:
    """A row a case: the probability of its true class, and what else is known of it."""
    margin = about.values.get("margin", 0.1)
    if frame.empty:
        return nothing(about, f"No call has a margin of {margin:g} or less.")
    # A case that was not in test stands in the list where it belongs, and is not counted.
    frame = frame.sort_values("margin", kind="stable")
    beside = {(row["run_id"], row["case_id"]) for row in about.calls if row["beside"]}
    counts = frame[[key not in beside for key in zip(frame["run_id"], frame["case_id"], strict=True)]]
    cases = len({row["case_id"] for row in about.calls if not row["beside"]})
    said = [_answer(counts, f", of {counted(cases, 'case')} in all" if cases else "", margin)]
    said += of_asked(frame, about)
    notes = ["Margin: half the difference of the two largest probabilities.", *notes_of(frame, about)]
    drawn = case_list(frame, about, max(0.01, 1.2 * margin))
    return themed(drawn.properties(title=answered(about, said, notes)))


def _answer(counts: pd.DataFrame, of_all: str, margin: float) -> str:
    if counts.empty:
        return f"Margin up to {margin:g}: no case{of_all}."
    closest = counts.iloc[0]
    said = called_wrong(int((counts["outcome"] == WRONG).sum()), len(counts))
    return f"Margin up to {margin:g}: {said}{of_all}; the closest is case {closest['case_id']} with {closest['p_true']:.3f}."
