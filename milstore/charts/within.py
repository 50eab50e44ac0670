"""A case within its cohort: a chart that was asked for one case draws all of them, and lets that one stand out.

A chart's module says `WITHIN_COHORT = True` where its picture of one case alone would say nothing. It is then given the
rows of all cases, and `about.cases` says which of them were asked for.
"""

import pandas as pd

from milstore.charts.theme import About

FADED, PLAIN = 0.25, 0.8
"""Opacity of cases that were not asked for where some were, and of all where none was."""


def with_cohort(frame: pd.DataFrame, cohort: pd.DataFrame) -> pd.DataFrame:
    """The cohort's rows, and those of the cases asked for that are not among them.

    A case that was not in test is in no test subset's answer: then its own answer is.
    """
    known = set(zip(cohort["run_id"], cohort["case_id"], strict=True))
    own = [key not in known for key in zip(frame["run_id"], frame["case_id"], strict=True)]
    return pd.concat([cohort, frame[own]], ignore_index=True) if any(own) else cohort


def asked_for(frame: pd.DataFrame, about: About) -> "pd.Series[bool]":
    """Which rows are of a case that was asked for; none where all were."""
    return frame["case_id"].isin(list(about.cases))


def whose(about: About) -> str:
    """The cases that were asked for, such as `case 46` or `cases 46, 64`."""
    return f"case{'s' if len(about.cases) > 1 else ''} {', '.join(about.cases)}"
