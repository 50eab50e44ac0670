"""Progress of long library calls, as bars on a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from milstore.cli.output import progress as bars

if TYPE_CHECKING:
    from rich.progress import TaskID

    from milstore.progress import Progress


@contextmanager
def telling() -> "Iterator[Progress]":
    """What a library call may tell its progress to: one bar for each thing that it does, on stderr."""
    with bars() as shown:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=total)
            shown.update(tasks[what], completed=done, total=total)

        yield tell
