"""Runs docs/demo_analysis.ipynb on a store and keeps its answers in it: `python -m docs.notebook STORE`.

Charts are kept as pictures, tables as HTML. The notebook says which text of its cells the answers are of, so that a test finds
a cell that was changed after it was run.
"""

import base64
import hashlib
import io
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from docs.rooms import ROOT

NOTEBOOK = ROOT / "docs" / "demo_analysis.ipynb"
ANSWERED = "answers_are_of"
"""Entry of the notebook's metadata: the SHA-256 of the cells whose answers it holds."""
_PICTURES = 'import altair\n\naltair.renderers.enable("png", scale_factor=1)'


def digest(cells: Iterable[Any]) -> str:
    """The SHA-256 of the text of the code cells."""
    return hashlib.sha256("\0".join(cell.source for cell in cells if cell.cell_type == "code").encode()).hexdigest()


def answered(store: Path) -> Any:
    """The notebook, run on a store, with its answers in it."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    os.environ.update(MILSTORE_STORE=str(store.resolve()), PYTHONPATH=str(ROOT))
    notebook.cells.insert(0, nbformat.v4.new_code_cell(_PICTURES))
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    del notebook.cells[0]
    of_code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(of_code, start=1):
        cell.execution_count = number
        cell.metadata.pop("execution", None)
        cell.outputs = [_kept(output, number) for output in cell.outputs if "data" in output]
    notebook.metadata[ANSWERED] = digest(notebook.cells)
    return notebook


def _kept(output: Any, number: int) -> Any:
    """An answer in the one form that readers show: a picture in few colours, a table, or text."""
    form = next(form for form in ("image/png", "text/html", "text/plain") if form in output.data)
    content = output.data[form]
    if form == "image/png":
        content = _in_few_colours(content)
    return nbformat.v4.new_output("execute_result", data={form: content}, execution_count=number)


def _in_few_colours(picture: str) -> str:
    from PIL import Image

    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    stream = io.BytesIO()
    image.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode()


def main() -> int:
    """Run the notebook on the store that is named, and write it."""
    if len(sys.argv) != 2:
        sys.exit("name the store to run on: python -m docs.notebook STORE")
    nbformat.write(answered(Path(sys.argv[1])), NOTEBOOK)
    return 0


if __name__ == "__main__":
    sys.exit(main())
