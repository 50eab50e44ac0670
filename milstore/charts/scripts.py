"""Vega, Vega-Lite and Vega-Embed as one script for pages, put together once and kept.

vl-convert takes a second to put it together, and gives the same for the same versions. So it is kept in the user's
folder for such things: `XDG_CACHE_HOME`, else `~/.cache`. Where nothing can be kept, it is made each time.
"""

import contextlib
import hashlib
import os
from importlib.metadata import version
from pathlib import Path

import altair as alt
import vl_convert as vlc

from milstore.store.io import write_whole


def vegalite_version() -> str:
    """The version of Vega-Lite that Altair writes, as vl-convert names it."""
    wanted = alt.SCHEMA_VERSION.removeprefix("v").rsplit(".", 1)[0]
    known: list[str] = vlc.get_vegalite_versions()
    return wanted if wanted in known else known[-1]


def chart_scripts() -> str:
    """The script."""
    path = _kept()
    found = _read(path)
    if found is None:
        found = vlc.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=vegalite_version())
        # A folder that cannot be written is no reason to draw no chart.
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            content = f"{_digest(found)}\n{found}".encode()
            write_whole(path, lambda temporary: _write(temporary, content))
    return found


def _kept() -> Path:
    folder = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - Path.home() may raise
    return Path(folder) / "milstore" / f"vega-{version('vl-convert-python')}-{vegalite_version()}.js"


def _read(path: Path) -> str | None:
    """What is kept; None if nothing is, or if it is not what was put there."""
    try:
        digest, _, text = path.read_bytes().decode().partition("\n")
    except (OSError, UnicodeDecodeError):
        return None
    return text if text and digest == _digest(text) else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
