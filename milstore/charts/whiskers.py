"""A dot with a line through it: a value with its interval, what it is in words beside it, and a ring round what was asked for."""

from typing import Any

import altair as alt

from milstore.charts.theme import ACCENT

DOT, RING = 70, 260
"""Areas in square pixels."""


def ring(base: alt.Chart, **channels: Any) -> Any:
    """A ring round the marks whose column `asked` is true: the case that was asked for."""
    rings = base.transform_filter("datum.asked").mark_point(
        filled=False, size=RING, strokeWidth=2, color=ACCENT, opacity=1, shape="circle"
    )
    return rings.encode(**channels)


def dots(base: alt.Chart, *, value: alt.X, low: str, high: str, colour: Any) -> list[Any]:
    """Dots with whiskers in rows that `base` encodes on y. What is undefined is not drawn, nor its interval.

    Args:
        base: a chart with y and the tooltip encoded.
        value: the value, and its axis.
        low: column of the lower end of the interval, null where there is none.
        high: column of the upper end.
        colour: a colour, or a colour channel.
    """
    field = str(value["shorthand"]).split(":")[0]
    there = base.transform_filter(f"isValid(datum.{field})")
    between = there.transform_filter(f"isValid(datum.{low}) && isValid(datum.{high})")
    encoded = {"color": alt.value(colour) if isinstance(colour, str) else colour}
    ends = alt.X(f"{low}:Q", title=value["title"])
    return [
        between.mark_rule(strokeWidth=2, opacity=0.7).encode(x=ends, x2=f"{high}:Q", **encoded),
        there.mark_point(filled=True, size=DOT, opacity=1, shape="circle").encode(x=value, **encoded),
        ring(there, x=value),
    ]


def beside(base: alt.Chart, column: str) -> Any:
    """Words to the right of the plot, however wide it is drawn."""
    text = base.mark_text(align="left", dx=8, fontSize=11, color=ACCENT)
    return text.encode(x=alt.value("width"), text=f"{column}:N")
