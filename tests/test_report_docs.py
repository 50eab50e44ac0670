"""The pages in docs are what the code says."""

import re
from pathlib import Path

import pytest

from milstore.charts import charted
from milstore.cli import reference
from milstore.report import showcase

ROOT = Path(__file__).resolve().parents[1]


def test_cli_and_query_pages_are_what_the_code_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/cli.md and docs/queries.md are as `python -m milstore.cli.reference` writes them.

    Whatever the terminal's width, and whatever questions a store that lies there has of its own.
    """
    own = tmp_path / "queries" / "own.sql"
    own.parent.mkdir()
    own.write_text((ROOT / "queries" / "roc.sql").read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setenv("MILSTORE_STORE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.chdir(ROOT)
    stale = [path for path, text in reference.pages().items() if path.read_text(encoding="utf-8") != text]
    assert stale == []


def test_the_gallery_shows_every_chart() -> None:
    """docs/gallery.md has a picture of every chart, each of them lies beside it, and no other does."""
    text = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    assert text == showcase.page()
    named = re.findall(r"!\[.*?\]\((gallery/[a-z-]+\.png)\)", text)
    assert named == [f"gallery/{name}.png" for name in charted()]
    assert sorted(path.name for path in (ROOT / "docs" / "gallery").iterdir()) == sorted(f"{n}.png" for n in charted())
