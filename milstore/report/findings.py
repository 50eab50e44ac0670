"""What a report finds, in sentences: computed from the answers, by class before pooled, with counts and intervals.

Each function takes the rows of a question and gives the words; where few cases speak, the words say so.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from milstore.analysis.correlation import pooled_sentence, sentence
from milstore.analysis.internal import INTERNAL, main_scope
from milstore.analysis.intervals import wilson
from milstore.analysis.recall import ACCURACY, AUC, MEANS, RECALL
from milstore.analysis.roc import POOLED
from milstore.charts.wording import WRONG, called_right, called_wrong
from milstore.errors import MilstoreError
from milstore.report.answers import Answerer
from milstore.store.names import counted

FEW = 10
"""Cases of a class below which a share or a correlation is not read as more than its interval."""
CLOSE = 0.1
"""Largest margin of a close call, as in `near-threshold`."""
EVERY_MARGIN = 0.5
"""No margin is larger: asked with it, `near-threshold` tells of every case."""

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One sentence or two, with the numbers in them."""

    name: str
    words: str
    anchor: str
    """The chapter that shows it."""


def findings(answerer: Answerer) -> list[Finding]:
    """The five findings of a report. One that cannot be had says why."""
    recall = answerer.result("recall").records()
    order = list(dict.fromkeys(row["true_class"] for row in recall if row["measure"] == RECALL))

    def asked(name: str, values: Mapping[str, Any], say: Callable[[Rows, Sequence[str]], str]) -> str:
        try:
            return say(answerer.result(name, values).records(), order)
        except MilstoreError as error:
            return f"Not known: {error}."

    return [
        Finding(name="Recognised", anchor="recall", words=recognised(recall)),
        Finding(name=_beside(recall), anchor="recall", words=between_splits(recall)),
        Finding(
            name="Errors", anchor="deviation", words=asked("near-threshold", {"margin": EVERY_MARGIN}, called_wrong_of)
        ),
        Finding(name="Concentration", anchor="explains", words=asked("concentration", {}, concentrated)),
        Finding(name="Where attention goes", anchor="where", words=asked("stain-attention", {}, attended)),
    ]


def _beside(recall: Rows) -> str:
    """What the second finding is called: of a prediction it compares new cases with the internal test."""
    return "Beside the internal test" if any(row["scope"] == INTERNAL for row in recall) else "From split to split"


def recognised(recall: Rows) -> str:
    """Recall of each class, then what is over all classes, from the rows of `recall`: pooled, or of the one split."""
    scopes = [row["scope"] for row in recall]
    over = main_scope(scopes)
    rows = [row for row in recall if row["scope"] == over]
    of_classes = [row for row in rows if row["measure"] == RECALL]
    if not any(row["cases"] for row in of_classes):
        return "Not known: no case of this answer has a label."
    parts = [_class_called_right(row) for row in of_classes]
    of_all = [row for row in rows if row["measure"] == ACCURACY and row["value"] is not None]
    parts += [f"all together {row['right']} of {row['cases']} ({_share(row)})" for row in of_all]
    few = too_few({row["true_class"]: row["cases"] for row in of_classes})
    return " ".join(filter(None, [f"{'; '.join(parts)}.", _area(recall, over), few]))


def _class_called_right(row: Mapping[str, Any]) -> str:
    if not row["cases"]:
        return f"no {row['true_class']} case"
    return f"{called_right(row['right'], row['cases'], row['true_class'] + ' case')} ({_share(row)})"


def _share(row: Mapping[str, Any]) -> str:
    interval = "no interval, as runs share cases"
    if row["low"] is not None:
        interval = f"95% interval {row['low']:.0%} to {row['high']:.0%}"
    return f"{row['value']:.0%}, {interval}"


