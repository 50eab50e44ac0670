"""`make bench`: every timing, one after another, into docs/performance.md.

    python -m benchmarks [FOLDER] [--only training,storing,asking,encoding]

FOLDER keeps the data that is timed (some 15 GB) from one time to the next.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.parts import add_only

PARTS = ("training", "storing", "asking", "slides", "encoding")


def main() -> None:
    """Run each part in a process of its own, so that none meets what another left in memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(tempfile.gettempdir()) / "milstore-benchmarks")
    add_only(parser, PARTS)
    options = parser.parse_args()
    for part in options.only:
        print(f"## {part}", flush=True)
        program = [sys.executable, "-m", f"benchmarks.{part}", str(options.folder / part), "--page"]
        subprocess.run(program, check=True, cwd=Path(__file__).parents[1])


if __name__ == "__main__":
    main()
