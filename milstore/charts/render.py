"""From a question to its chart: ask, prepare, draw."""

import importlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import altair as alt
from altair.utils import schemapi

from milstore import queries
from milstore.asking.ask import ask, ask_query
from milstore.asking.by_name import meant
from milstore.asking.grouped import each_group
from milstore.asking.result import Result
from milstore.asking.run_choice import Group
from milstore.asking.scored import as_asked
from milstore.asking.selection import Choice
from milstore.asking.time_limit import DEFAULT_TIMEOUT
from milstore.charts import charted
from milstore.charts.case_rows import nothing
from milstore.charts.drawing import Drawing
from milstore.charts.own import Draw, draw_own
from milstore.charts.quick_altair import quick
from milstore.charts.theme import About, themed
from milstore.charts.within import OF_ASKED, with_cohort
from milstore.errors import UsageError
from milstore.store.case_ids import asked_cases
from milstore.store.cohort import read_cohort
from milstore.store.paths import Store


def _module(name: str, *, by_score: bool = False) -> str:
    return f"milstore.charts.{'by_score.' if by_score else ''}{name.replace('-', '_')}"


def plot(
    store: Store,
    name: str,
    choice: Choice | None = None,
    values: Mapping[str, Any] | None = None,
    *,
    chart: Draw | None = None,
    by: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
) -> Any:
    """The chart of a question, as an Altair chart.

    Args:
        store: the store.
        name: name of the question.
        choice: which run or experiment should answer, and for which cases.
        values: the question's parameters.
        chart: what draws the answer, in place of the question's own chart.
        by: an attribute of cases: the chart is drawn for each group of them that has one value, one below the other; or a
            score of patches, by which the question goes in place of attention.
        timeout: seconds the question may take.

    Raises:
        UsageError: the question has no chart, or does not exist, or what it is asked for does not, or `chart` fails.
        StoreError: the store holds no finished run.
    """
    return drawing(store, name, choice, values, chart=chart, by=by, timeout=timeout).chart


def drawing(
    store: Store,
    name: str,
    choice: Choice | None = None,
    values: Mapping[str, Any] | None = None,
    *,
    chart: Draw | None = None,
    by: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
) -> Drawing:
    """The chart of a question with what is known of it. Arguments and errors are those of `plot`."""
    query = queries.load(name, store.queries)
    if chart is None and name not in charted():
        raise UsageError(
            f"query {name} has no chart: milstore query {name} gives its table, --chart ./file.py draws it"
        )
    choice = choice or Choice()
    if by is not None:
        found = meant(store, query, by, choice)
        if not found.is_score:
            return _drawing_by(store, query, found.name, choice, values, chart, timeout)
        choice = replace(choice, score=found.name)
    if choice.score is not None:
        query, values = as_asked(query, choice.score, values or {})
        result = ask_query(store, query, choice, values, timeout=timeout)
        return draw(store, query, result, choice, values, chart)
    # What somebody asked for stands in the title; a chart's own finer steps do not.
    finer = {} if chart is not None else _finer(query, values or {})
    result = ask(store, name, choice, {**(values or {}), **finer}, timeout=timeout)
    cohort = None
    if chart is None and choice.cases and draws_cohort(name):
        cohort = ask(store, name, replace(choice, cases=()), values, timeout=timeout)
    return draw(store, query, result, choice, values, chart, cohort)


def _drawing_by(
    store: Store,
    query: queries.Query,
    by: str,
    choice: Choice,
    values: Mapping[str, Any] | None,
    chart: Draw | None,
    timeout: float,
) -> Drawing:
    """The charts of the groups of cases, one below the other."""
    drawn, notes = each_group(
        store,
        query.name,
        by,
        choice,
        lambda of_group: drawing(store, query.name, of_group, values, chart=chart, timeout=timeout),
    )
    charts = [each.chart for _, each in drawn]
    for each in charts:
        # Altair takes a configuration of the outermost chart alone.
        each.config = each.usermeta = alt.Undefined
    told = dict.fromkeys([*notes, *(note for _, each in drawn for note in each.about.notes)])
    about = replace(drawn[0][1].about, notes=tuple(told))
    # Each keeps its own axes and colours: groups may differ in their classes and stains.
    with quick():
        return Drawing(query, about, themed(alt.vconcat(*charts, spacing=40).resolve_scale(color="independent")))


def _finer(query: queries.Query, values: Mapping[str, Any]) -> dict[str, Any]:
    """What a chart asks its question with in place of the usual, where nobody said otherwise."""
    usual = {parameter.name: parameter.default for parameter in query.parameters}
    asked: Mapping[str, Any] = getattr(importlib.import_module(_module(query.name)), "ASKED", {})
    return {name: value for name, value in asked.items() if values.get(name) in (None, usual[name])}


