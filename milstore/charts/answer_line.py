"""The answer of a chart in one line, computed from its rows, which stands right under the question."""

import textwrap
from collections.abc import Sequence

import altair as alt

from milstore.charts.theme import About

_HELD = "\ue000"
"""Stands for a space at which no line is broken; no name holds it, as it is no character of any script."""
_TITLE, _LINE = 72, 104
"""Letters of a title and of a line below it: so much fits into 600 pixels."""


def answered(about: About, answer: str | Sequence[str], notes: Sequence[str] = ()) -> alt.TitleParams:
    """The title of a chart: the question; under it the answer; then the run or experiment, its notes and the chart's own.

    Args:
        about: where the answer comes from.
        answer: one or two sentences with the numbers in them.
        notes: how the marks are to be read, and what is not shown.
    """
    answers = [answer] if isinstance(answer, str) else list(answer)
    lines = [line for text in (*answers, about.subtitle, *about.notes, *notes) for line in _broken(text, _LINE)]
    return alt.TitleParams(_broken(about.title, _TITLE), subtitle=lines)


def _broken(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` letters; long names are broken too, and no line ends with a dot between words."""
    lines = textwrap.wrap(text.replace(" · ", f" ·{_HELD}"), width) or [""]
    return [line.replace(_HELD, " ") for line in lines]
