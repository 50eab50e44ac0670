"""From a question to its chart: ask, prepare, draw."""

import importlib
from collections.abc import Mapping
from typing import Any

from milstore import queries
from milstore.asking import Result, ask
from milstore.charts import charted
from milstore.charts.drawing import Drawing
from milstore.charts.theme import About
from milstore.errors import UsageError
from milstore.store.cohort import read_cohort
from milstore.store.folder import Store
from milstore.store.names import normal_case_id
from milstore.store.sandbox import DEFAULT_TIMEOUT
from milstore.store.selection import Choice


def _module(name: str) -> str:
    return f"milstore.charts.{name.replace('-', '_')}"


def plot(
    store: Store,
    name: str,
    choice: Choice | None = None,
    values: Mapping[str, Any] | None = None,
    *,
    timeout: float = DEFAULT_TIMEOUT,
) -> Any:
    """The chart of a question, as an Altair chart.

    Args:
        store: the store.
        name: name of the question.
        choice: which run or experiment should answer, and for which cases.
        values: the question's parameters.
        timeout: seconds the question may take.

    Raises:
        UsageError: the question has no chart or no rows, or does not exist, or what it is asked for does not.
        StoreError: the store holds no finished run.
    """
    return drawing(store, name, choice, values, timeout=timeout).chart


def drawing(
    store: Store,
    name: str,
    choice: Choice | None = None,
    values: Mapping[str, Any] | None = None,
    *,
    timeout: float = DEFAULT_TIMEOUT,
) -> Drawing:
    """The chart of a question with what is known of it. Arguments and errors are those of `plot`."""
    query = queries.load(name, store.queries)
    if name not in charted():
        raise UsageError(f"query {name} has no chart: milstore query {name} gives its table")
    choice = choice or Choice()
    return draw(store, query, ask(store, name, choice, values, timeout=timeout), choice, values)


def draw(
    store: Store, query: queries.Query, result: Result, choice: Choice, values: Mapping[str, Any] | None = None
) -> Drawing:
    """The chart of an answer that has been given. UsageError if it has no rows."""
    values = dict(values or {})
    module = importlib.import_module(_module(query.name))
    about = _about(store, query, result, choice, values)
    frame = result.df()
    if frame.empty:
        raise UsageError(f"query {query.name} has no rows for {result.title}: there is nothing to draw")
    prepare = getattr(module, "prepare", None)
    if prepare is not None:
        frame = prepare(frame, about)
    return Drawing(query, about, module.chart(frame, about))


def _about(store: Store, query: queries.Query, result: Result, choice: Choice, values: Mapping[str, Any]) -> About:
    cases = [normal_case_id(case) for case in choice.cases]
    if query.wants_case:
        values = {**values, "case": cases[0]}
    bound = query.bind(values)
    cohort = read_cohort(store)
    classes = sorted(cohort.table("classes").to_pylist(), key=lambda row: row["label"])
    stains = sorted(cohort.table("stains").to_pylist(), key=lambda row: row["stain_order"])
    return About(
        title=_title(query, cases, bound),
        subtitle=result.title,
        notes=tuple(result.notes),
        values=bound,
        class_names=[row["class_name"] for row in classes],
        stains=[row["stain"] for row in stains],
        store=store,
    )


def _title(query: queries.Query, cases: list[str], bound: Mapping[str, Any]) -> str:
    """The question, with the cases it was asked for and every parameter that is not as usual."""
    asked = [f"case{'s' if len(cases) > 1 else ''} {', '.join(cases)}"] if cases else []
    usual = {parameter.name: parameter.default for parameter in query.parameters}
    asked += [
        f"{name.replace('_', '-')} {value}"
        for name, value in bound.items()
        if name != "case" and value is not None and value != usual[name]
    ]
    return f"{query.title} · {', '.join(asked)}" if asked else query.title
