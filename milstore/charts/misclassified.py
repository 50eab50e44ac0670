"""`misclassified`: the cases that are called wrong, the most wrong first."""

from dataclasses import replace
from typing import Any

import pandas as pd

from milstore.charts.case_list import case_list, left_out
from milstore.charts.case_rows import nothing
from milstore.charts.theme import About, themed, titled


def chart(frame: pd.DataFrame, about: About) -> Any:
    """A row a case: the probability of its true class, and what else is known of it."""
    if frame.empty:
        return nothing(about, "No case is called wrong.")
    pct = about.values.get("pct", 5.0)
    key = f"Concentration: effective attention of the case's top {pct:g}% of patches."
    about = replace(about, notes=[*about.notes, *left_out(frame), key])
    return themed(case_list(frame.assign(outcome="wrong"), about).properties(title=titled(about)))
