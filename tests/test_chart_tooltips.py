"""What a chart tells of the mark under the pointer is called the same in every chart."""

from typing import Any

import altair as alt

from milstore.asking.selection import Choice
from milstore.charts.tooltips import CALLED, CASE, told
from tests.drawing import of_three
from tests.test_chart_specs import nodes
from tests.test_charts_checklist import DRAWN

OF_ONE_CHART = {
    *("attention", "cases", "even", "group", "high", "low", "panel", "row", "share", "spearman", "value", "words"),
}
"""Columns that hold something else in each chart (a share of what, even over what), and are called accordingly."""


def lines_of(spec: dict[str, Any]) -> set[tuple[str, str, str]]:
    """Field, title and digits of every line of a chart's tooltips."""
    found = set()
    for node in nodes(spec):
        lines = node.get("tooltip", [])
        for line in lines if isinstance(lines, list) else []:
            found.add((line["field"], line.get("title", ""), line.get("format", "")))
    return found


def test_a_column_is_told_alike_by_every_chart() -> None:
    """In all charts' tooltips a column has one title and one number of digits: of all cases or of one, by `make torture` of both."""
    told_as: dict[str, set[tuple[str, str]]] = {}
    for name, cases in DRAWN:
        for field, title, digits in lines_of(of_three(name, Choice(cases=cases)).spec):
            told_as.setdefault(field, set()).add((title, digits))
    assert {field for field, ways in told_as.items() if len(ways) > 1} - OF_ONE_CHART == set()
    assert (told_as["case_id"], told_as["error"]) == ({("case", "")}, {("", ".3f")})
    assert told_as["slice_attention"] == {("slice attention", ".3g")}


def test_a_line_has_the_columns_name_and_digits() -> None:
    """A known column brings its title and format; an unknown one is as altair has it; one of a chart's own stays."""
    own = alt.Tooltip("ratio:Q", format=".3f")
    assert [line.to_dict() for line in told("true_class:N", "error:Q", "split:Q", own)] == [
        {"field": "true_class", "title": "true class", "type": "nominal"},
        {"field": "error", "format": ".3f", "type": "quantitative"},
        {"field": "split", "type": "quantitative"},
        {"field": "ratio", "format": ".3f", "type": "quantitative"},
    ]
    assert ("case_id:N", *CALLED) == CASE
