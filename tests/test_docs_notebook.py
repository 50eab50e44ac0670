"""The notebook in docs runs from its first cell to its last, and shows what it answered."""

import ast
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from IPython.core.formatters import DisplayFormatter
from nbclient import NotebookClient

from docs.notebook import ANSWERED, digest
from milstore.asking.ask import ask
from milstore.store import Store
from tests.crossing import WHOLE
from tests.reporting import brief

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "demo_analysis.ipynb"


def test_the_notebook_runs(three: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ten cells run in order on a store, each shows something, and the last one leaves the report.

    `make torture` runs them in a kernel, with a whole report.
    """
    monkeypatch.setenv("MILSTORE_STORE", str(three.root))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if WHOLE:
        monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]))
        resources = {"metadata": {"path": str(tmp_path)}}
        NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()
        shown = [[output.output_type for output in cell.outputs if output.output_type != "stream"] for cell in cells]
        assert shown == [["execute_result"]] * 10
    else:
        monkeypatch.chdir(tmp_path)
        names: dict[str, Any] = {}
        with brief("recall"):
            assert ["text/plain" in _display(_value_of(cell.source, names)) for cell in cells] == [True] * 10
    assert (tmp_path / "report.html").stat().st_size > 500_000


def _value_of(source: str, names: dict[str, Any]) -> object:
    """What a cell gives: the value of its last line."""
    *lines, last = ast.parse(source).body
    assert isinstance(last, ast.Expr)
    exec(compile(ast.Module(lines, []), "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def _display(value: object) -> dict[str, Any]:
    """A value in the forms in which a notebook shows it; none of what it does not show."""
    forms: dict[str, Any] = {} if value is None else DisplayFormatter().format(value)[0]
    return forms


def test_the_notebook_is_kept_with_its_answers() -> None:
    """Every cell holds the one answer that its text of now gave: a picture of each chart, a table, and no path or address."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert notebook.metadata[ANSWERED] == digest(notebook.cells), (
        "run python -m docs.notebook STORE on the demo's store"
    )
    assert [cell.execution_count for cell in cells] == list(range(1, 11))
    forms = [[list(output.data) for output in cell.outputs] for cell in cells]
    assert forms == [[[_form(cell.source)]] for cell in cells]
    texts = [output.data[form] for cell in cells for output in cell.outputs for form in output.data]
    assert not [text for text in texts if " at 0x" in text or "/tmp/" in text or "/home/" in text]
    assert NOTEBOOK.stat().st_size < 1_000_000


def _form(source: str) -> str:
    if "store.plot(" in source:
        return "image/png"
    return "text/plain" if "store.report(" in source else "text/html"


def test_a_stored_table_has_the_columns_that_its_question_gives_now(three: Store) -> None:
    """The tables of recall and of top patches in the notebook have the columns that these questions have."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    stored = {cell.source: cell.outputs[0].data.get("text/html", "") for cell in notebook.cells if cell.get("outputs")}
    recall = next(html for source, html in stored.items() if 'query("recall")' in source)
    assert [name for name in re.findall(r"<th>([^<]*)</th>", recall) if name and not name.isdigit()] == (
        ask(three, "recall").columns
    )
