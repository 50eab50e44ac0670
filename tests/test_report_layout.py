"""The report's order, its folds, its contents at the side, its colours in the dark, and its cases."""

import re
from pathlib import Path

import pytest

from milstore.asking.selection import Choice
from milstore.cli.main import main
from milstore.report.building import Report, build_report
from milstore.report.studies import standing
from milstore.report.writing import write_report
from milstore.store import Store
from tests.chromium import Browser
from tests.making import three_case_store
from tests.reporting import brief

ORDER = [
    "findings", "recall", "comparison", "deviation", "near-threshold", "explains", "where", "overview", "cases",
    "losses", "balance", "coverage", "provenance",
]  # fmt: skip


@pytest.fixture(scope="module")
def page(three_report: tuple[Report, Path]) -> Path:
    """The report of the store of three cases."""
    return three_report[1]


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report with cases 46 and 2, none of which was called wrong."""
    folder = tmp_path_factory.mktemp("chosen")
    path, store = folder / "report.html", three_case_store(folder / "store")
    with brief("deviation"):
        assert main(["report", "--store", str(store.root), "--case", "046", "--case", "2", "-o", str(path)]) == 0
    return path


def test_findings_come_first_and_provenance_last(page: Path) -> None:
    """The chapters stand in the order findings, results, errors, cases, training, provenance; the contents in the same."""
    text = page.read_text(encoding="utf-8")
    assert re.findall(r'<section id="([^"]+)">', text) == ORDER
    contents = text[text.index("<nav") : text.index("</nav>")]
    assert re.findall(r'<a href="#([^"]+)">', contents) == ORDER
    assert re.findall(r'<li class="group">([^<]+)<ol>', contents) == [
        "Results", "Errors", "Cases", "How it was trained", "Provenance",
    ]  # fmt: skip
    assert len(re.findall(r"<li>", text[text.index('<ol class="findings">') :].split("</ol>")[0])) == 5


def test_the_title_tells_settings_and_date(page: Path) -> None:
    """The page's title and the line under its heading say which experiment it is, how it was trained, and when."""
    text = page.read_text(encoding="utf-8")
    words = "model hierarchical · encoder hed · split set three, 3 splits · seed 0"
    assert f'<p class="settings">{words} · <time>1 January 2026</time></p>' in text
    assert f"<title>milstore report · experiment exp, seed 0, test subsets · {words} · 1 January 2026</title>" in text


def test_cases_are_folded_and_a_picker_opens_one(chromium: Browser, page: Path) -> None:
    """A case called wrong is folded, with its charts drawn; the picker, a link or the button opens it."""
    chromium.show(page)
    opened = "[...document.querySelectorAll('details.case')].map(fold => fold.open)"
    assert chromium.evaluate(opened) == [False]
    assert chromium.evaluate(
        "[...document.querySelectorAll('details.case figure.chart')].every(f => f.dataset.state === 'drawn')"
    )
    options = "[...document.querySelectorAll('#pick option')].map(option => option.textContent)"
    assert chromium.evaluate(options) == ["a case …", "Case 10: benign, called high-grade"]
    chromium.evaluate(
        "(p => { p.value = 'case-1'; p.dispatchEvent(new Event('change')) })(document.getElementById('pick'))"
    )
    assert chromium.evaluate(opened) == [True]
    chromium.wait_for("document.getElementById('unfold').textContent === 'Fold all'")
    chromium.evaluate("document.getElementById('unfold').click()")
    assert chromium.evaluate(opened) == [False]
    chromium.evaluate("document.querySelector('#overview-table a[href=\"#case-1\"]').click()")
    chromium.wait_for("document.querySelector('details.case').open")
    chromium.evaluate("document.getElementById('unfold').click()")
    chromium.wait_for("!document.querySelector('details.case').open")


def test_the_contents_stand_at_the_side_from_1000_pixels(chromium: Browser, page: Path) -> None:
    """At 1000 pixels the contents are left of the text and stay in sight; at 999 they come below the findings."""
    boxes = (
        "['nav', '.start', 'main'].map(name => (b => [b.left, b.top, b.right])"
        "(document.querySelector(name).getBoundingClientRect()))"
    )
    chromium.show(page, width=1000)
    assert chromium.evaluate("document.documentElement.scrollWidth") == 1000
    nav, start, main_ = chromium.evaluate(boxes)
    assert nav[2] <= start[0]
    assert nav[2] <= main_[0]
    chromium.evaluate("document.getElementById('provenance').scrollIntoView({behavior: 'instant'})")
    assert chromium.evaluate(boxes)[0][1] == 0
    chromium.resize(999)
    nav, start, main_ = chromium.evaluate(boxes)
    assert start[1] < nav[1] < main_[1]
    assert nav[0] == start[0] == main_[0]


@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_is_never_wider_than_the_window(chromium: Browser, page: Path, width: int) -> None:
    """Nothing has to be scrolled sideways, from a phone to a large screen."""
    chromium.open(page, width=width)
    assert chromium.evaluate("document.documentElement.scrollWidth") == width