def _area(recall: Rows, over: str) -> str:
    """The AUC as mean over the splits, as a pooled one compares probabilities of different models; else the one split's."""
    areas = [row for row in recall if row["measure"] == AUC and row["value"] is not None]
    for row in sorted(areas, key=lambda row: row["scope"] not in MEANS):
        if row["scope"] in (*MEANS, over):
            interval = "no interval" if row["low"] is None else f"95% interval {row['low']:.2f} to {row['high']:.2f}"
            scope = f" as {row['scope']}" if row["scope"] in MEANS else " pooled" if row["scope"] == POOLED else ""
            return f"AUC{scope} {row['value']:.2f} ({interval})."
    return ""


def between_splits(recall: Rows) -> str:
    """How far each class's recall goes from split to split (or repeat), and whether that may be chance."""
    parts = []
    for name in dict.fromkeys(row["true_class"] for row in recall if row["measure"] == RECALL):
        rows = [
            row
            for row in recall
            if row["measure"] == RECALL
            and row["true_class"] == name
            and row["scope"] not in (POOLED, *MEANS)
            and row["value"] is not None
        ]
        if len(rows) > 1:
            parts.append(_range(name, rows))
    if not parts:
        return "One training answers: how much its numbers would change with another split is not known."
    return f"{'; '.join(parts)}."


def _range(name: str, rows: Rows) -> str:
    worst, best = min(rows, key=lambda row: row["value"]), max(rows, key=lambda row: row["value"])
    if worst["value"] == best["value"]:
        return f"recall of {name} is {best['value']:.0%} in each of {len(rows)}"

    def end(row: Mapping[str, Any]) -> str:
        return f"{row['value']:.0%} ({row['right']} of {row['cases']}, {row['scope']})"

    said = f"recall of {name} goes from {end(worst)} to {end(best)}"
    if worst["high"] is None or best["low"] is None:
        return said
    if worst["high"] >= best["low"]:
        return f"{said}: their 95% intervals overlap, so that chance alone may give this"
    return f"{said}: their 95% intervals do not overlap"


def called_wrong_of(cases: Rows, classes: Sequence[str]) -> str:
    """How many cases of each class were called wrong, how many of these closely, and which is the most wrong.

    Args:
        cases: the rows of `near-threshold` with every margin.
        classes: the classes in their order.
    """
    labelled = [row for row in cases if row["true_class"] is not None]
    if not labelled:
        return "Not known: no case of this answer has a label."
    repeated = len({row["case_id"] for row in labelled}) < len(labelled)
    noun = "prediction" if repeated else "case"
    parts = []
    for name in ordered({row["true_class"] for row in labelled}, classes):
        of_class = [row for row in labelled if row["true_class"] == name]
        parts.append(_wrong_of(of_class, f"{name} {noun}"))
    wrong = [row for row in labelled if row["outcome"] == WRONG]
    interval = ""
    if not repeated:
        low, high = wilson(len(wrong), len(labelled))
        interval = f", 95% interval {low:.0%} to {high:.0%}"
    share = f"{len(wrong) / len(labelled):.0%}"
    parts.append(f"all together {len(wrong)} of {counted(len(labelled), noun)} ({share}{interval})")
    said = f"{'; '.join(parts)}. Close is a margin of at most {CLOSE:g}."
    if not wrong:
        return said
    most = min(wrong, key=lambda row: row["p_true"])
    return f"{said} Most wrong is case {most['case_id']} ({most['true_class']}, p(true class) {most['p_true']:.3f})."


def _wrong_of(rows: Rows, noun: str) -> str:
    wrong = [row for row in rows if row["outcome"] == WRONG]
    close = sum(row["margin"] <= CLOSE for row in wrong)
    return called_wrong(len(wrong), len(rows), noun) + (f", {close} of these closely" if wrong else "")


