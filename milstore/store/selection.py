"""Which run answers: the one place that decides, for every question, from which run each case is taken.

The decision becomes the table `selection(run_id, case_id, subset)`, and every query joins it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import duckdb

from milstore.errors import StoreError, UsageError
from milstore.schema.columns import SUBSETS
from milstore.store.folder import Store
from milstore.store.lens import literal
from milstore.store.names import named, nearest, normal_case_id
from milstore.store.runs import find_run_id

ALL = "all"
_SUBSET_WORDS = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What the user said of the run that should answer."""

    run: str | None = None
    """A run id, or an unambiguous beginning of one."""
    experiment: str | None = None
    """An experiment: each case from its run that held the case in test."""
    seed: int | None = None
    """The seed, where the experiment has several."""
    subset: str | None = None
    """train, val, test or all; test unless said."""
    cases: tuple[str, ...] = ()
    """The cases asked for; none means all."""


@dataclass(frozen=True)
class Selection:
    """Which runs answer, in words for titles, and what the user must be told."""

    title: str
    """Such as `experiment mil-1a2b3c, seed 0, test subsets, 2 of 5 splits`."""
    runs: tuple[str, ...]
    notes: list[str] = field(default_factory=list)


class _Run(NamedTuple):
    run_id: str
    experiment: str
    split_set: str
    split: int
    n_splits: int
    seed: int
    finished_at: object


def select(
    con: duckdb.DuckDBPyConnection,
    store: Store,
    choice: Choice,
    *,
    over_runs: bool = False,
    compared: tuple[str, ...] = (),
) -> Selection:
    """Make the table `selection` on a connection of the lens.

    Args:
        con: the connection.
        store: the store it looks at.
        choice: what the user said.
        over_runs: for a question about runs, not about cases. Every run that the choice names answers (all splits and
            seeds of an experiment, unless a seed is said), with all its cases (unless a subset is said).
        compared: ids of the runs that answer, where the user named each of them. In place of a run or an experiment.

    Raises:
        UsageError: the run, experiment, seed, subset or case does not exist, or no case is left.
        StoreError: the store holds no finished run.
    """
    if choice.subset is not None and choice.subset not in (*SUBSETS, ALL):
        raise UsageError(f"there is no subset {choice.subset!r}: use {', '.join(SUBSETS)} or {ALL}")
    if choice.run is not None and choice.experiment is not None:
        raise UsageError("--run and --experiment exclude each other: give one")
    if compared and (choice.run, choice.experiment, choice.seed) != (None, None, None):
        raise UsageError("the runs to compare are named already: leave out --run, --experiment and --seed")
    if compared:
        runs, title = [_run(con, run_id) for run_id in compared], f"runs {' and '.join(compared)}"
    else:
        runs, title = _runs(con, store, choice, over_runs=over_runs)
    single = choice.run is not None or bool(compared)
    subset = choice.subset or (ALL if over_runs else "test")
    cases = tuple(dict.fromkeys(normal_case_id(case) for case in choice.cases))
    _fill(con, runs, subset, cases)
    notes = _add_asked(con, runs, choice, cases) if cases else []
    if choice.subset is not None or not over_runs:
        title += f", {_subset_title(con, subset, single=single)}"
    missing = "" if single else _missing_splits(runs)
    if missing:
        title += f", {missing}"
        notes.insert(0, f"{runs[0].experiment} has {missing} so far: the others are not in this answer")
    if con.execute("select count(*) from selection").fetchall() == [(0,)]:
        raise UsageError(f"{title}: no case is in it; choose another --subset")
    return Selection(title, tuple(run.run_id for run in runs), notes)


_FIELDS = ", ".join(_Run._fields)


def _run(con: duckdb.DuckDBPyConnection, run_id: str) -> _Run:
    rows = con.execute(f"select {_FIELDS} from runs where run_id = {literal(run_id)}").fetchall()
    if not rows:
        raise StoreError(f"run {run_id} has no readable run.json: run milstore doctor")
    return _Run(*rows[0])


def _runs(con: duckdb.DuckDBPyConnection, store: Store, choice: Choice, *, over_runs: bool) -> tuple[list[_Run], str]:
    """The runs that answer, and how to call them."""
    if choice.run is not None:
        run_id = find_run_id(store, choice.run)
        return [_run(con, run_id)], f"run {run_id}"
    finished = [_Run(*row) for row in con.execute(f"select {_FIELDS} from runs").fetchall()]
    if not finished:
        raise StoreError(f"the store at {store.root} holds no finished run: train one with milstore train --split 1")
    experiment = choice.experiment or max(finished, key=lambda run: (str(run.finished_at), run.run_id)).experiment
    of_experiment = [run for run in finished if run.experiment == experiment]
    if not of_experiment:
        known = {run.experiment for run in finished}
        raise UsageError(f"there is no experiment {experiment!r} with a finished run: {nearest(experiment, known)}")
    if over_runs and choice.seed is None:
        count = f"{len(of_experiment)} run{'s' if len(of_experiment) > 1 else ''}"
        return sorted(of_experiment, key=lambda run: run.run_id), f"experiment {experiment}, {count}"
    seed = _seed(of_experiment, choice.seed)
    return _newest([run for run in of_experiment if run.seed == seed]), f"experiment {experiment}, seed {seed}"


