"""Writes a report to a file, in the form that is wanted."""

from pathlib import Path

from milstore.asking.selection import Choice
from milstore.charts.save import write_bytes
from milstore.errors import UsageError
from milstore.report.building import Report, build_report
from milstore.report.markdown import write_markdown
from milstore.report.webpage import report_html
from milstore.store.paths import Store

FORMATS = ("html", "md")


def write_report(
    store: Store, path: Path, choice: Choice | None = None, format_: str | None = None, *, jobs: int | None = 1
) -> Report:
    """Write a report to a file; as markdown, its pictures go to a folder of its name beside it.

    Args:
        store: the store.
        path: the file.
        choice: which run or experiment it is about; the newest complete experiment unless said.
        format_: html or md; what the file's ending says unless given.
        jobs: processes to ask in (None: one a processor). A script that asks for several must guard its main module.

    Raises:
        UsageError: the format does not exist, or the run, experiment, seed or subset.
        DataError: a file cannot be written.
        StoreError: the store holds no finished run.
    """
    format_ = format_ or {".md": "md", ".markdown": "md"}.get(path.suffix.lower(), "html")
    if format_ not in FORMATS:
        raise UsageError(f"there is no format {format_!r} for a report: use {' or '.join(FORMATS)}")
    if format_ == "md":
        report = build_report(store, choice, for_markdown=True, jobs=jobs)
        write_markdown(report, path)
    else:
        report = build_report(store, choice, jobs=jobs)
        write_bytes(path, report_html(report).encode())
    return report
