"""The program of a timing on a drawn slide: its options, its rows as they are measured, and its part of the page."""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.page import HEAD, Row, machine, put_on_page, table


def time_on_slide(
    words: list[str] | None,
    *,
    doc: str | None,
    name: str,
    rows_of: Callable[[Path, int, int], Iterator[Row]],
    rounds: int,
    packages: Sequence[str],
    how: str,
    notes: str,
) -> None:
    """Time something on a drawn slide.

    Args:
        words: of the command line; those of this process if None.
        doc: what is told of the program.
        name: the part of docs/performance.md.
        rows_of: gives the rows, from a folder, how many tiles the slide has a side, and how many rounds.
        rounds: how many, unless said.
        packages: whose versions are told.
        how: what is told of the slide and the rounds.
        notes: what stands below the table.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(tempfile.gettempdir()) / "milstore-benchmarks" / name.lower()
    parser.add_argument("folder", type=Path, nargs="?", default=default)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--side", type=int, default=46)
    parser.add_argument("--page", action="store_true", help="put the table into docs/performance.md")
    options = parser.parse_args(words)
    options.folder.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    print(HEAD)
    rows = []
    with tempfile.TemporaryDirectory(prefix="timed-", dir=options.folder) as place:
        for row in rows_of(Path(place), options.side, options.rounds):
            print(row, flush=True)
            rows.append(row)
    about = (
        f"{machine(*packages)}; a slide of {options.side}² tiles; {options.rounds} rounds{how}; load average {load:.1f} before and "
        f"{os.getloadavg()[0]:.1f} after."
    )
    print(f"\n{about}")
    if options.page:
        put_on_page(name, table(about, rows, notes))
