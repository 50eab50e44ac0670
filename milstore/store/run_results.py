"""Test results of finished runs: recall of each class with counts, and the AUC, for many runs at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import duckdb

from milstore.store.paths import Store
from milstore.store.views import connect_bare, rows_of_cohort, rows_of_runs

_COUNTS = """
select run_id, true_label, count(*) filter (where pred_label = true_label) as right_ones, count(*) as cases
from {predictions} as predictions
where subset = 'test' and true_label is not null
group by run_id, true_label
order by run_id, true_label
"""
# The area of a class against the others is the chance that a case of it is given a higher probability of it than one of
# the others, ties counted half: the Mann-Whitney statistic by mean ranks (Hanley & McNeil 1982).
_AREAS = """
with scored as (
    select run_id, label, probability, true_label = label as positive
    from {probabilities} as probabilities
    join {predictions} as predictions using (run_id, case_id)
    where subset = 'test' and true_label is not null
),

ranked as (
    select
        *,
        rank() over by_probability + (count(*) over (by_probability range current row) - 1) / 2 as place
    from scored
    window by_probability as (partition by run_id, label order by probability)
),

areas as (
    select
        run_id,
        label,
        count(*) filter (where positive) as n,
        count(*) filter (where not positive) as others,
        coalesce(sum(place) filter (where positive), 0) - n * (n + 1) / 2 as wins,
        case when n > 0 and others > 0 then wins / (n * others) end as area
    from ranked
    group by run_id, label
)

select
    run_id,
    -- Of two classes both areas are one; of more it is the mean, if every class has a case.
    case
        when count(*) filter (where area is null) > 0 then null
        when count(*) = 2 then arg_max(area, label)
        else avg(area)
    end as auc
from areas
group by run_id
order by run_id
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """How a run did on its test subset."""

    counts: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By class: how many of its cases were called right, and how many there are."""
    auc: float | None = None
    """From 0 to 1: of the higher of two classes, or the mean of one class against the others; None where a class of the run
    has no case."""


def run_results(store: Store, run_ids: Sequence[str]) -> tuple[dict[str, RunResult], list[str]]:
    """The results of finished runs, by id, and the ids of those whose predictions cannot be read."""
    con = connect_bare()
    try:
        return _read(con, store, run_ids), []
    except duckdb.Error:
        # One of them is damaged or was deleted meanwhile: the others are still told.
        found: dict[str, RunResult] = {}
        damaged: list[str] = []
        for run_id in run_ids:
            try:
                found |= _read(con, store, [run_id])
            except duckdb.Error:
                damaged.append(run_id)
        return found, damaged
    finally:
        con.close()


def _read(con: duckdb.DuckDBPyConnection, store: Store, run_ids: Sequence[str]) -> dict[str, RunResult]:
    if not run_ids:
        return {}
    tables = {name: rows_of_runs(store, run_ids, name) for name in ("predictions", "probabilities")}
    counts: dict[str, dict[int, tuple[int, int]]] = {run_id: {} for run_id in run_ids}
    for run_id, label, right, cases in con.execute(_COUNTS.format(**tables)).fetchall():
        counts[run_id][label] = (right, cases)
    areas = dict(con.execute(_AREAS.format(**tables)).fetchall())
    return {run_id: RunResult(counts=counts[run_id], auc=areas.get(run_id)) for run_id in run_ids}


def class_names(store: Store) -> dict[int, str]:
    """The names of the classes by their numbers."""
    con = connect_bare()
    try:
        return dict(con.execute(f"select label, class_name from {rows_of_cohort(store, 'classes')}").fetchall())
    finally:
        con.close()
