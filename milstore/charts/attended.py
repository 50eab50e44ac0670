"""What the charts of attention in cases share: names of cases, slices and patches, and the one run of a case's chart."""

from dataclasses import replace
from typing import Any

import pandas as pd

from milstore.charts.theme import About
from milstore.errors import UsageError

MOST_ROWS = 5000
"""Rows that a chart may hold."""
MOST_CASE_ROWS = 400
"""Cases that a chart of a row a case shows; the table has all."""


def one_run(frame: pd.DataFrame, name: str) -> None:
    """UsageError unless one run answers: a chart of one case's patches shows one run's attention."""
    runs = frame["run_id"].unique()
    if len(runs) > 1:
        raise UsageError(f"{len(runs)} runs answer for this case: choose one for the chart of {name} by --run")


def all_stains(frame: pd.DataFrame, about: About) -> About:
    """With the stains that the rows have and the store no longer knows."""
    known = list(about.stains)
    return replace(about, stains=known + [stain for stain in frame["stain"].unique() if stain not in known])


def case_names(frame: pd.DataFrame) -> pd.Series:
    """The name of each row's case; with its run where several runs answer for a case. Wrong calls are marked."""
    names = frame["case_id"].astype(str)
    if frame.groupby("case_id")["run_id"].nunique().max() > 1:
        names = names + " · " + frame["run_id"]
    return names.where(frame["outcome"] == "right", names + " *") if "outcome" in frame else names


def slice_names(frame: pd.DataFrame) -> pd.Series:
    """Stain and name of each row's slice; its number where the store has no name for it."""
    numbers = "slice " + frame["slice_idx"].astype(str)
    names = (
        frame["slice_name"].astype(object).where(frame["slice_name"].notna(), numbers)
        if "slice_name" in frame
        else numbers
    )
    return frame["stain"].astype(str) + " · " + names.astype(str)


def patch_names(frame: pd.DataFrame) -> pd.Series:
    """Stain, slice and number of each row's patch."""
    return slice_names(frame) + " · patch " + frame["patch_idx"].astype(str)


def called(row: "pd.Series[Any]") -> str:
    """A case's class and how it was called, such as `benign, called wrong as high-grade`."""
    truth, outcome = str(row["true_class"]), row["outcome"]
    if outcome not in ("right", "wrong"):
        return truth
    as_what = f" as {row['pred_class']}" if outcome == "wrong" and "pred_class" in row.index else ""
    return f"{truth}, called {outcome}{as_what}"


def times_even(value: float) -> str:
    """How many times the even share, in few letters.

    >>> times_even(1234.5), times_even(12.34), times_even(0.034), times_even(0), times_even(1.2e-9)
    ('×1,234', '×12', '×0.034', '×0', '×1e-09')
    """
    return f"×{value:,.0f}" if value >= 10 or value == 0 else f"×{value:.2g}" if value >= 0.001 else f"×{value:.0e}"