def concentrated(rows: Rows, classes: Sequence[str]) -> str:
    """Whether the error goes with the attention that the largest top holds, in each class; pooled where that is right.

    Args:
        rows: the rows of `concentration`.
        classes: the classes in their order.
    """
    last = [row for row in rows if row["top"] == rows[-1]["top"] and row["n"]]
    first = {row["true_class"]: row for row in reversed(last)}
    if not first:
        return "Not known: no case of this answer has both a label and attention."
    order = ordered(first, classes)
    parts = [f"in {name} cases {_direction(first[name])}: {sentence(first[name])}" for name in order]
    pooled = f"; {pooled_sentence(first[order[0]])}" if len(order) > 1 else ""
    few = too_few({name: first[name]["n_cases"] for name in order})
    start = f"As the {last[0]['top']} of a case's patches hold more of its attention,"
    return " ".join(filter(None, [f"{start} {'; '.join(parts)}{pooled}.", few]))


def _direction(row: Mapping[str, Any]) -> str:
    """Which way the error goes: said only where the whole interval lies on one side of zero."""
    if row["rho"] is None or row["n_cases"] < FEW:
        return "the error goes a way that too few can tell"
    if row["rho_low"] is None:
        return "the error goes a way without an interval, as runs share cases"
    if row["rho_low"] > 0:
        return "the error rises"
    return "the error falls" if row["rho_high"] < 0 else "the error goes no clear way"


def attended(rows: Rows, classes: Sequence[str]) -> str:
    """Which stain has the highest weight, and in how many cases of each class; over all where it is the same stain.

    Args:
        rows: the rows of `stain-attention`.
        classes: the classes in their order.
    """
    labelled = [row for row in rows if row["true_class"] is not None]
    stains = {row["stain"] for row in rows}
    if len(stains) == 1:
        return f"There is one stain, {min(stains)}: its share says nothing."
    if not labelled:
        return "Not known: no case of this answer has a label."
    pairs = {(row["run_id"], row["case_id"]) for row in labelled}
    once = len({case_id for _, case_id in pairs}) == len(pairs)
    parts, leaders, counts = [], set(), {}
    led = cases = 0
    for name in ordered({row["true_class"] for row in labelled}, classes):
        of_class = [row for row in labelled if row["true_class"] == name]
        most = max(row["leads_in_class"] for row in of_class)
        first = list(dict.fromkeys(row["stain"] for row in of_class if row["leads_in_class"] == most))
        of = counts[name] = of_class[0]["cases_in_class"]
        tied = of_class[0]["tied_in_class"]
        without = f", none in {tied}" if tied else ""
        parts.append(f"in {name} cases {_leads(first, most, of, once=once) if most else 'none'}{without}")
        leaders.add(" and ".join(first) if most else "")
        led, cases = led + most, cases + of
    pooled = ""
    if len(parts) > 1:
        same = len(leaders) == 1 and " and " not in min(leaders) and led
        pooled = "; not pooled: the classes do not have the same leading stain"
        if same:
            pooled = f"; all together {_leads([min(leaders)], led, cases, once=once)}"
    return " ".join(filter(None, [f"The stain of highest weight: {'; '.join(parts)}{pooled}.", too_few(counts)]))


def _leads(stains: Sequence[str], leads: int, of: int, *, once: bool) -> str:
    interval = ""
    if once:
        low, high = wilson(leads, of)
        interval = f", 95% interval {low:.0%} to {high:.0%}"
    noun = "" if once else " predictions"
    each = " each" if len(stains) > 1 else ""
    return f"{' and '.join(stains)}{each} ({leads} of {of}{noun}, {leads / of:.0%}{interval})"


def too_few(cases: Mapping[str, int]) -> str:
    """A warning that names the classes of few cases; empty where there is none.

    >>> too_few({"benign": 6, "high-grade": 12}), too_few({"benign": 28})
    ('Few cases (6 benign): go by the intervals, not by the shares.', '')
    """
    few = [f"{n} {name}" for name, n in cases.items() if 0 < n < FEW]
    return f"Few cases ({', '.join(few)}): go by the intervals, not by the shares." if few else ""


def ordered(found: Mapping[str, Any] | set[str], classes: Sequence[str]) -> list[str]:
    """The classes that were found, in their order; others follow by name."""
    return [*(name for name in classes if name in found), *sorted(set(found) - set(classes))]
