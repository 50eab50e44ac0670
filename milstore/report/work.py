"""The questions of a report as pieces of work, done one after the other or in several processes."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from milstore.asking.selection import Choice
from milstore.errors import MilstoreError
from milstore.report.answers import Answer, Answerer
from milstore.report.plan import Asked
from milstore.report.studies import Study, study
from milstore.store.paths import open_store
from milstore.workers import mapped


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseRow:
    """A case to be studied."""

    row: Mapping[str, Any]
    """Its row of `misclassified`."""
    as_chart: bool
    """Whether its gallery is drawn as a chart."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unstudied:
    """A case that cannot be studied."""

    words: str
    """Why."""


Piece = Asked | CaseRow
Outcome = Answer | Study | Unstudied


def begin(answerer: Answerer, pieces: Sequence[Piece], jobs: int | None) -> "Future[list[Outcome]]":
    """Begin the work; the outcomes come in the order of the pieces.

    Args:
        answerer: who is asked, if it is done here.
        pieces: what is to be asked.
        jobs: processes (None: one a processor). With 1 the work is done here, before this returns.
    """
    if jobs == 1:
        done: Future[list[Outcome]] = Future()
        done.set_result([carry_out(answerer, piece) for piece in pieces])
        return done
    tasks = [(answerer.store.root, answerer.choice, piece) for piece in pieces]
    thread = ThreadPoolExecutor(1)
    try:
        return thread.submit(lambda: list(mapped(_in_a_process, tasks, jobs=jobs)))
    finally:
        thread.shutdown(wait=False)


def carry_out(answerer: Answerer, piece: Piece) -> Outcome:
    """Ask what a piece of work wants to know."""
    if isinstance(piece, Asked):
        return answerer.answer(piece)
    try:
        return study(answerer, piece.row, as_chart=piece.as_chart)
    except MilstoreError as error:
        # Its attention may be unknown, or known in part; the page tells of all that is not.
        return Unstudied(words=f"Case {piece.row['case_id']} is not shown: {error}.")


def _in_a_process(task: tuple[Path, Choice, Piece]) -> Outcome:
    root, choice, piece = task
    return carry_out(_answerer(root, choice), piece)


@lru_cache(maxsize=1)
def _answerer(root: Path, choice: Choice) -> Answerer:
    """The one answerer of a process that works for one report."""
    return Answerer(open_store(root), choice)
