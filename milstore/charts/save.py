"""Charts as files: a page, a picture, or the Vega-Lite itself."""

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import vl_convert as vlc
from markupsafe import Markup

from milstore.charts.drawing import Drawing
from milstore.charts.page import figure_html, fold_html, page_html
from milstore.charts.scripts import vegalite_version
from milstore.errors import DataError, UsageError
from milstore.store.io import write_whole

PNG_SCALE = 2.0
"""Pixels of a picture for each pixel of the chart: sharp on paper and on a projector."""


def as_png(spec: Mapping[str, Any], scale: float = PNG_SCALE) -> bytes:
    """A chart as a PNG. Nothing is loaded: pictures must be inside its data."""
    from PIL import Image

    drawn = vlc.vegalite_to_png(dict(spec), vl_version=vegalite_version(), scale=scale, allowed_base_urls=[])
    # Pillow packs the same pixels into a third of the bytes.
    stream = io.BytesIO()
    Image.open(io.BytesIO(drawn)).convert("RGB").save(stream, "PNG", dpi=(72 * scale, 72 * scale))
    return stream.getvalue()


def as_svg(spec: Mapping[str, Any]) -> str:
    """A chart as an SVG. Nothing is loaded."""
    text: str = vlc.vegalite_to_svg(dict(spec), vl_version=vegalite_version(), allowed_base_urls=[])
    return text


def as_pdf(spec: Mapping[str, Any]) -> bytes:
    """A chart as a PDF of one page, of the chart's size in points, with its text as text. Nothing is loaded."""
    content: bytes = vlc.vegalite_to_pdf(dict(spec), vl_version=vegalite_version(), allowed_base_urls=[])
    return content


def as_html(drawn: Drawing) -> str:
    """A chart as a page that needs no network, with its SQL behind a fold."""
    figure = figure_html(drawn.query.name, drawn.about.title, drawn.spec)
    body = Markup('<main class="alone">\n{}\n{}\n</main>').format(figure, fold_html(drawn.query.name, drawn.query.sql))
    return page_html(f"{drawn.about.title} · {drawn.about.subtitle}", body)


def _json(drawn: Drawing) -> bytes:
    return (json.dumps(drawn.spec, ensure_ascii=False, allow_nan=False) + "\n").encode()


WRITERS: dict[str, Callable[[Drawing], bytes]] = {
    ".html": lambda drawn: as_html(drawn).encode(),
    ".svg": lambda drawn: as_svg(drawn.spec).encode(),
    ".pdf": lambda drawn: as_pdf(drawn.spec),
    ".png": lambda drawn: as_png(drawn.spec),
    ".json": _json,
}


def check_suffix(path: Path) -> None:
    """UsageError unless the file's name says how the chart should be written."""
    if path.suffix.lower() not in WRITERS:
        raise UsageError(f"{path} does not end in {', '.join(WRITERS)}: its ending says how the chart is written")


def save(drawn: Drawing, path: Path) -> None:
    """Write a chart, in the form that the file's ending names.

    Raises:
        UsageError: the ending is none of .html, .svg, .pdf, .png and .json.
        DataError: the file cannot be written.
    """
    check_suffix(path)
    write_bytes(path, WRITERS[path.suffix.lower()](drawn))


def write_bytes(path: Path, content: bytes) -> None:
    """Put a file into place, whole or not at all. DataError if it cannot be written."""

    def fill(temporary: Path) -> None:
        temporary.write_bytes(content)

    try:
        write_whole(path, fill)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}") from error
