"""The report on paper: few pages, nothing cut off, and no heading alone at the foot of a page."""

import re
from pathlib import Path

import pytest

from milstore.report.writing import write_report
from milstore.store import Store
from tests.chromium import Browser
from tests.making import Patch, levels, make_run, make_splits, make_store
from tests.reporting import brief

MOST_PAGES = 20
BENIGN, CASES, SPLITS = 28, 86, 5
WRONG = (3, 8, 12, 17, 21, 24, 27, 33, 48, 61, 70, 85)
"""Cases that are called wrong: as many as in the demo, 7 benign and 5 high-grade."""
FOOT = 100
"""Points above the foot of a page, of which 34 are its margin, that a heading must leave to what it heads."""


def cohort_like_the_demo(folder: Path) -> Store:
    """86 cases of six slices each, in five splits of a run each, with twelve cases called wrong."""
    cases = [str(number) for number in range(1, CASES + 1)]
    labels = {case: int(i >= BENIGN) for i, case in enumerate(cases)}
    patches: list[Patch] = [
        (case, stain, slice_idx, i)
        for case in cases
        for stain in ("h&e", "melan", "sox10")
        for slice_idx in range(2)
        for i in range(5)
    ]
    store = make_store(folder, labels, patches)
    splits = [
        {
            "test": cases[i::SPLITS],
            "val": cases[(i + 1) % SPLITS :: SPLITS],
            "train": [case for j, case in enumerate(cases) if (j - i) % SPLITS > 1],
        }
        for i in range(SPLITS)
    ]
    make_splits(store, "five", splits)
    chances = {}
    for number, case in enumerate(cases, start=1):
        p_true = 0.05 + number / 200 if number in WRONG else 0.55 + number / 200
        chances[case] = (p_true, 1 - p_true) if labels[case] == 0 else (1 - p_true, p_true)
    weights = {patch: float(1 + i * i % 97) for i, patch in enumerate(patches)}
    attention = levels(weights)
    for i, split in enumerate(splits, start=1):
        subsets = {case: subset for subset, of_subset in split.items() for case in of_subset}
        run_id = f"exp-s{i}-0-20260101t000000-000{i}"
        make_run(store, run_id, subsets, labels, chances, attention, split=i, n_splits=SPLITS)
    return store


def outline(pdf: bytes) -> tuple[int, list[tuple[str, float]]]:
    """How many pages a PDF has, and the headings of its outline with their heights above the foot of their page, in points."""
    found = re.findall(
        rb"/Title \(((?:[^()\\]|\\.)*)\)\n(?:(?!endobj).)*?/Dest \[\d+ 0 R /XYZ [\d.]+ ([\d.]+) ", pdf, re.DOTALL
    )
    return len(re.findall(rb"/Type /Page\n", pdf)), [(title.decode("latin-1"), float(y)) for title, y in found]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a cohort like the demo's."""
    folder = tmp_path_factory.mktemp("print")
    with brief():
        report = write_report(cohort_like_the_demo(folder / "store"), folder / "report.html")
    assert report.faults == []
    assert len(report.studies) == len(WRONG)
    return folder / "report.html"


@pytest.mark.parametrize("width", [1000, 1440])
def test_a_cohort_like_the_demo_prints_on_twenty_pages(chromium: Browser, page: Path, width: int) -> None:
    """At most twenty pages with every case on them, no heading alone at a foot and no chart cut off, whatever the window's width."""
    chromium.open(page, width=width)
    pages, headings = outline(chromium.pdf())
    assert pages <= MOST_PAGES
    titles = [title for title, _ in headings]
    assert {"Findings", "What is recognised, and how sure that is", "What was trained on what"} <= set(titles)
    assert sum(title.startswith("Case ") and ", called " in title for title in titles) == len(WRONG)
    assert [title for title, above_foot in headings if above_foot < FOOT] == []
    # What was opened for the paper is folded again.
    assert chromium.evaluate("[...document.querySelectorAll('details.case')].some(fold => fold.open)") is False
    # A chart that was drawn for a wide window is no wider than the sheet.
    chromium.call("Emulation.setEmulatedMedia", media="print")
    chromium.resize(695, 1030)
    chromium.evaluate("document.querySelectorAll('details.case').forEach(fold => { fold.open = true; })")
    wide = (
        "[...document.querySelectorAll('figure.chart svg.marks')]"
        ".filter(svg => svg.getBoundingClientRect().right > 696).map(svg => svg.closest('figure').dataset.name)"
    )
    assert chromium.evaluate("document.querySelectorAll('figure.chart svg.marks').length") >= 25
    assert chromium.evaluate(wide) == []
