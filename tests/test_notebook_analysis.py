"""The notebook in docs runs from its first cell to its last."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from milstore.store import Store

pytestmark = pytest.mark.thorough

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "demo_analysis.ipynb"


def test_the_notebook_runs(three: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ten cells run in order on a store, each shows something, and the last one leaves the report."""
    monkeypatch.setenv("MILSTORE_STORE", str(three.root))
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [[output.output_type for output in cell.outputs if output.output_type != "stream"] for cell in cells]
    assert shown == [["execute_result"]] * 10
    assert (tmp_path / "report.html").stat().st_size > 500_000


def test_the_notebook_is_kept_without_answers() -> None:
    """What lies in git holds no outputs, which would go stale."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert [
        cell for cell in notebook.cells if cell.cell_type == "code" and (cell.outputs or cell.execution_count)
    ] == []