def draws_cohort(name: str) -> bool:
    """Whether the chart of a question draws all cases, and lets those that were asked for stand out."""
    return bool(getattr(importlib.import_module(_module(name)), "WITHIN_COHORT", False))


def _calls(store: Store, module: Any, choice: Choice) -> list[dict[str, Any]]:
    """How all cases of a choice were called, and those that it asks for, where a chart needs it; none where it does not.

    A chart whose rows are of no single case says `NEEDS_CALLS`, to tell of how many its rows are, and where those stand
    that were asked for: `beside` is true of a case that is in no test subset, and so not of the cohort.
    """
    needed = getattr(module, "NEEDS_CALLS", None)
    if needed is None or (needed == OF_ASKED and not choice.cases):
        return []
    cohort = [{**row, "beside": False} for row in ask(store, "deviation", replace(choice, cases=())).records()]
    if not choice.cases:
        return cohort
    known = {(row["run_id"], row["case_id"]) for row in cohort}
    asked = ask(store, "deviation", choice).records()
    return cohort + [{**row, "beside": True} for row in asked if (row["run_id"], row["case_id"]) not in known]


def draw(
    store: Store,
    query: queries.Query,
    result: Result,
    choice: Choice,
    values: Mapping[str, Any] | None = None,
    chart: Draw | None = None,
    cohort: Result | None = None,
) -> Drawing:
    """The chart of an answer that has been given. Of one without rows it says in words that there is nothing to show.

    Args:
        store: the store that answered.
        query: the question.
        result: the answer.
        choice: what was chosen.
        values: the question's parameters.
        chart: what draws the answer, in place of the question's own chart.
        cohort: the answer for all cases, where the chart lets those of `choice` stand out among them.
    """
    values = dict(values or {})
    by_score = choice.score is not None
    module: Any = importlib.import_module(_module(query.name, by_score=by_score)) if chart is None else None
    cases = (
        list(asked_cases(read_cohort(store).table("cases")["case_id"].to_pylist(), choice.cases))
        if choice.cases
        else []
    )
    bound = query.bind({**values, "case": cases[0]} if query.wants_case else values)
    # What must be told with an answer is known when its rows are there.
    frame = result.df() if cohort is None else with_cohort(result.df(), cohort.df())
    about = replace(
        about_of(store, _title(query, choice.group, cases, bound), result, bound),
        cases=cases,
        own=result.records() if cohort is not None else (),
        calls=_calls(store, module, choice),
    )
    # A module may have better words for it.
    if frame.empty and not hasattr(module, "nothing"):
        return Drawing(query, about, nothing(about, "No row answers this: there is nothing to show."))
    if "true_class" in frame:
        frame["true_class"] = frame["true_class"].fillna("no label")
    if chart is not None:
        return Drawing(query, about, draw_own(chart, frame, about))
    prepare = getattr(module, "prepare", None)
    if prepare is not None:
        frame = prepare(frame, about)
    # Altair checks every part of a chart against its schema as it is made, which takes longer than making it. The
    # tests do that, for every chart.
    with schemapi.debug_mode(False), quick():
        return Drawing(query, about, module.chart(frame, about))


def about_of(store: Store, title: str, result: Result, values: Mapping[str, Any]) -> About:
    """What a chart says of an answer: who gave it, with which caveats, and the cohort's classes and stains."""
    cohort = read_cohort(store)
    classes = sorted(cohort.table("classes").to_pylist(), key=lambda row: row["label"])
    stains = sorted(cohort.table("stains").to_pylist(), key=lambda row: row["stain_order"])
    return About(
        title=title,
        subtitle=result.title,
        notes=tuple(result.notes),
        values=values,
        class_names=[row["class_name"] for row in classes],
        stains=[row["stain"] for row in stains],
        store=store,
    )


def _title(query: queries.Query, group: Group | None, cases: list[str], bound: Mapping[str, Any]) -> str:
    """The question, with the group of cases or the cases it was asked for and every parameter that is not as usual."""
    asked = [f"case{'s' if len(cases) > 1 else ''} {', '.join(cases)}"] if cases else []
    asked += [group.label] if group is not None else []
    usual = {parameter.name: parameter.default for parameter in query.parameters}
    asked += [
        _worded(name.replace("_", "-"), value)
        for name, value in bound.items()
        if name != "case" and value is not None and value != usual[name]
    ]
    return f"{query.title} · {', '.join(asked)}" if asked else query.title


def _worded(name: str, value: str | float | bool) -> str:
    """A parameter in a title: `pct 10`, `stain h&e`, `log`, `not log`."""
    if isinstance(value, bool):
        return name if value else f"not {name}"
    return f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
