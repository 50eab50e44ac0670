"""What the charts by a score share: how the score is called, its axis, and how its numbers are written."""

from typing import Any

import altair as alt
import pandas as pd

from milstore.charts.theme import NEUTRAL, About

ROOM = 0.22
"""Room beyond the last mark for its number, as a share of the axis."""


def score_of(about: About) -> str:
    """The name of the score that was asked by."""
    return str(about.values["score"])


def score_title(about: About) -> str:
    """What an axis of the score is called."""
    return f"score {score_of(about)} (no attention; signed)"


def number(value: float) -> str:
    """A score in few letters.

    >>> number(-1.23456), number(0), number(1234.5), number(-2e-5)
    ('-1.23', '0', '1,234', '-2e-05')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def between(low: float, high: float) -> str:
    """A range of scores; one number where both ends read alike.

    >>> between(-1, 2.5), between(-1, -1)
    ('-1 to 2.5', '-1')
    """
    words = number(low), number(high)
    return words[0] if words[0] == words[1] else " to ".join(words)


def span(values: "pd.Series[float]", room: float = 0.05) -> list[float]:
    """The ends of an axis that holds these scores and 0, with room at the ends that are not 0."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    wide = (high - low) or 1.0
    return [low - room * wide if low < 0 else 0.0, high + room * wide if high > 0 or low == 0 else 0.0]


def of_models(frame: pd.DataFrame) -> list[str]:
    """What must be known where several runs answer; nothing of one."""
    if frame["run_id"].nunique() == 1:
        return []
    return ["Several runs answer: their scores are of different models, and need not be on one scale."]


def zero_rule(**channel: Any) -> Any:
    """A line at a score of 0; `channel` names where, such as `x="zero:Q"`."""
    return alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(color=NEUTRAL).encode(**channel)
