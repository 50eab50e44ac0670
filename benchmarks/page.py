"""What a benchmark measured, as a line of a table, and its place in docs/performance.md."""

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
SECTIONS = ("Training", "Storing", "Asking", "Slides", "Encoding")
HEAD = "| what | measured | wanted | reached | seconds |\n| --- | --- | --- | --- | --- |"
OPENING = """# Performance

Written by `make bench`; do not edit, run it again. Every figure is a **ratio** within one run: against a bound that
nothing could beat, or a rival that does the same as it is commonly done, timed in turns on the same data. Seconds are
what this machine took while it did so, and nobody's promise.
"""


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    what: str
    measured: str
    wanted: str
    reached: bool | None
    """None where nothing is promised."""
    seconds: str
    """By the wall clock: ours, then what it is compared with."""

    def __str__(self) -> str:
        verdict = {True: "yes", False: "**no**", None: "–"}[self.reached]
        return f"| {self.what} | {self.measured} | {self.wanted} | {verdict} | {self.seconds} |"


def machine(*packages: str) -> str:
    """What was measured on, and the versions of the packages that the figures depend on."""
    # Not above, for it imports torch, which is not to be in every benchmark's processes.
    from milstore.training.provenance import cpu_model

    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{cpu_model()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, {versions}"
    )


def table(about: str, rows: Sequence[Row], notes: str = "") -> str:
    """The text of a section: what was measured on what, the rows, and what must be known to read them."""
    return "\n".join([about, "", HEAD, *map(str, rows), *(["", notes] if notes else [])])


def put_on_page(section: str, text: str, page: Path = PAGE) -> None:
    """Put the text below the section's heading in place of what was there, and leave the other sections."""
    before = page.read_text(encoding="utf-8") if page.exists() else OPENING
    begin, end = f"<!-- {section.lower()}: begin -->", f"<!-- {section.lower()}: end -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(before):
        before = f"{before.rstrip()}\n\n## {section}\n\n{begin}\n{end}\n"
    page.write_text(pattern.sub(lambda _: f"{begin}\n{text}\n{end}", before), encoding="utf-8")
