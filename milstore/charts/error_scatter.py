"""What is drawn of a case against its error: the panels that `concentration` and `patch-count` share."""

from typing import TYPE_CHECKING, Any

import altair as alt

from milstore.analysis.correlation import sentence
from milstore.charts.theme import About, class_colour, outcome_shape, themed, titled
from milstore.charts.tooltips import CASE, ORIGIN, told

if TYPE_CHECKING:
    import pandas as pd

_MOST = 5000


def few_enough(frame: "pd.DataFrame") -> tuple["pd.DataFrame", list[str]]:
    """At most 5,000 of the rows, evenly taken, and what must be told of it."""
    if len(frame) <= _MOST:
        return frame, []
    step = -(-len(frame) // _MOST)
    drawn = frame.iloc[::step]
    return drawn, [f"{len(drawn):,} of {len(frame):,} points are drawn, evenly taken; the statistics are of all"]


def panels(
    frame: "pd.DataFrame", about: About, *, panel: str, x: alt.X, tooltip: list[alt.Tooltip], columns: int, width: int
) -> Any:
    """A scatter of `x` against the error for each value of the column `panel`, headed by Spearman's rho.

    Args:
        frame: the answer, with the columns of `with_error_correlation`, `true_class` and `outcome`.
        about: what the chart says of where it came from.
        panel: the column whose values are the panels, in the order of the rows.
        x: what is against the error.
        tooltip: what is told of a point beside its case, class and error.
        columns: panels side by side.
        width: width of a panel, in pixels.
    """
    drawn, notes = few_enough(frame)
    heads = {str(name): sentence(rows.iloc[0].to_dict()) for name, rows in frame.groupby(panel, sort=False)}
    base = alt.Chart(drawn).mark_point(filled=True, size=45, opacity=0.75)
    points = base.encode(
        x=x,
        y=alt.Y("error:Q", title="error, 1 - p(true class)", scale=alt.Scale(domain=[0, 1])),
        color=class_colour(about),
        shape=outcome_shape(),
        tooltip=told(*CASE, *tooltip, *ORIGIN),
    )
    each = [
        points.transform_filter(alt.FieldEqualPredicate(field=panel, equal=name)).properties(
            width=width, height=min(width, 220), title=alt.TitleParams(name, subtitle=head, fontSize=12, offset=4)
        )
        for name, head in heads.items()
    ]
    title = titled(About(title=about.title, subtitle=about.subtitle, notes=[*about.notes, *notes]))
    return themed(alt.concat(*each, columns=columns, data=drawn).properties(title=title))
