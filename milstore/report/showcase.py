"""Writes docs/gallery.md and its pictures from a store with an experiment: `python -m milstore.report.showcase STORE`."""

import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from milstore import queries
from milstore.asking.selection import Choice
from milstore.charts import charted
from milstore.charts.render import drawing
from milstore.charts.save import as_png, write_bytes
from milstore.errors import UsageError
from milstore.store.paths import Store, open_store

DOCS = Path("docs")
SCALE = 1.3
"""Pixels of a picture for each pixel of its chart: sharp enough for a page, small enough for a repository."""
CASE = "46"
"""The case of the questions about one case, unless another shows more."""
CASES = {"top-patches": CASE, "top-patch-list": CASE, "slice-attention": "64"}
"""The case of a question that could be asked of all too, or that another case answers better."""
VALUES: Mapping[str, Mapping[str, Any]] = {}

_HEAD = """# Gallery

Every chart of milstore, drawn from the demo cohort (`milstore demo`, then `milstore train --split all`). The subtitle
of each names the runs that it was drawn from. Written by `python -m milstore.report.showcase STORE`.
"""


def page() -> str:
    """The gallery's text: every chart with the command that draws it."""
    return "\n".join([_HEAD, *(_block(name) for name in charted())])


def _block(name: str) -> str:
    case = _case(name)
    words = ["milstore plot", name, *(["--case", case] if case else [])]
    for option, value in VALUES.get(name, {}).items():
        words += [f"--{option}"] if value is True else [f"--{option}", str(value)]
    return f"## {name}\n\n```\n{' '.join(words)} -o {name}.png\n```\n\n![{name}](gallery/{name}.png)\n"


def _case(name: str) -> str | None:
    return CASES.get(name, CASE if queries.load(name).wants_case else None)


def picture(store: Store, name: str) -> bytes:
    """The picture of a question's chart, in the few colours that charts have."""
    from PIL import Image

    case = _case(name)
    choice = Choice(cases=(case,) if case else ())
    image = Image.open(io.BytesIO(as_png(drawing(store, name, choice, VALUES.get(name)).spec, SCALE))).convert("RGB")
    stream = io.BytesIO()
    image.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def main() -> int:
    """Draw every chart from the store that is named."""
    if len(sys.argv) != 2:
        raise UsageError("name the store to draw from: python -m milstore.report.showcase STORE")
    store = open_store(sys.argv[1])
    (DOCS / "gallery").mkdir(parents=True, exist_ok=True)
    for name in charted():
        write_bytes(DOCS / "gallery" / f"{name}.png", picture(store, name))
    write_bytes(DOCS / "gallery.md", page().encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
