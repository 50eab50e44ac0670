"""A chart as a PDF: one page of the chart's size, in which text is text."""

import io
import re
import zlib
from pathlib import Path

from PIL import Image
from PIL.PdfParser import PdfParser

from milstore.charts.render import drawing
from milstore.charts.save import as_pdf, as_png
from milstore.cli.main import main
from milstore.store import Store


def test_a_pdf_is_one_page_of_the_charts_size(three: Store) -> None:
    """As many points as the picture has pixels, to the one that rounding may cost."""
    spec = drawing(three, "confusion").spec
    parsed = PdfParser(buf=as_pdf(spec))
    (page,) = (parsed.read_indirect(reference) for reference in parsed.pages)
    left, top, right, bottom = page[b"MediaBox"]
    picture = Image.open(io.BytesIO(as_png(spec, 1.0)))
    assert (left, top) == (0, 0)
    assert abs(right - picture.width) <= 1 and abs(bottom - picture.height) <= 1


def test_the_text_of_a_pdf_can_be_searched_and_set(three: Store, tmp_path: Path) -> None:
    """Words are drawn by fonts inside the file, which say which letter each glyph is; they are no outlines."""
    path = tmp_path / "chart.pdf"
    assert main(["plot", "confusion", "--store", str(three.root), "-o", str(path)]) == 0
    content = path.read_bytes()
    bodies = re.findall(rb"stream\n(.*?)\nendstream", content, re.DOTALL)
    # Pages are packed, and the maps from glyphs to letters are not.
    streams = [zlib.decompress(body) if body[:1] == b"x" else body for body in bodies]
    assert any(re.search(rb"\bBT\b.*\bT[jJ]\b", stream, re.DOTALL) for stream in streams)
    letters = {bytes.fromhex(code.decode()).decode("utf-16-be") for stream in streams for code in _unicodes(stream)}
    assert set("benignhigh-grade") <= letters
    assert b"/FontFile" in content


def _unicodes(stream: bytes) -> list[bytes]:
    """What the glyphs of a font stand for, by its ToUnicode map."""
    if b"beginbfchar" not in stream:
        return []
    return re.findall(rb"^<[0-9A-Fa-f]+> <([0-9A-Fa-f]+)>", stream, re.MULTILINE)
