"""Which parts of a benchmark are measured."""

import argparse
from collections.abc import Iterable


def add_only(parser: argparse.ArgumentParser, parts: Iterable[str]) -> None:
    """An option --only that takes some of the parts, with commas between; all without it."""
    known = tuple(parts)

    def some(text: str) -> tuple[str, ...]:
        wanted = tuple(text.split(","))
        for part in wanted:
            if part not in known:
                raise argparse.ArgumentTypeError(f"there is no part {part!r}: the parts are {', '.join(known)}")
        return wanted

    parser.add_argument("--only", type=some, default=known, help="parts to measure, with commas between")
