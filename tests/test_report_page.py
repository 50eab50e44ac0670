"""The report: one page that needs no network, says why where something is missing, and keeps names as text."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.cli.main import main
from milstore.errors import StoreError, UsageError
from milstore.report.building import Report, build_report, headlines
from milstore.report.plan import CLOSING, OPENING
from milstore.report.writing import write_report
from milstore.store import Store, create_store
from tests.chromium import Browser
from tests.hostile import HOSTILE, hostile_store
from tests.reporting import brief


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a store of hostile case ids."""
    folder = tmp_path_factory.mktemp("hostile")
    path = folder / "report.html"
    with brief():
        report = write_report(hostile_store(folder / "store"), path)
    assert report.faults == []
    return path


@pytest.fixture(scope="module")
def three_page(three_report: tuple[Report, Path]) -> Path:
    """The report of the store of three cases."""
    return three_report[1]


def test_hostile_case_ids_stay_text(chromium: Browser, hostile_page: Path) -> None:
    """Case ids that are scripts appear as they are; nothing runs, nothing is asked for, the console says nothing."""
    chromium.errors.clear()
    chromium.requests.clear()
    chromium.open(hostile_page, width=800)
    assert chromium.evaluate("typeof window.hacked") == "undefined"
    assert chromium.errors == []
    assert chromium.requests == [hostile_page.as_uri()]
    rows = "[...document.querySelectorAll('#overview-table tbody td:first-child')].map(cell => cell.textContent)"
    assert sorted(chromium.evaluate(rows)) == sorted(HOSTILE)
    titles = "[...document.querySelectorAll('article h3')].map(title => title.textContent)"
    assert sorted(chromium.evaluate(titles)) == sorted(
        f"Case {case}: benign, called high-grade" for case in HOSTILE[:2]
    )


def test_every_chart_of_the_page_is_drawn(chromium: Browser, hostile_page: Path) -> None:
    """No chart fails or is blank, and none is wider than the page at 800 pixels."""
    chromium.show(hostile_page, width=800)
    figures = "[...document.querySelectorAll('figure.chart')]"
    assert chromium.evaluate(f"{figures}.filter(f => f.dataset.state !== 'drawn').map(f => f.dataset.name)") == []
    blank = f"{figures}.filter(f => f.querySelectorAll('svg path[d], svg text').length < 3).map(f => f.dataset.name)"
    assert chromium.evaluate(blank) == []
    assert chromium.evaluate("document.documentElement.scrollWidth") <= 800


def test_dragging_in_the_chart_filters_table_and_gallery(chromium: Browser, three_page: Path) -> None:
    """A frame around the one case of high error leaves its row and its pictures; the button brings back all."""
    chromium.show(three_page)
    shown = (
        "(selector => [...document.querySelectorAll(selector)].filter(e => !e.hidden)"
        ".map(e => e.querySelector('td, b').textContent))"
    )
    assert chromium.evaluate(f"{shown}('#overview-table tbody tr')") == ["10", "46", "2"]
    chromium.evaluate("document.querySelector('figure[data-name=overview]').scrollIntoView({behavior: 'instant'})")
    box = chromium.evaluate(
        "(b => [b.left, b.top, b.right, b.bottom])"
        "(document.querySelector('figure[data-name=overview] .mark-group .background').getBoundingClientRect())"
    )
    left, top, right, bottom = box
    # The error of case 10 is 0.7, of the others 0.2 and 0.1: the upper half holds it alone.
    chromium.drag((left + 2, top + 2), (right - 2, (top + bottom) / 2))
    assert chromium.evaluate(f"{shown}('#overview-table tbody tr')") == ["10"]
    assert chromium.evaluate(f"{shown}('#overview-gallery .card')") == ["10"]
    assert chromium.evaluate("document.getElementById('chosen').textContent") == "1 of 3 cases"
    chromium.evaluate("document.getElementById('show-all').click()")
    chromium.wait_for("document.getElementById('show-all').hidden")
    assert chromium.evaluate(f"{shown}('#overview-gallery .card')") == ["10", "46", "2"]


