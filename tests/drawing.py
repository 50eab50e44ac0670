"""Draws a question's chart and looks at the picture, as far as a test can."""

import atexit
import io
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from milstore.asking.selection import Choice
from milstore.charts.drawing import Drawing
from milstore.charts.render import drawing
from milstore.charts.save import as_png
from milstore.store import Store
from tests.crossing import WHOLE
from tests.making import three_case_store

_SEEN: set[tuple[str, bool]] = set()
"""Charts whose picture was looked at in this process, of all cases and of some."""
WIDEST = 800
"""Pixels that a chart may take, on a slide or on paper."""


def drawn(
    store: Store, name: str, choice: Choice | None = None, values: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The chart of a question as Vega-Lite, its data not too many; the picture that is looked at is neither blank nor too wide.

    Of a question the first picture of all cases is looked at, and the first of some; by `make torture` every one.
    """
    spec = drawing(store, name, choice, values).spec
    kind = (name, bool(choice and choice.cases))
    if WHOLE or kind not in _SEEN:
        picture = Image.open(io.BytesIO(as_png(spec, 1.0)))
        colours = picture.convert("RGB").getcolors(1_000_000)
        assert colours is not None and len(colours) > 10
        assert picture.width <= WIDEST
        _SEEN.add(kind)
    assert sum(len(rows) for rows in spec["datasets"].values()) <= 5000
    return spec


def of_three(name: str, choice: Choice | None = None, **values: Any) -> Drawing:
    """The chart of a question asked of the store of three cases: drawn once for all tests that only look at it."""
    return _of_three(name, choice or Choice(), tuple(values.items()))


@cache
def _of_three(name: str, choice: Choice, values: tuple[tuple[str, Any], ...]) -> Drawing:
    return drawing(_three(), name, choice, dict(values) or None)


@cache
def _three() -> Store:
    folder = TemporaryDirectory(prefix="milstore-drawn-")
    # The folder goes with this process.
    atexit.register(folder.cleanup)
    return three_case_store(Path(folder.name) / "three")


def rows_of(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows that a chart is drawn from: of its largest table."""
    rows: list[dict[str, Any]] = max(spec["datasets"].values(), key=len)
    return rows


def subtitle_of(spec: Mapping[str, Any]) -> str:
    """The lines below the title."""
    return " ".join(spec["title"]["subtitle"])
