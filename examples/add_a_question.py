"""The chart of examples/add_a_question.sql: a function that makes an Altair chart of an answer, and nothing else.

    milstore plot leading-stains --chart ./examples/add_a_question.py -o leading.html

The file may lie anywhere. From Python: `milstore.open("data").plot("leading-stains", chart=chart)`.
"""

from typing import Any

import altair as alt
import pandas as pd

from milstore.charts.theme import About, stain_colour, themed, titled


def chart(frame: pd.DataFrame, about: About) -> Any:
    """A bar a stain, for cases that are called right and for those called wrong.

    `frame` has the columns of the question. `about` knows the question's words, the runs that answered (`titled` puts
    them into the chart, so that it never loses them), the store's stains and classes, and what was asked for.
    """
    bars = (
        alt.Chart(frame)
        .mark_bar()
        .encode(
            x=alt.X("stain:N", sort=list(about.stains), title=None, axis=alt.Axis(labelAngle=0)),
            y=alt.Y("cases:Q", title="cases that the stain leads"),
            color=stain_colour(about).legend(None),
            tooltip=["stain", "outcome", "cases"],
        )
    )
    return themed(
        bars.properties(width=280).facet(column=alt.Column("outcome:N", title=None)).properties(title=titled(about))
    )
