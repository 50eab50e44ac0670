"""A chart of a group's own: a function `chart(frame, about)` in any file, which is named and never looked for.

Whoever names the file has it executed, with all rights: so a store's folder is no place to look in.
"""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import altair as alt

from milstore.charts.theme import About
from milstore.errors import UsageError
from milstore.userfile import load_file

Draw = Callable[[Any, About], Any]
"""What draws an answer, a pandas data frame: it gives an Altair chart."""


def load_chart(path: Path) -> Draw:
    """The function `chart` of a file, which is executed.

    Raises:
        UsageError: there is no such file or function, or the file fails.
    """
    found, _ = load_file("chart", f"{path}:chart", wanted="a function chart(frame, about)")
    if not callable(found):
        raise UsageError(f"chart {path}: it defines no function chart(frame, about)")
    draw: Draw = found
    return draw


def draw_own(draw: Draw, frame: Any, about: About) -> Any:
    """The chart that a function of one's own makes of an answer, checked as Altair checks charts.

    Raises:
        UsageError: the function fails, or what it gives is no Altair chart, or no right one.
    """
    try:
        drawn = draw(frame, about)
        if isinstance(drawn, alt.TopLevelMixin):
            drawn.to_dict()
    except alt.MaxRowsError:
        # Said with what to do, where the chart is written.
        return drawn
    except Exception as error:
        raise UsageError(f"the chart cannot be drawn: {_told(error)}") from error
    if not isinstance(drawn, alt.TopLevelMixin):
        raise UsageError(f"the chart cannot be drawn: chart(frame, about) gave {type(drawn).__name__}, no Altair chart")
    return drawn


def _told(error: Exception) -> str:
    """An error in a file of somebody's own: its kind, its words, and the line that it came by."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).suffix == ".py"]
    place = next((frame for frame in frames if _is_own(frame.filename)), None)
    where = f" ({Path(place.filename).name}, line {place.lineno})" if place else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}{where}"


def _is_own(filename: str) -> bool:
    return not any(part in ("site-packages", "milstore") or part.startswith("<") for part in Path(filename).parts)
