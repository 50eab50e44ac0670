"""Builds a report: asks everything once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from milstore.analysis.internal import INTERNAL, main_scope
from milstore.analysis.learning import sentence
from milstore.analysis.recall import AUC, MEANS
from milstore.asking.selection import Choice
from milstore.errors import MilstoreError, UsageError
from milstore.report.answers import Answer, Answerer
from milstore.report.findings import EVERY_MARGIN, Finding, findings
from milstore.report.heading import day, settings
from milstore.report.overview import Overview, overview
from milstore.report.plan import CLOSING, Chapter, opening
from milstore.report.studies import Study
from milstore.report.work import CaseRow, Unstudied, begin
from milstore.store.case_ids import asked_cases
from milstore.store.cohort import read_cohort
from milstore.store.paths import Store
from milstore.store.run_reader import LEARNING, NO_ATTENTION, read_run

MOST_STUDIES = 30
"""Cases that are shown in full, the most wrong first: a page must stay small enough for a mail."""
IN_MARKDOWN = 6
"""The same in markdown, which is pasted from."""


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
    settings: str
    """How it was trained, in a line."""
    day: str
    """The day on which the last of its trainings ended, such as `26 November 2026`."""
    notes: Sequence[str]
    findings: Sequence[Finding]
    headlines: Sequence[Headline]
    opening: Sequence[tuple[Chapter, Sequence[Answer]]]
    overview: Overview | None
    overview_words: str
    """Why there is no overview."""
    studies: Sequence[Study]
    chosen: bool
    """Whether the cases of the studies were asked for; else they are those that were called wrong."""
    studies_words: str
    """What is to be said where a case, or every case, has no study."""
    closing: Sequence[tuple[Chapter, Sequence[Answer]]]

    @property
    def cases_title(self) -> str:
        """What heads the studies."""
        return "Cases one by one" if self.chosen else "Cases called wrong"

    @property
    def faults(self) -> list[str]:
        """What failed by a fault of milstore, not of the data."""
        answers = [answer for _, of_chapter in (*self.opening, *self.closing) for answer in of_chapter]
        answers += [answer for study in self.studies for answer in study.answers]
        return [f"{answer.asked.name}: {answer.words}" for answer in answers if answer.fault]


def build_report(
    store: Store, choice: Choice | None = None, *, for_markdown: bool = False, jobs: int | None = 1
) -> Report:
    """Ask everything that a report tells of a run or an experiment.

    Args:
        store: the store.
        choice: which run or experiment it is about; the newest complete experiment unless said. Its cases are those that
            are studied one by one, in this order, in place of those that were called wrong; all else is told of all cases.
        for_markdown: few cases that were called wrong, with their galleries as charts.
        jobs: processes to ask in (None: one a processor). A script that asks for several must guard its main module.

    Raises:
        UsageError: the run, experiment, seed, subset or case does not exist, or the case was not predicted.
        StoreError: the store holds no finished run.
    """
    choice = choice or Choice()
    answerer = Answerer(store, choice)
    # Asked first, and not as an answer: if nobody can answer, there is no report.
    predictions = answerer.result("deviation")
    wrong = _chosen(answerer) if answerer.cases else answerer.result("misclassified").records()
    run_ids = {row["run_id"] for row in predictions.records()}
    unattending = _without_attention(store, run_ids)
    # A study shows where attention lies.
    most = len(wrong) if answerer.cases else IN_MARKDOWN if for_markdown else MOST_STUDIES
    shown = [] if unattending else wrong[:most]
    before = opening(annotated=bool(read_cohort(store).table("patch_regions").num_rows))
    chapters = [*before, *CLOSING]
    work = begin(
        answerer,
        [
            *(asked for chapter in chapters for asked in chapter.asked),
            *(CaseRow(row=row, as_chart=for_markdown) for row in shown),
        ],
        jobs,
    )
    linked, linked_words = (None, "") if for_markdown else _overview(answerer)
    recall = answerer.result("recall").records()
    found = findings(answerer)
    facts = [read_run(store, run_id) for run_id in sorted(run_ids)]
    outcomes = work.result()
    answers = iter([outcome for outcome in outcomes if isinstance(outcome, Answer)])
    answered = [(chapter, [next(answers) for _ in chapter.asked]) for chapter in chapters]
    return Report(
        subject=predictions.title,
        settings=settings(facts),
        day=day(facts),
        findings=found,
        notes=[*predictions.notes, *_learning_notes(store, run_ids)],
        headlines=headlines(recall),
        opening=answered[: len(before)],
        overview=linked,
        overview_words=linked_words,
        studies=[outcome for outcome in outcomes if isinstance(outcome, Study)],
        chosen=bool(answerer.cases),
        studies_words=unattending
        or " ".join(
            [
                *filter(None, [_studies_words(len(shown), len(wrong))]),
                *(outcome.words for outcome in outcomes if isinstance(outcome, Unstudied)),
            ]
        ),
        closing=answered[len(before) :],
    )


def _chosen(answerer: Answerer) -> list[dict[str, Any]]:
    """The predictions of the cases that were asked for, in their order. UsageError where one was not predicted."""
    choice = replace(answerer.choice, cases=answerer.cases)
    result = answerer.result("near-threshold", {"margin": EVERY_MARGIN}, choice)
    known = read_cohort(answerer.store).table("cases")["case_id"].to_pylist()
    rows = result.records()
    found: list[dict[str, Any]] = []
    for case_id in dict.fromkeys(asked_cases(known, answerer.cases)):
        own = [row for row in rows if row["case_id"] == case_id]
        if not own:
            raise UsageError(f"case {case_id} was not predicted by {result.title}: there is nothing to show of it")
        found += own
    return found


def _learning_notes(store: Store, run_ids: Iterable[str]) -> list[str]:
    """A sentence for each run that learned nothing, or its training cases alone."""
    said = {run_id: sentence(read_run(store, run_id).get(LEARNING)) for run_id in sorted(run_ids)}
    return [f"run {run_id}: {text}" for run_id, text in said.items() if text]


def _without_attention(store: Store, run_ids: Iterable[str]) -> str:
    """What is said where cases would be studied, if a run has no attention; empty if all have."""
    for run_id in sorted(run_ids):
        facts = read_run(store, run_id)
        if facts.get("attention") == NO_ATTENTION:
            model = f" (model {facts['model']})" if facts["model"] else ""
            return f"Run {run_id}{model} has no attention: there is nothing to show of single cases."
    return ""


def _overview(answerer: Answerer) -> tuple[Overview | None, str]:
    """The overview, or why there is none."""
    try:
        return overview(answerer), ""
    except MilstoreError as error:
        return None, str(error)


def _studies_words(shown: int, wrong: int) -> str:
    if not wrong:
        return "No case of this answer was called wrong."
    return f"{wrong} cases were called wrong; these are the {shown} most wrong ones." if shown < wrong else ""


def headlines(recall: Sequence[dict[str, object]]) -> list[Headline]:
    """Recall of each class over all cases with its interval, and the mean over splits of what compares classes."""
    scopes = list(dict.fromkeys(str(row["scope"]) for row in recall))
    lines = []
    for row in recall:
        share, low, high = row["value"], row["low"], row["high"]
        if row["scope"] != main_scope(scopes) or not isinstance(share, float):
            continue
        interval = f"95% interval {low:.2f} to {high:.2f}" if low is not None else ""
        count = f"{row['right']} of {row['cases']}" if row["right"] is not None else f"{row['cases']} cases"
        means = [r for r in recall if _same_measure(r, row) and r["scope"] in MEANS and r["value"] is not None]
        over_splits = f"{means[0]['scope']} {means[0]['value']:.2f}" if means else ""
        if row["measure"] == AUC and means:
            # A pooled AUC compares probabilities of different models: the mean stands first.
            over_splits, share = f"{means[0]['scope']}; pooled {share:.2f}", means[0]["value"]
            low, high = means[0]["low"], means[0]["high"]
            interval = f"95% interval {low:.2f} to {high:.2f}" if low is not None else ""
        name = f"{row['measure']} of {row['true_class']}" if row["true_class"] else str(row["measure"])
        beside = [r for r in recall if _same_measure(r, row) and r["scope"] == INTERNAL and r["value"] is not None]
        internal = f"{INTERNAL} {_figure(beside[0])}" if beside else ""
        detail = "; ".join(text for text in (count, interval, over_splits, internal) if text)
        lines.append(
            Headline(name=name, value=f"{share:.0%}" if row["measure"] != AUC else f"{share:.2f}", detail=detail)
        )
    return lines


def _figure(row: dict[str, Any]) -> str:
    """A measure of the internal test, such as `71% (20 of 28)`."""
    share = f"{row['value']:.2f}" if row["measure"] == AUC else f"{row['value']:.0%}"
    return share if row["right"] is None else f"{share} ({row['right']} of {row['cases']})"


def _same_measure(one: dict[str, object], other: dict[str, object]) -> bool:
    return (one["measure"], one["true_class"]) == (other["measure"], other["true_class"])
