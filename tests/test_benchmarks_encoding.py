"""The timings of encoding run, at a size that proves nothing but that; no time is asserted."""

from pathlib import Path

import pytest

from benchmarks import encoding
from tests.optional import needs

pytestmark = needs("onnx", "onnxruntime", "openslide")


def test_it_ends_with_its_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both rows are lines of the table, and nothing of what was drawn stays."""
    encoding.main([str(tmp_path), "--side", "2", "--rounds", "1"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == 2
    assert all(line.count(" | ") == 4 for line in rows)
    assert list(tmp_path.iterdir()) == []
