"""The timings of reading slides run, at a size that proves nothing but that; no time is asserted."""

from pathlib import Path

import pytest

from benchmarks import slides
from tests.optional import needs

pytestmark = needs("openslide")


def test_it_ends_with_its_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both rows are lines of the table, and nothing of what was drawn stays."""
    slides.main([str(tmp_path), "--side", "2", "--rounds", "1"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == 2
    assert all(line.count(" | ") == 4 for line in rows)
    assert list(tmp_path.iterdir()) == []


def test_both_read_the_same_tiles(tmp_path: Path) -> None:
    """What is timed reads the same pixels: as many bytes, of every tile of the slide."""
    slide = tmp_path / "drawn.tif"
    slides.draw_slide(slide, 3)
    places = slides.places_of(slide, 3, slides.TILE)
    assert len(places) == 9
    assert slides.read_ours(places) == slides.read_bare(places) == 9 * 256 * 256 * 3
