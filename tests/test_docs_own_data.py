"""The tutorial for data of one's own: all that it has one type is run, and prints what it says."""

from pathlib import Path

import pytest

from milstore.store import open_store
from milstore.store.cohort import read_cohort
from tests.page_runs import run_page
from tests.test_layout import ROOT

PAGE = (ROOT / "docs" / "your-own-data.md").read_text(encoding="utf-8")


def test_the_tutorial_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From an empty folder to a report: every command ends as the page shows it, word by word where it shows words."""
    monkeypatch.chdir(tmp_path)
    assert len(run_page(PAGE, capsys)) >= 14
    cohort = read_cohort(open_store("data"))
    assert sorted(cohort.table("stains")["stain"].to_pylist()) == ["Ki-67", "PAS"]
    assert sorted(cohort.table("classes")["class_name"].to_pylist()) == ["no relapse", "relapse"]
    assert Path("report.html").stat().st_size > 100_000


def test_the_readme_leads_there() -> None:
    """Who has data of another naming finds the page from the README."""
    assert "](docs/your-own-data.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
