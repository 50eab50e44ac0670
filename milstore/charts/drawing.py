"""A chart that has been drawn, with what it answers."""

import json
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
        return without_separators(found)


def without_separators(spec: dict[str, Any]) -> dict[str, Any]:
    """The chart with a space for each line or paragraph separator (U+2028, U+2029).

    Vega-Lite writes names into expressions, and its parser takes these two for the end of a line.

    >>> without_separators({"case": "a\u2028b"})
    {'case': 'a b'}
    """
    text = json.dumps(spec, ensure_ascii=False)
    if "\u2028" not in text and "\u2029" not in text:
        return spec
    cleared: dict[str, Any] = json.loads(text.replace("\u2028", " ").replace("\u2029", " "))
    return cleared
