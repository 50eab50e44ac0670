"""`misclassified`: the cases that are called wrong, the most wrong first."""

from typing import Any

import pandas as pd

from milstore.charts.answer_line import answered
from milstore.charts.case_list import by_class, case_list, notes_of, of_asked
from milstore.charts.case_pictures import with_pictures
from milstore.charts.case_rows import nothing
from milstore.charts.theme import About, themed
from milstore.charts.within import OF_ALL
from milstore.charts.wording import WRONG
from milstore.store.names import counted

WITHIN_COHORT = True
NEEDS_CALLS = OF_ALL


def prepare(frame: pd.DataFrame, about: About) -> pd.DataFrame:
    """With pictures of the patches that attention went to."""
    return with_pictures(frame, about)


def chart(frame: pd.DataFrame, about: About) -> Any:
    """A row a case: the probability of its true class, what else is known of it, and its most attended patches."""
    if frame.empty:
        return nothing(about, f"No case is called {WRONG}.")
    said = [*(by_class(about) or [f"{counted(len(frame), 'case')} called {WRONG}."]), *of_asked(frame, about)]
    drawn = case_list(frame.sort_values("p_true", kind="stable").assign(outcome=WRONG), about)
    return themed(drawn.properties(title=answered(about, said, notes_of(frame, about))))