def _seed(runs: list[_Run], asked: int | None) -> int:
    """The seed asked for, else the lowest that is complete, else the lowest of those with most splits."""
    seeds = sorted({run.seed for run in runs})
    if asked is not None:
        if asked not in seeds:
            raise UsageError(f"experiment {runs[0].experiment} has no run of seed {asked}: there is {named(seeds)}")
        return asked
    splits = {seed: {(run.split_set, run.split) for run in runs if run.seed == seed} for seed in seeds}
    complete = [seed for seed in seeds if len(splits[seed]) >= runs[0].n_splits]
    return complete[0] if complete else max(seeds, key=lambda seed: (len(splits[seed]), -seed))


def _newest(runs: list[_Run]) -> list[_Run]:
    """The newest run of each split, in the order of the splits."""
    by_split = {
        (run.split_set, run.split): run for run in sorted(runs, key=lambda run: (str(run.finished_at), run.run_id))
    }
    return [by_split[split] for split in sorted(by_split)]


def _missing_splits(runs: list[_Run]) -> str:
    there = len({(run.split_set, run.split) for run in runs})
    return f"{there} of {runs[0].n_splits} splits" if there < runs[0].n_splits else ""


def _among(runs: list[_Run]) -> str:
    # Literals, so that DuckDB opens the folders of these runs alone.
    return f"run_id in {_listed(run.run_id for run in runs)}"


def _fill(con: duckdb.DuckDBPyConnection, runs: list[_Run], subset: str, cases: tuple[str, ...]) -> None:
    conditions = [_among(runs)]
    if subset != ALL:
        conditions.append(f"subset = {literal(subset)}")
    if cases:
        conditions.append(f"case_id in {_listed(cases)}")
    con.execute(
        "create or replace temp table selection as "
        f"select run_id, case_id, subset from predictions where {' and '.join(conditions)}"
    )


def _listed(texts: Iterable[str]) -> str:
    return f"({', '.join(literal(text) for text in texts)})"


def _add_asked(con: duckdb.DuckDBPyConnection, runs: list[_Run], choice: Choice, cases: tuple[str, ...]) -> list[str]:
    """Take cases that were asked for and are in no test subset from validation, else from training."""
    found = {case for (case,) in con.execute("select distinct case_id from selection").fetchall()}
    missing = [case for case in cases if case not in found]
    if not missing:
        return []
    rows = con.execute(
        f"select case_id, subset, run_id from predictions where {_among(runs)} and case_id in {_listed(missing)}"
    ).fetchall()
    order = {run.run_id: i for i, run in enumerate(runs)}
    places = sorted(rows, key=lambda row: (("test", "val", "train").index(row[1]), order[row[2]]))
    notes = []
    for case in missing:
        mine = [row for row in places if row[0] == case]
        if not mine:
            raise UsageError(_unknown_case(con, case, runs))
        if choice.subset is not None:
            raise UsageError(
                f"case {case} is not in the {choice.subset} subset, but in {mine[0][1]}: say --subset {mine[0][1]}"
            )
        _, subset, run_id = mine[0]
        con.execute(f"insert into selection values {_listed((run_id, case, subset))}")
        whose = "this run's" if len(runs) == 1 else f"run {run_id}'s"
        notes.append(f"case {case} was in {whose} {_SUBSET_WORDS[subset]} subset")
    return notes


def _unknown_case(con: duckdb.DuckDBPyConnection, case: str, runs: list[_Run]) -> str:
    known = [row[0] for row in con.execute(f"select distinct case_id from predictions where {_among(runs)}").fetchall()]
    in_cohort = con.execute(f"select count(*) from cases where case_id = {literal(case)}").fetchall() != [(0,)]
    if in_cohort:
        return f"case {case!r} is in the cohort, but no run that answers has predicted it"
    return f"there is no case {case!r}: {nearest(case, known)}"


def _subset_title(con: duckdb.DuckDBPyConnection, subset: str, *, single: bool) -> str:
    present = [row[0] for row in con.execute("select distinct subset from selection").fetchall()]
    words = [_SUBSET_WORDS[name] for name in SUBSETS if name in present] or [subset]
    return " and ".join(words) + (" subset" if single and len(words) == 1 else " subsets")