def test_the_page_has_every_chapter_and_the_sql_of_every_chart(three_page: Path) -> None:
    """Contents, headings, behind a fold the SQL of each question and the command that asks it again; one bundle."""
    page = three_page.read_text(encoding="utf-8")
    for chapter in (*OPENING, *CLOSING):
        assert f'<a href="#{chapter.anchor}">' in page
        assert f'<section id="{chapter.anchor}">' in page
        for asked in chapter.asked:
            assert f"<summary>SQL of <code>{asked.name}</code></summary>" in page
    assert page.count("window.vegaEmbed=") == 1


@pytest.fixture
def short() -> Iterator[None]:
    """Reports ask three of their questions alone, for tests of something else."""
    with brief("recall", "losses", "comparison"):
        yield


@pytest.mark.usefixtures("short")
def test_the_report_of_one_run_says_why_there_is_no_comparison(three: Store) -> None:
    """What cannot be answered stands in words in its place, and is no fault."""
    report = build_report(three, Choice(run="exp-s2-0"))
    assert report.faults == []
    assert report.subject == "run exp-s2-0, test subset"
    chapters = (*report.opening, *report.closing)
    comparison = {answer.asked.name: answer for _, of_chapter in chapters for answer in of_chapter}["compare-runs"]
    assert comparison.words
    assert comparison.chart is None
    assert [study.title for study in report.studies] == ["Case 10: benign, called high-grade"]


def test_the_recall_of_each_class_comes_first(three: Store) -> None:
    """The headlines are recall of each class with count and Wilson interval, balanced accuracy and AUC."""
    lines = {line.name: (line.value, line.detail) for line in headlines(ask(three, "recall").records())}
    assert lines["recall of benign"] == ("50%", "1 of 2; 95% interval 0.09 to 0.91; mean over splits 0.50")
    assert lines["recall of high-grade"] == ("100%", "1 of 1; 95% interval 0.21 to 1.00; mean over splits 1.00")


def test_a_store_without_runs_gives_no_report(tmp_path: Path) -> None:
    """A report about nothing is refused, and no file appears."""
    store = create_store(tmp_path / "empty")
    with pytest.raises(StoreError, match="no finished run"):
        write_report(store, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.usefixtures("short")
def test_an_unknown_format_is_refused(three: Store, tmp_path: Path) -> None:
    """Only html and md are written."""
    with pytest.raises(UsageError, match="no format 'pdf'"):
        write_report(three, tmp_path / "report.pdf", format_="pdf")


@pytest.mark.usefixtures("short")
def test_the_command_writes_the_page(three: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`milstore report` says what it wrote, on stderr, and leaves no temporary file."""
    path = tmp_path / "out" / "r.html"
    path.parent.mkdir()
    assert main(["report", "--store", str(three.root), "--experiment", "exp", "-o", str(path)]) == 0
    out, err = capfd.readouterr()
    assert (out, err) == ("", f"wrote {path}\n")
    assert [entry.name for entry in path.parent.iterdir()] == ["r.html"]


@pytest.mark.usefixtures("short")
def test_markdown_has_its_pictures_beside_it(three: Store, tmp_path: Path) -> None:
    """Every picture that the markdown shows is a PNG in the folder beside it, and no other lies there."""
    path = tmp_path / "for slides.md"
    write_report(three, path)
    text = path.read_text(encoding="utf-8")
    named = re.findall(r"!\[.*?\]\(for%20slides_files/(\S+?)\)", text)
    files = {entry.name: entry.read_bytes()[:8] for entry in (tmp_path / "for slides_files").iterdir()}
    assert files == dict.fromkeys(named, b"\x89PNG\r\n\x1a\n")
    assert {"recall.png", "loss-curves.png", "case-1-top-patches.png", "case-1-patch-gallery.png"} <= set(named)


def test_markdown_escapes_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No case id can become markup in what is made of the markdown."""
    monkeypatch.setattr("milstore.report.markdown.as_png", lambda spec: b"")
    path = tmp_path / "report.md"
    with brief("near-threshold", charts=False):
        write_report(hostile_store(tmp_path / "store"), path)
    text = path.read_text(encoding="utf-8")
    assert "<" not in text
    assert "&lt;/script&gt;" in text