def test_the_dark_page_has_no_white_card(chromium: Browser, page: Path) -> None:
    """In the dark, nothing that holds text or a chart is light, and no chart lies on a white ground."""
    chromium.show(page, dark=True)
    light = (
        "[...document.querySelectorAll('*')].filter(e => { const m = getComputedStyle(e).backgroundColor"
        ".match(/rgba?\\((\\d+), (\\d+), (\\d+)(?:, ([\\d.]+))?/); return m && m[4] !== '0' && +m[1] + +m[2] + +m[3] > 384; })"
        ".filter(e => !e.closest('.vega-embed details') && !e.matches('.bars i, .bars b'))"
        ".map(e => e.tagName + '.' + e.className)"
    )
    assert chromium.evaluate(light) == []
    grounds = (
        "[...document.querySelectorAll('figure.chart svg')].filter(e => e.querySelector("
        "':scope > rect, .background')).map(e => getComputedStyle(e.querySelector(':scope > rect, .background')).fill)"
    )
    assert set(chromium.evaluate(grounds)) <= {"none", "rgba(0, 0, 0, 0)"}


def test_case_puts_exactly_these_cases_in(chromium: Browser, chosen: Path) -> None:
    """`--case 046 --case 2`: these two, in this order and open, whether called wrong or not, and no other."""
    chromium.open(chosen)
    titles = "[...document.querySelectorAll('article h3')].map(title => title.textContent)"
    assert chromium.evaluate(titles) == ["Case 46: benign, called right", "Case 2: high-grade, called right"]
    assert chromium.evaluate("[...document.querySelectorAll('details.case')].every(fold => fold.open)")
    assert chromium.evaluate("document.querySelector('#cases h2').textContent") == "Cases one by one"
    # All else is told of all cases.
    assert chromium.evaluate("document.querySelectorAll('#overview-table tbody tr').length") == 3


def test_a_chosen_case_stands_within_its_cohort(three: Store, three_report: tuple[Report, Path]) -> None:
    """The charts that can draw all cases and let the chosen one stand out; the findings are those of all cases."""
    with brief("deviation"):
        report = build_report(three, Choice(cases=("46",)))
    assert report.faults == []
    answers = {answer.asked.name: answer for _, of_chapter in report.opening for answer in of_chapter}
    deviation = answers["deviation"]
    assert deviation.command == "milstore plot deviation --case 46"
    assert deviation.chart is not None
    rows = [row for rows in deviation.chart.spec["datasets"].values() for row in rows if "case_id" in row]
    asked = {row["case_id"]: row["asked"] for row in rows}
    assert asked == {"2": False, "10": False, "46": True}
    assert report.findings == three_report[0].findings
    assert [study.standing for study in report.studies] == [
        "Its error is number 2 of 2 benign cases, its concentration of attention number 1 (1 is the largest)."
    ]


def test_where_a_case_stands_is_counted_within_its_class() -> None:
    """Its place by error and by concentration among the cases of its class; where several runs answer, among its run's."""

    def row(
        case_id: str, name: str, p_true: float, concentration: float | None, run_id: str = "r"
    ) -> dict[str, object]:
        return {
            "case_id": case_id, "true_class": name, "p_true": p_true, "concentration": concentration, "run_id": run_id,
            "subset": "test",
        }  # fmt: skip

    mine = row("1", "benign", 0.4, 0.5)
    cohort = [mine, row("2", "benign", 0.1, 0.9), row("3", "benign", 0.9, 0.7), row("4", "high-grade", 0.0, 1.0)]
    assert standing(mine, cohort) == (
        "Its error is number 2 of 3 benign cases, its concentration of attention number 3 (1 is the largest)."
    )
    assert standing(row("1", "benign", 0.4, None), [row("2", "benign", 0.1, 0.9, run) for run in ("r", "s")]) == (
        "Its error is number 2 of 2 benign cases (1 is the largest)."
    )
    assert standing({**mine, "subset": "train"}, cohort) == (
        "It was in the subset train of its run: what is told of all cases does not count it."
    )


def test_an_unknown_case_is_refused(three: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A case that the store does not have, or that no run predicted: one line, exit code 2, and no file."""
    path = tmp_path / "r.html"
    assert main(["report", "--store", str(three.root), "--case", "99", "-o", str(path)]) == 2
    err = capfd.readouterr().err
    assert err.startswith("error: ")
    assert "99" in err
    assert err.count("\n") == 1
    assert not path.exists()


def test_markdown_tells_the_same_in_the_same_order(
    three: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Title, settings and date, findings, results, errors, the chosen cases, training, provenance."""
    monkeypatch.setattr("milstore.report.markdown.as_png", lambda spec: b"")
    path = tmp_path / "report.md"
    with brief(charts=False):
        write_report(three, path, Choice(cases=("46",)))
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"^#+ .*", text, re.MULTILINE) == [
        "# experiment exp, seed 0, test subsets",
        "## Findings",
        "## What is recognised, and how sure that is",
        "## Is it the same in the other runs?",
        "## Every case and its error",
        "## Close calls",
        "## Does attention explain the errors?",
        "## Where attention goes",
        "## Cases one by one",
        "### Case 46: benign, called right",
        "## How the trainings went",
        "## What was in training, validation and test",
        "## What was there and what was used",
        "## What was trained on what",
    ]
    assert text.split("\n\n")[1].endswith("· 1 January 2026")
    assert "1. **Recognised**: 1 of 2 benign cases called right (50%, 95% interval 9% to 91%)" in text
