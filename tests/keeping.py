"""Processes that read files, kept from one piece of work to the next: torch takes them two seconds to import."""

from concurrent.futures import ProcessPoolExecutor
from typing import Any


class Kept:
    """In place of a `ProcessPoolExecutor`: the one of so many processes that is among those that are kept."""

    def __init__(self, kept: dict[int, ProcessPoolExecutor], jobs: int, **options: Any) -> None:
        # Those of earlier work that died are of no more use.
        if jobs not in kept or kept[jobs]._broken:  # type: ignore[attr-defined]
            kept[jobs] = ProcessPoolExecutor(jobs, **options)
        self.submit = kept[jobs].submit

    def shutdown(self, **_: object) -> None:
        """They stay."""
