"""What the measurements of storing share: how much is stored, where, and how often."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.page import Row
from benchmarks.rounds import Timed


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is stored."""

    cases: int = 1000
    patches: int = 1_000_000
    """Of a run, and names of files."""
    vectors: int = 100_000
    """Files of one vector each."""
    features: int = 4096
    """Numbers of a vector."""


@dataclass(frozen=True)
class Bench:
    """What the measurements share."""

    folder: Path
    sizes: Sizes
    rounds: int

    @contextmanager
    def place(self) -> Iterator[Path]:
        """A folder for what contenders write, removed at the end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="timed-", dir=self.folder) as place:
            yield Path(place)

    def made(self, name: str, fill: Callable[[Path], None]) -> Path:
        """A folder of files to read, filled unless it was before."""
        folder, done = self.folder / name, self.folder / f"{name}.made"
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            fill(folder)
            done.touch()
        return folder


def ratio_row(timed: Timed, name: str, to: str, what: str, most: float | None) -> Row:
    """A line for a contender's seconds over a bound's."""
    ratio = timed.ratio(name, to)
    return Row(
        what,
        f"{ratio:.2f} ×",
        "–" if most is None else f"≤ {most:g} ×",
        None if most is None else ratio <= most,
        f"{timed.seconds(name):.2f} against {timed.seconds(to):.2f}",
    )
