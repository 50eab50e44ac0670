"""Builds a report: asks everything once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from milstore.errors import MilstoreError
from milstore.report.answers import Answer, Answerer
from milstore.report.overview import Overview, overview
from milstore.report.plan import CLOSING, OPENING, Chapter
from milstore.report.studies import Study, studies
from milstore.store.folder import Store
from milstore.store.selection import Choice

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Headline:
    """A number that the meeting wants first."""

    name: str
    value: str
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Everything that a report says."""

    subject: str
    """Which run or experiment it is about."""
    notes: Sequence[str]
    headlines: Sequence[Headline]
    opening: Sequence[tuple[Chapter, Sequence[Answer]]]
    overview: Overview | None
    overview_words: str
    """Why there is no overview."""
    studies: Sequence[Study]
    studies_words: str
    """What is to be said where a case, or every case, has no study."""
    closing: Sequence[tuple[Chapter, Sequence[Answer]]]

    @property
    def faults(self) -> list[str]:
        """What failed by a fault of milstore, not of the data."""
        answers = [answer for _, of_chapter in (*self.opening, *self.closing) for answer in of_chapter]
        answers += [answer for study in self.studies for answer in study.answers]
        return [f"{answer.asked.name}: {answer.words}" for answer in answers if answer.fault]


def build_report(store: Store, choice: Choice | None = None) -> Report:
    """Ask everything that a report tells of a run or an experiment.

    Raises:
        UsageError: the run, experiment, seed or subset does not exist.
        StoreError: the store holds no finished run.
    """
    answerer = Answerer(store, choice or Choice())
    # Asked first, and not as an answer: if nobody can answer, there is no report.
    predictions = answerer.result("deviation")
    recall = answerer.result("recall").records()
    linked, linked_words = _unless_refused(lambda: overview(answerer), None)
    none: tuple[list[Study], int] = ([], 0)
    (found, more), studies_words = _unless_refused(lambda: studies(answerer), none)
    if not found and not studies_words:
        studies_words = "No case of this answer was called wrong."
    if more:
        studies_words = f"{more} more cases were called wrong; these are the most wrong ones."
    return Report(
        subject=predictions.title,
        notes=predictions.notes,
        headlines=headlines(recall),
        opening=_chapters(answerer, OPENING),
        overview=linked,
        overview_words=linked_words,
        studies=found,
        studies_words=studies_words,
        closing=_chapters(answerer, CLOSING),
    )


def _unless_refused(make: Callable[[], T], otherwise: T) -> tuple[T, str]:
    """What is made, or what stands in its place and why."""
    try:
        return make(), ""
    except MilstoreError as error:
        return otherwise, str(error)


def _chapters(answerer: Answerer, chapters: Sequence[Chapter]) -> list[tuple[Chapter, list[Answer]]]:
    return [(chapter, [answerer.answer(asked) for asked in chapter.asked]) for chapter in chapters]


def headlines(recall: Sequence[dict[str, object]]) -> list[Headline]:
    """Recall of each class over all cases with its interval, and the mean over splits of what compares classes."""
    scopes = list(dict.fromkeys(row["scope"] for row in recall))
    lines = []
    for row in recall:
        share, low, high = row["value"], row["low"], row["high"]
        if row["scope"] != ("pooled" if "pooled" in scopes else scopes[-1]) or not isinstance(share, float):
            continue
        interval = f"95% interval {low:.2f} to {high:.2f}" if low is not None else ""
        count = f"{row['right']} of {row['cases']}" if row["right"] is not None else f"{row['cases']} cases"
        mean = next((r["value"] for r in recall if _same_measure(r, row) and r["scope"] == "mean over splits"), None)
        over_splits = f"mean over splits {mean:.2f}" if mean is not None else ""
        name = f"{row['measure']} of {row['true_class']}" if row["true_class"] else str(row["measure"])
        detail = "; ".join(text for text in (count, interval, over_splits) if text)
        lines.append(
            Headline(name=name, value=f"{share:.0%}" if row["measure"] != "AUC" else f"{share:.2f}", detail=detail)
        )
    return lines


def _same_measure(one: dict[str, object], other: dict[str, object]) -> bool:
    return (one["measure"], one["true_class"]) == (other["measure"], other["true_class"])
