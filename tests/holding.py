"""Trainings that stay where a test wants them, until it lets them go or stops them."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milstore.training.interruption import Interruption
from milstore.training.loop import Training
from tests.forking import Child, fork
from tests.waiting import PATIENCE, holds_within, wait_for


@dataclass(frozen=True)
class Held:
    """A training that stays at a case of its third epoch until it is let go or stopped, so that nothing comes too late for it."""

    place: Path
    """Files of this name say where it is; each training has another."""
    stubborn: bool = False
    """Whether it stays though a signal came that stops it after the case."""

    def held(self, work: Callable[[], Any], epochs: int = 2) -> Callable[[], Any]:
        """The same work, which stays when it has done so many epochs."""

        def wait() -> Any:
            step, note, stopped = Training._step, Interruption._note, threading.Event()

            def step_and_wait(training: Training) -> None:
                step(training)
                if len(training.history) >= epochs:
                    self._file("there").touch()
                    holds_within(lambda: stopped.is_set() or self._file("go").exists(), PATIENCE)

            def note_and_stop(*args: Any) -> None:
                note(*args)
                if not self.stubborn:
                    stopped.set()

            Training._step, Interruption._note = step_and_wait, note_and_stop  # type: ignore[method-assign]
            return work()

        return wait

    def begun(self, folder: Path, work: Callable[[], Any], epochs: int = 2) -> Child:
        """That work, which is there."""
        child = fork(folder, self.held(work, epochs))
        wait_for(lambda: self.is_there() or child.ended(), "the training to begin")
        assert not child.ended(), child.text()
        return child

    def is_there(self) -> bool:
        """Whether it stays."""
        return self._file("there").exists()

    def let_go(self) -> None:
        """Let it go on."""
        self._file("go").touch()

    def _file(self, what: str) -> Path:
        return self.place.with_name(f"{self.place.name}-{what}")
