"""A chart that has been drawn, with what it answers."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import altair as alt

from milstore.charts.theme import About
from milstore.errors import UsageError
from milstore.queries import Query


@dataclass(frozen=True)
class Drawing:
    """A chart, with the question that it answers and where its numbers came from."""

    query: Query
    about: About
    chart: Any
    """The Altair chart."""

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The chart as Vega-Lite. UsageError if it holds more rows than anybody could read."""
        try:
            found: dict[str, Any] = self.chart.to_dict(validate=False)
        except alt.MaxRowsError as error:
            raise UsageError(f"the chart of {self.query.name} would hold too many rows: narrow it by --case") from error
        return found
