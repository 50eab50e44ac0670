"""The report as one page."""

from functools import cache

from jinja2 import Environment
from markupsafe import Markup

from milstore import __version__
from milstore.charts.page import environment, figure_html, fold_html, page_html, resource
from milstore.report.building import Report
from milstore.report.overview import COLUMNS


@cache
def _environment() -> Environment:
    found = environment("milstore.report")
    found.globals.update(figure=figure_html, fold=fold_html)
    return found


def report_html(report: Report) -> str:
    """The page: everything in one file, nothing from outside."""
    slugs = {study.case_id: f"case-{i}" for i, study in enumerate(report.studies, start=1)}
    body = (
        _environment()
        .get_template("report.html")
        .render(
            report=report,
            columns=COLUMNS,
            slugs=slugs,
            version=__version__,
            study_queries=list(
                {
                    answer.query.name: answer.query for s in report.studies for answer in s.answers if answer.query
                }.values()
            ),
        )
    )
    return page_html(
        f"milstore report · {report.subject}",
        Markup(body),  # noqa: S704 - rendered with escaping
        style=resource("milstore.report", "report.css"),
        scripts=[resource("milstore.report", "overview.js")],
    )
