"""Progress of long library calls, as bars on a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from milstore.cli.output import progress as bars

if TYPE_CHECKING:
    from rich.progress import TaskID

    from milstore.progress import Progress


@contextmanager
def telling(speed: str | None = None) -> "Iterator[Progress]":
    """A progress callback for library calls: one bar for each of their steps, on stderr.

    speed: say how fast it goes, too, in this unit, such as patches/s.
    """
    with bars(speed) as shown:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                # What was done before counts for no speed.
                tasks[what] = shown.add_task(what, total=total, completed=done)
            shown.update(tasks[what], completed=done, total=total)

        yield tell
