"""A chart that has been drawn, with what it answers."""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import altair as alt

from milstore.charts.quick_altair import quick
from milstore.charts.quick_rows import quick_rows
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
            with quick(), quick_rows():
                found: dict[str, Any] = self.chart.to_dict(validate=False)
        except alt.MaxRowsError as error:
            raise UsageError(f"the chart of {self.query.name} would hold too many rows: narrow it by --case") from error
        return drawable(found)


_JAVASCRIPT = (
    *(
        "constructor",
        "hasOwnProperty",
        "isPrototypeOf",
        "propertyIsEnumerable",
        "toLocaleString",
        "toString",
        "valueOf",
    ),
    *("__proto__", "__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__"),
)
"""What every object of JavaScript has."""
_LOOKED_UP = re.compile(rf"""(["'])({"|".join(_JAVASCRIPT)})\1(?!\s*:)""")
_NO_WIDTH = "\u200b"


def drawable(spec: dict[str, Any]) -> dict[str, Any]:
    """The chart without texts that Vega stumbles over: see `without_separators` and `without_javascript`."""
    return without_javascript(without_separators(spec))


def without_javascript(spec: dict[str, Any]) -> dict[str, Any]:
    """The chart with a space of no width behind each text that is the name of what JavaScript's objects have.

    Vega keeps what it has seen in such objects, and takes a case called constructor for one that it knows.

    >>> without_javascript({"case": "valueOf", "test": "datum.case == 'valueOf'", "other": "the valueOf"}) == {
    ...     "case": "valueOf\\u200b", "test": "datum.case == 'valueOf\\u200b'", "other": "the valueOf"
    ... }
    True
    """
    text = json.dumps(spec, ensure_ascii=False)
    if _LOOKED_UP.search(text) is None:
        return spec
    changed: dict[str, Any] = json.loads(_LOOKED_UP.sub(rf"\1\2{_NO_WIDTH}\1", text))
    return changed


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
