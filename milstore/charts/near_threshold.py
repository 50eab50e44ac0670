"""`near-threshold`: the cases whose call was close, the closest first."""

from dataclasses import replace
from typing import Any

import pandas as pd

from milstore.charts.case_list import case_list, left_out
from milstore.charts.case_rows import nothing
from milstore.charts.theme import About, themed, titled


def chart(frame: pd.DataFrame, about: About) -> Any:
    """A row a case: the probability of its true class, and what else is known of it."""
    margin, pct = about.values.get("margin", 0.1), about.values.get("pct", 5.0)
    if frame.empty:
        return nothing(about, f"No call has a margin of {margin:g} or less.")
    wrong = int((frame["outcome"] == "wrong").sum())
    notes = [
        f"Margin (half the difference of the two largest probabilities) up to {margin:g}: {len(frame)} cases, {wrong} wrong.",
        f"Concentration: effective attention of the case's top {pct:g}% of patches.",
    ]
    about = replace(about, notes=[*about.notes, *left_out(frame), *notes])
    return themed(case_list(frame, about, max(0.01, 1.2 * margin)).properties(title=titled(about)))
