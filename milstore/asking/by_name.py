"""What `--by NAME` means: an attribute of cases, which makes groups of them, or a score of patches in place of attention."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from milstore import queries
from milstore.asking.ask import ask
from milstore.asking.grouped import ask_by
from milstore.asking.groups import attribute_names, no_such_attribute
from milstore.asking.result import Result
from milstore.asking.run_choice import Over, choose_runs
from milstore.asking.scored import refuse_others, score_names
from milstore.asking.selection import Choice, numbers_of_splits
from milstore.asking.time_limit import DEFAULT_TIMEOUT
from milstore.errors import UsageError
from milstore.store.broken_files import reading
from milstore.store.names import clip, named
from milstore.store.paths import Store
from milstore.store.run_reader import run_ids
from milstore.store.views import connect_bare

_ATTRIBUTE, _SCORE = "attribute:", "score:"
"""What may stand before a name, and must where a name is both."""


class Meant(NamedTuple):
    """What a name behind `--by` is."""

    name: str
    is_score: bool
    """Whether it is a score of patches; an attribute of cases if not."""


def ask_by_name(
    store: Store,
    name: str,
    by: str,
    choice: Choice | None = None,
    values: Mapping[str, Any] | None = None,
    *,
    timeout: float = DEFAULT_TIMEOUT,
) -> Result:
    """Ask a question of each group of cases that an attribute makes, or by a score of patches in place of attention.

    Other arguments and errors are those of `ask_by` and `ask`; see `meant` for what the name is.
    """
    choice = choice or Choice()
    found = meant(store, queries.load(name, store.queries), by, choice)
    if found.is_score:
        return ask(store, name, replace(choice, score=found.name), values, timeout=timeout)
    return ask_by(store, name, found.name, choice, values, timeout=timeout)


def meant(store: Store, query: queries.Query, by: str, choice: Choice) -> Meant:
    """What a name is: an attribute that the store keeps of its cases, or a score of the runs that would answer.

    A name that is both stands behind `attribute:` or `score:`, as any name may. A question that cannot go by scores takes
    it for the attribute.

    Raises:
        UsageError: the name is neither, or both; it is a score, and the question cannot go by one; or the choice is of no
            run that there is.
    """
    attributes = attribute_names(store)
    if by not in attributes and by.removeprefix(_ATTRIBUTE) in attributes:
        return Meant(by.removeprefix(_ATTRIBUTE), is_score=False)
    if by in attributes and not query.takes_scores:
        return Meant(by, is_score=False)
    scores = scores_of_choice(store, query, choice)
    if by in attributes and by in scores:
        raise UsageError(
            f"--by {clip(by)!r} is an attribute of cases and a score of patches: write --by {_ATTRIBUTE}{clip(by)} or "
            f"--by {_SCORE}{clip(by)}"
        )
    if by in attributes:
        return Meant(by, is_score=False)
    score = by if by in scores else by.removeprefix(_SCORE)
    if score in scores:
        refuse_others(query, score)
        return Meant(score, is_score=True)
    if not scores and choice.prediction is not None and query.takes_scores:
        raise UsageError(
            f"--by {clip(by)!r} is no attribute of cases, and the mean of the models of prediction {clip(choice.prediction)} has "
            "no scores of patches: ask one of the models, by --run"
        )
    if not scores:
        raise no_such_attribute(by, attributes)
    raise UsageError(
        f"--by {clip(by)!r} is no attribute of cases (the store keeps {named(sorted(attributes)) or 'none'}), and no score "
        f"of the runs that answer (they have {named(scores)})"
    )


def scores_of_choice(store: Store, query: queries.Query, choice: Choice) -> tuple[str, ...]:
    """Names of the scores of the runs that a choice is of; none while there is no run."""
    if not run_ids(store):
        return ()
    con = connect_bare()
    try:
        with reading(store):
            numbers = numbers_of_splits(con, store)
            over = Over(runs=query.over_runs, repeats=query.over_repeats)
            runs, _, _ = choose_runs(store, choice, numbers, over, [])
            return score_names(con, store, [run.run_id for run in runs])
    finally:
        con.close()
