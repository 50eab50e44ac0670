"""A case within its cohort: a chart that was asked for one case draws all of them, and lets that one stand out.

A chart's module says `WITHIN_COHORT = True` where its picture of one case alone would say nothing. It is then given the
rows of all cases, and `about.cases` says which of them were asked for.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from milstore.charts.theme import About
from milstore.charts.wording import called

OF_ALL, OF_ASKED = "all", "asked"
"""What a chart's module says as `NEEDS_CALLS`: that it must be told how all cases were called, or only where some were asked
for."""
FADED, PLAIN = 0.25, 0.8
"""Opacity of cases that were not asked for where some were, and of all where none was."""


def with_cohort(frame: pd.DataFrame, cohort: pd.DataFrame) -> pd.DataFrame:
    """The cohort's rows, and those of the cases asked for that are not among them.

    A case that was not in test is in no test subset's answer: then its own answer is. Where the rows are of no single
    case and run, they are the cohort's.
    """
    if not {"run_id", "case_id"} <= set(cohort):
        return cohort
    known = set(zip(cohort["run_id"], cohort["case_id"], strict=True))
    own = [key not in known for key in zip(frame["run_id"], frame["case_id"], strict=True)]
    return pd.concat([cohort, frame[own]], ignore_index=True) if any(own) else cohort


def asked_for(frame: pd.DataFrame, about: About) -> "pd.Series[bool]":
    """Which rows are of a case that was asked for; none where all were."""
    return frame["case_id"].isin(list(about.cases))


def whose(about: About) -> str:
    """The cases that were asked for, such as `case 46` or `cases 46, 64`."""
    return f"case{'s' if len(about.cases) > 1 else ''} {', '.join(about.cases)}"


def call_of(about: About) -> Mapping[str, Any] | None:
    """How the case was called that was asked for; None unless it was one, and there is a call of it."""
    asked = [row for row in about.calls if row["case_id"] in about.cases]
    return asked[0] if len(asked) == 1 else None


def said_of(call: Mapping[str, Any]) -> str:
    """A case, its class and how it was called, such as `case 46 (benign, called wrong)`."""
    if not call["outcome"]:
        return f"case {call['case_id']} (no label, predicted {call['pred_class']})"
    return f"case {call['case_id']} ({call['true_class']}, {called(call['outcome'])})"
