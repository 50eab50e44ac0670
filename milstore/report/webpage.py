"""The report as one page."""

from functools import cache

from jinja2 import Environment
from markupsafe import Markup

from milstore import queries
from milstore._version import __version__
from milstore.charts.page import environment, figure_html, fold_html, page_html, resource
from milstore.report.building import Report
from milstore.report.overview import COLUMNS
from milstore.report.plan import CASES, ERRORS, PROVENANCE, RESULTS, TRAINED
from milstore.report.studies import COMPOSITION, GALLERY


@cache
def _environment() -> Environment:
    found = environment("milstore.report")
    found.globals.update(figure=figure_html, fold=fold_html)
    return found


def report_html(report: Report) -> str:
    """The page: everything in one file, nothing from outside."""
    # With several subsets a case can be called wrong by several runs: the first study is the most wrong one.
    slugs: dict[str, str] = {}
    for i, study in enumerate(report.studies, start=1):
        slugs.setdefault(study.case_id, f"case-{i}")
    asked = {answer.asked.name for study in report.studies for answer in study.answers if answer.sql}
    folds = [queries.load(name) for name in (COMPOSITION.name, *sorted(asked), GALLERY.name)] if asked else []
    body = (
        _environment()
        .get_template("report.html")
        .render(
            report=report,
            parts=[RESULTS, ERRORS, CASES, TRAINED, PROVENANCE],
            columns=COLUMNS,
            slugs=slugs,
            version=__version__,
            study_sql={query.name: query.sql for query in folds},
        )
    )
    title = " · ".join(part for part in ("milstore report", report.subject, report.settings, report.day) if part)
    return page_html(
        title,
        Markup(body),  # noqa: S704 - rendered with escaping
        style=resource("milstore.report", "report.css"),
        scripts=[resource("milstore.report", "overview.js"), resource("milstore.report", "cases.js")],
    )
