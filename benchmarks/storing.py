"""How fast runs are committed, names are stored and vectors are packed, as ratios to bounds timed in the same run.

    python -m benchmarks.storing [FOLDER] [--rounds 5] [--only commit,names,vectors]

FOLDER keeps the runs' cohort and the files from one time to the next. Every row is printed as it is measured; with
--page the rows are put into the storing part of docs/performance.md.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from benchmarks.bench import Bench, Sizes
from benchmarks.page import HEAD, Row, machine, put_on_page, table
from benchmarks.parts import add_only

# By name: each process that packs imports this module again, and those of users have no such imports to wait for.
PARTS = {
    "commit": "benchmarks.committing:commit_rows",
    "names": "benchmarks.committing:names_rows",
    "vectors": "benchmarks.packing:vectors_rows",
}


def rows_of(part: str, bench: Bench) -> Iterator[Row]:
    """The rows of a part, each as soon as it is measured."""
    module, _, name = PARTS[part].partition(":")
    measure: Callable[[Bench], Iterator[Row]] = getattr(import_module(module), name)
    return measure(bench)


NOTES = """A commit checks every invariant, ranks and sorts, writes five tables, hashes them and brings them to the
disk; its bound writes the largest of the tables, with the same compression, and waits for no disk. Patches are stored
with their slices and cases, and milstore.duckdb is refreshed. Packing checks names, checksums and numbers, writes the
matrix, hashes it, brings it to the disk and refreshes milstore.duckdb. It is held against the two calls that it cannot do
without, which compare the checksums of a `.pt` file and load it (mapped, if it is large), by processes that are started
for it and import torch, as those of packing are; and against two bounds whose processes are started beforehand: the
bytes of each file read and thrown away, and, as the least that storing can be, the bytes read, hashed once, written and
brought to the disk. "In memory" is the page cache with all files in it; "on the disk" is without any, as files are when
they are first read: packing asks for many files at a time there, and its bounds for one a process."""


def about(bench: Bench, load_before: float) -> str:
    """The machine, the sizes, and how busy it was."""
    return (
        f"{machine('pyarrow', 'duckdb', 'torch')}; medians of {bench.rounds} rounds; "
        f"load average {load_before:.1f} before and {os.getloadavg()[0]:.1f} after."
    )


def main(words: list[str] | None = None) -> None:
    sizes = Sizes()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(tempfile.gettempdir()) / "milstore-benchmarks" / "storing"
    parser.add_argument("folder", type=Path, nargs="?", default=default)
    parser.add_argument("--rounds", type=int, default=5)
    for name, number in asdict(sizes).items():
        parser.add_argument(f"--{name}", type=int, default=number)
    add_only(parser, PARTS)
    parser.add_argument("--page", action="store_true", help="put the table into docs/performance.md")
    options = parser.parse_args(words)
    bench = Bench(options.folder, Sizes(**{name: getattr(options, name) for name in asdict(sizes)}), options.rounds)
    load = os.getloadavg()[0]
    print(HEAD)
    rows = []
    for part in options.only:
        for row in rows_of(part, bench):
            print(row, flush=True)
            rows.append(row)
    print(f"\n{about(bench, load)}")
    if options.page:
        put_on_page("Storing", table(about(bench, load), rows, NOTES))


if __name__ == "__main__":
    main()
