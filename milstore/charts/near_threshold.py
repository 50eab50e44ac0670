"""`near-threshold`: the cases whose call was close, the closest first."""

from typing import Any

import pandas as pd

from milstore.charts.answer_line import answered
from milstore.charts.case_list import answers, case_list, notes_of
from milstore.charts.case_rows import nothing
from milstore.charts.theme import About, themed
from milstore.charts.within import OF_ALL
from milstore.charts.wording import WRONG, called_wrong

WITHIN_COHORT = True
NEEDS_CALLS = OF_ALL


def chart(frame: pd.DataFrame, about: About) -> Any:
    """A row a case: the probability of its true class, and what else is known of it."""
    margin = about.values.get("margin", 0.1)
    if frame.empty:
        return nothing(about, f"No call has a margin of {margin:g} or less.")
    wrong, closest = int((frame["outcome"] == WRONG).sum()), frame.iloc[0]
    cases = len({row["case_id"] for row in about.calls if not row["beside"]})
    of_all = f" of {cases} cases in all" if cases else ""
    said = [
        f"Margin up to {margin:g}: {called_wrong(wrong, len(frame))}{of_all and ','}{of_all}; "
        f"the closest is case {closest['case_id']} with {closest['p_true']:.3f}."
    ]
    there = about.cases and set(about.cases) <= set(frame["case_id"])
    said += answers(about, "among these" if there else "not among these")[1:]
    notes = ["Margin: half the difference of the two largest probabilities.", *notes_of(frame, about)]
    drawn = case_list(frame, about, max(0.01, 1.2 * margin))
    return themed(drawn.properties(title=answered(about, said, notes)))
