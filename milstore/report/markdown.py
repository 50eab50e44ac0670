"""The report as short markdown with pictures, for those who paste into slides."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from milstore.charts.save import as_png, write_bytes
from milstore.errors import DataError
from milstore.report.answers import Answer, Table
from milstore.report.building import Report

_SPECIAL = "\\`*_[]|~#"


def write_markdown(report: Report, path: Path) -> None:
    """Write the markdown and, in the folder `<name>_files` beside it, its pictures. DataError if one cannot be written."""
    folder = path.with_name(f"{path.stem}_files")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder} cannot be made: {error.strerror}") from error
    text = "\n\n".join(_blocks(report, folder)) + "\n"
    write_bytes(path, text.encode())


def _blocks(report: Report, folder: Path) -> Iterator[str]:
    yield f"# {plain(report.subject)}"
    yield plain(" · ".join(part for part in (report.settings, report.day) if part))
    yield from (plain(note) for note in report.notes)
    yield "## Findings"
    yield "\n".join(f"{i}. **{plain(found.name)}**: {plain(found.words)}" for i, found in enumerate(report.findings, 1))
    if report.headlines:
        yield "\n".join(f"- {plain(line.name)}: **{line.value}** ({plain(line.detail)})" for line in report.headlines)
    for chapter, answers in report.opening:
        yield f"## {chapter.title}"
        for answer in answers:
            yield from _answered(answer, folder, answer.asked.name)
    yield f"## {plain(report.cases_title)}"
    if report.studies_words:
        yield plain(report.studies_words)
    for i, study in enumerate(report.studies, start=1):
        yield f"### {plain(study.title)}"
        yield ", ".join(f"{plain(name)} {plain(value)}" for name, value in study.facts)
        if study.standing:
            yield plain(study.standing)
        for answer in study.answers:
            yield from _answered(answer, folder, f"case-{i}-{answer.asked.name}")
    for chapter, answers in report.closing:
        yield f"## {chapter.title}"
        for answer in answers:
            yield from _answered(answer, folder, answer.asked.name)


def _answered(answer: Answer, folder: Path, name: str) -> Iterator[str]:
    if answer.words:
        yield f"{answer.asked.name}: {plain(answer.words)}"
    if answer.chart is not None:
        picture = folder / f"{name}.png"
        write_bytes(picture, as_png(answer.chart.spec))
        yield f"![{plain(answer.chart.title)}]({quote(folder.name)}/{quote(picture.name)})"
    if answer.table is not None:
        yield from _tabled(answer.table)


def _tabled(table: Table) -> Iterator[str]:
    if table.same:
        yield "The same in all rows: " + ", ".join(f"{plain(name)} {plain(value)}" for name, value in table.same) + "."
    if table.rows:
        rows = [[plain(column) for column in table.columns], ["---"] * len(table.columns)]
        rows += [[plain(value) for value in row] for row in table.rows]
        yield "\n".join(f"| {' | '.join(row)} |" for row in rows)


def plain(text: str) -> str:
    """A text that markdown, and the HTML that is made of it, show as it is.

    >>> plain("<b>a*b</b>\\n| c")
    '&lt;b&gt;a\\\\*b&lt;/b&gt; \\\\| c'
    """
    safe = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{letter}" if letter in _SPECIAL else letter for letter in safe)
