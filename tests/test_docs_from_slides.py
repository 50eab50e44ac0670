"""The page from slides to calls: all that it has one type is run."""

from pathlib import Path

import pytest

from milstore.store import open_store
from milstore.store.cohort import read_cohort
from tests.page_runs import run_page
from tests.test_layout import ROOT


def test_from_slides_to_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From ten drawn slides to predictions of two new cases; when two more arrive, nothing is cut, encoded or trained again."""
    monkeypatch.chdir(tmp_path)
    told = run_page((ROOT / "docs" / "from-slides.md").read_text(encoding="utf-8"), capsys)
    predicted = next(said for line, said in told.items() if line.startswith("milstore predict first --slides"))
    assert [line.split()[0] for line in predicted if line.split()[0] in ("11", "12")] == ["11", "12"]
    again = [
        told[line] for line in told if line.startswith("milstore train --split all --epochs 20 --experiment first")
    ]
    assert again[-1][-1] == "every split is finished: --fresh trains them again"
    cohort = read_cohort(open_store("data"))
    assert cohort.table("slides").num_rows == 14
    (encoder,) = cohort.table("encoders").to_pylist()
    assert (encoder["encoder"], encoder["n_patches"], encoder["grid"]) == (
        "hed",
        cohort.table("patches").num_rows,
        "64px-1mpp",
    )
    assert (tmp_path / "qupath" / "S26-0011_HE.geojson").exists()
    assert Path("report.html").stat().st_size > 100_000
