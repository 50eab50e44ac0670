"""Which run answers: the one place that decides, for every question, from which run each case is taken.

The decision becomes the table `selection(run_id, case_id, subset)`, and every query joins it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import duckdb

from milstore.asking.finished import Run, finished_run
from milstore.asking.partial import Needs, label_notes, part_notes, tool_notes
from milstore.asking.repeats import Numbers, further_sets, left_out_repeats, missing_splits
from milstore.asking.run_choice import Choice, Over, choose_runs, every_experiment
from milstore.asking.scored import instead_of_attention, require_score
from milstore.errors import UsageError
from milstore.schema.columns import NEW, SUBSETS
from milstore.store.case_ids import asked_cases
from milstore.store.names import counted, named, natural_key, nearest
from milstore.store.paths import Store
from milstore.store.run_reader import (
    NO_ATTENTION,
    PART_ATTENTION,
)
from milstore.store.sql_text import literal, value
from milstore.store.views import rows_of_cohort, rows_of_runs

__all__ = ["ALL", "Choice", "NoCaseLeft", "Selection", "known_cases", "numbers_of_splits", "select"]

ALL = "all"
_SUBSET_WORDS = {"train": "training", "val": "validation", "test": "test", NEW: "new"}


class NoCaseLeft(UsageError):  # noqa: N818 - what happened, as Interrupted is
    """No case is left that could answer."""


@dataclass(frozen=True)
class Selection:
    """Which runs answer, in words for titles, and what the user must be told."""

    title: str
    """Such as `experiment mil-1a2b3c, seed 0, test subsets, 2 of 5 splits`."""
    runs: tuple[str, ...]
    """Ids of the runs that were chosen."""
    answering: tuple[str, ...]
    """Ids of those from which a case is taken."""
    cases: tuple[str, ...]
    """The cases that were asked for; none means all."""
    notes: list[str] = field(default_factory=list)
    run_names: dict[str, str] = field(default_factory=dict)
    """What people may call each of the runs, such as `split 4 · seed 0`; its id where that does not tell them apart."""
    hidden: frozenset[str] = frozenset()
    """Ids of runs that know too little of their attention for the question, which does without it."""


def select(
    con: duckdb.DuckDBPyConnection,
    store: Store,
    choice: Choice,
    *,
    over_runs: bool = False,
    over_tests: bool = False,
    over_repeats: bool = False,
    over_experiments: bool = False,
    compared: tuple[str, ...] = (),
    needs_attention: bool = False,
    needs_coverage: bool = False,
    needs: Needs | None = None,
) -> Selection:
    """Create the table `selection` on a connection of `store.views`.

    Args:
        con: the connection.
        store: the store it looks at.
        choice: what the user said.
        over_runs: for a question about runs, not about cases. Every run that the choice names answers (all splits and
            seeds of an experiment, unless a seed is said), with all its cases (unless a subset is said).
        over_tests: for a question that counts predictions: a case that several splits hold in test stays in each of them,
            and the question counts it once where it pools them.
        over_repeats: for one that also pools over repeats: every split set and seed that is complete answers, unless a
            seed is said.
        over_experiments: for one that does so for every experiment, unless one is named.
        compared: ids of the runs that answer, where the user named each of them. In place of a run or an experiment.
        needs_attention: for a question that only attention can answer.
        needs_coverage: for a question that counts the patches that a run saw, which another trainer does not say of a case
            without attention.
        needs: what the question needs of attention that is known in part.

    Raises:
        UsageError: the run, experiment, seed, subset or case does not exist, no case is left, or a run that answers has
            no attention, or not the part of it that is needed.
        StoreError: the store holds no finished run.
    """
    _refuse_contradictions(choice, compared)
    single = choice.run is not None or choice.split is not None or choice.prediction is not None or bool(compared)
    numbers = (
        {} if choice.run is not None or choice.prediction is not None or compared else numbers_of_splits(con, store)
    )
    all_runs: list[Run] = []
    newer: list[str] = []
    if compared:
        runs, title = [finished_run(store, run_id) for run_id in compared], f"runs {' and '.join(compared)}"
    elif over_experiments and not single and choice.experiment is None:
        runs, title, all_runs = every_experiment(store, choice, numbers)
    else:
        how = Over(runs=over_runs, repeats=over_repeats)
        runs, title, all_runs = choose_runs(store, choice, numbers, how, newer)
    subset = _subset(choice, runs, over_runs=over_runs)
    cases = known_cases(con, store, choice.cases)
    predictions = rows_of_runs(store, [run.run_id for run in runs], "predictions")
    _fill(con, predictions, subset, choice.group.cases if choice.group else cases)
    notes = newer
    notes += [] if over_repeats else further_sets(all_runs, runs, numbers)
    notes += left_out_repeats(all_runs, runs, numbers, choice.seed) if over_repeats else []
    notes += [] if single or over_runs or over_tests else _once(con, runs)
    notes += _add_asked(con, predictions, runs, choice, cases) if cases else []
    rows = con.execute("select run_id, array_agg(distinct subset) from selection group by run_id").fetchall()
    if choice.subset is not None or not over_runs:
        title += f", {_subset_title({name for _, names in rows for name in names}, subset, single=single)}"
    missing = "" if single or len({run.experiment for run in runs}) > 1 else missing_splits(runs, numbers)
    if missing:
        title += f", {missing}"
        notes.insert(0, f"{runs[0].experiment} has {missing} so far: the others are not in this answer")
    title += f", {choice.group.label}" if choice.group else ""
    if not rows:
        raise NoCaseLeft(f"{title}: no case is in it; choose another --subset")
    notes += _unlabelled(con, predictions, title) if over_tests else []
    _set_largest(con, runs)
    answering = tuple(sorted(run_id for run_id, _ in rows))
    asked = [run for run in runs if run.run_id in answering]
    if needs_attention:
        _require_attention(con, store, asked, needs or Needs(), compared=bool(compared))
        part = [run.run_id for run in asked if run.attention in (PART_ATTENTION, NO_ATTENTION)]
        notes += _leave_out(con, store, part, "attention", "no attention")
    if needs_coverage:
        less = [run.run_id for run in asked if run.attention in (PART_ATTENTION, NO_ATTENTION)]
        notes += _leave_out(con, store, less, "coverage", "no count of patches")
    if choice.score is not None:
        require_score(con, store, list(answering), choice.score)
        has_it = f"name = {literal(choice.score)}"
        notes += _leave_out(con, store, list(answering), "scores", f"no score {choice.score}", has_it)
        title += f", by score {choice.score}"
    said, hidden = part_notes(asked, needs or Needs())
    notes += said + label_notes([(run.run_id, run.own_labels) for run in asked]) + tool_notes(asked)
    return Selection(title, tuple(run.run_id for run in runs), answering, cases, notes, _run_names(runs), hidden)


def _refuse_contradictions(choice: Choice, compared: tuple[str, ...]) -> None:
    """UsageError for a choice that contradicts itself, or names a subset that there is not."""
    if choice.subset is not None and choice.subset not in (*SUBSETS, NEW, ALL):
        raise UsageError(f"there is no subset {choice.subset!r}: use {', '.join(SUBSETS)} or {ALL}")
    if choice.run is not None and choice.experiment is not None:
        raise UsageError("--run and --experiment exclude each other: give one")
    if compared and (choice.run, choice.experiment, choice.seed, choice.split) != (None, None, None, None):
        raise UsageError("the runs to compare are named already: leave out --run, --experiment, --split and --seed")
    if choice.prediction is not None:
        _refuse_beside_prediction(choice, compared)


def _refuse_beside_prediction(choice: Choice, compared: tuple[str, ...]) -> None:
    """Raise UsageError for options that name a run beside --prediction, which names one itself."""
    given = [name for name in ("run", "experiment", "split", "seed") if getattr(choice, name) is not None]
    if given or compared:
        what = f"leave out --{given[0]}" if given else "name no runs to compare"
        raise UsageError(f"--prediction {choice.prediction} says which run answers: {what}")


def _subset(choice: Choice, runs: list[Run], *, over_runs: bool) -> str:
    """Which subset answers: of a prediction its new cases, which are in none. UsageError for one that it cannot have."""
    new = all(run.is_prediction for run in runs)
    if new and choice.subset not in (None, NEW, ALL):
        raise UsageError(
            f"a prediction speaks of new cases, which are in no subset: leave out --subset {choice.subset}"
        )
    if choice.subset == NEW and not new:
        raise UsageError(f"there are {NEW} cases in predictions alone: ask of one by --prediction NAME")
    return choice.subset or (ALL if over_runs else NEW if new else "test")


def _run_names(runs: list[Run]) -> dict[str, str]:
    """A short name of each run, if that is another for each; else their ids."""
    names = {}
    for run in runs:
        parts = [] if run.split is None else [f"split {run.split}"]
        names[run.run_id] = " · ".join(parts + ([] if run.seed is None else [f"seed {run.seed}"])) or run.run_id
    if len({run.split_set for run in runs}) > 1:
        names = {run.run_id: f"{run.split_set} · {names[run.run_id]}" for run in runs if run.split_set} | {
            run.run_id: names[run.run_id] for run in runs if not run.split_set
        }
    return names if len(set(names.values())) == len(names) else {run.run_id: run.run_id for run in runs}


def known_cases(con: duckdb.DuckDBPyConnection, store: Store, asked: tuple[str, ...]) -> tuple[str, ...]:
    """The ids of the cases that were asked for, each once, spelled as the store spells them."""
    if not asked:
        return ()
    rows = con.execute(f"select case_id from {rows_of_cohort(store, 'cases')}").fetchall()
    return asked_cases((case_id for (case_id,) in rows), asked)


def _require_attention(
    con: duckdb.DuckDBPyConnection, store: Store, runs: list[Run], needs: Needs, *, compared: bool
) -> None:
    """UsageError if there is a run without attention. Of another tool's runs some may have been looked at and others not:
    then the cases of these are left out, unless it is these runs that are compared.
    """
    without = [run for run in runs if run.attention == NO_ATTENTION]
    some = len(without) < len(runs) and all(run.by for run in without) and not compared
    if without and not some:
        others = f", like {len(without) - 1} others" if len(without) > 1 else ""
        model = f" (model {without[0].model})" if without[0].model else ""
        by = without[0].by
        why = f"{by} left none where its run was taken from" if by else "no patch was weighed"
        raise UsageError(
            f"run {without[0].run_id}{model}{others} has no attention: {why}, so there "
            "is no answer to this question; ask of a run of a model that attends (milstore models)"
            f"{instead_of_attention(con, store, without[0].run_id, takes_scores=needs.takes_scores)}"
        )


def _unlabelled(con: duckdb.DuckDBPyConnection, predictions: str, title: str) -> list[str]:
    """What is said of cases without a label, which nobody can count right or wrong. UsageError if there are no others."""
    rows = con.execute(
        f"select case_id, bool_or(true_label is not null) from selection join {predictions} as said using (run_id, case_id) "
        "group by case_id"
    ).fetchall()
    without = sorted((case_id for case_id, labelled in rows if not labelled), key=natural_key)
    if without and len(without) == len(rows):
        raise NoCaseLeft(f"{title}: no case of it had a label when it was predicted, so there is nothing to count")
    return [f"without a label, and not counted: {counted(len(without), 'case')} ({named(without)})"] if without else []


def _leave_out(
    con: duckdb.DuckDBPyConnection, store: Store, run_ids: list[str], table: str, what: str, where: str = "true"
) -> list[str]:
    """Leave out the cases of which these runs have no such row in a table. Returns a note that names them.

    Raises UsageError if no case is left.
    """
    if not run_ids:
        return []
    without = con.execute(
        f"delete from selection where run_id in {_listed(run_ids)} and (run_id, case_id) not in "
        f"(select distinct (run_id, case_id) from {rows_of_runs(store, run_ids, table)} where {where}) "
        "returning case_id, run_id"
    ).fetchall()
    if not without:
        return []
    cases = sorted({case_id for case_id, _ in without}, key=natural_key)
    whose = sorted({run_id for _, run_id in without})
    one = f"run {whose[0]} has" if len(whose) == 1 else f"runs {named(whose)} have"
    said = f"{one} {what} of {counted(len(cases), 'case')} ({named(cases)})"
    if con.execute("select count(*) from selection").fetchall() == [(0,)]:
        raise NoCaseLeft(f"{said}, so there is no answer to this question")
    return [f"{said}: not in this answer"]


def _set_largest(con: duckdb.DuckDBPyConnection, runs: list[Run]) -> None:
    """The variable `largest_case`: the most patches that a case can have here, null if that is not known."""
    sizes = [run.largest_case for run in runs]
    con.execute(f"set variable largest_case = {value(None if None in sizes else max(filter(None, sizes), default=0))}")


def _once(con: duckdb.DuckDBPyConnection, runs: list[Run]) -> list[str]:
    """Take a case that several splits hold in test from the lowest of them, and name the others."""
    order = ", ".join(f"({literal(run.run_id)}, {i}, {value(run.split)})" for i, run in enumerate(runs))
    doubles = con.execute(
        "select case_id, list(split order by position), list(run_id order by position) from selection "
        f"join (values {order}) as runs(run_id, position, split) using (run_id) where subset = 'test' "
        "group by case_id having count(*) > 1 order by case_id"
    ).fetchall()
    if not doubles:
        return []
    con.executemany(
        "delete from selection where case_id = ? and run_id = ?",
        [(case_id, run_id) for case_id, _, (_, *others) in doubles for run_id in others],
    )
    named_cases = [f"{case_id} (also in {named(splits[1:])})" for case_id, splits, _ in doubles]
    return [f"in test in several splits, and taken from the lowest: {named(named_cases)}"]


def numbers_of_splits(con: duckdb.DuckDBPyConnection, store: Store) -> Numbers:
    """The numbers of the splits of each split set."""
    source = rows_of_cohort(store, "splits")
    rows = con.execute(f"select split_set, list(distinct split) from {source} group by split_set").fetchall()
    return {split_set: set(splits) for split_set, splits in rows}


def _fill(con: duckdb.DuckDBPyConnection, predictions: str, subset: str, cases: tuple[str, ...]) -> None:
    conditions = ["true"]
    if subset != ALL:
        conditions.append(f"subset = {literal(subset)}")
    if cases:
        conditions.append(f"case_id in {_listed(cases)}")
    con.execute(
        "create or replace temp table selection as "
        f"select run_id, case_id, subset from {predictions} where {' and '.join(conditions)}"
    )


def _listed(texts: Iterable[str]) -> str:
    return f"({', '.join(literal(text) for text in texts)})"


def _add_asked(
    con: duckdb.DuckDBPyConnection, predictions: str, runs: list[Run], choice: Choice, cases: tuple[str, ...]
) -> list[str]:
    """Take cases that were asked for and are in no test subset from validation, else from training."""
    found = {case for (case,) in con.execute("select distinct case_id from selection").fetchall()}
    missing = [case for case in cases if case not in found]
    if not missing:
        return []
    rows = con.execute(
        f"select case_id, subset, run_id from {predictions} where case_id in {_listed(missing)}"
    ).fetchall()
    order = {run.run_id: i for i, run in enumerate(runs)}
    places = sorted(rows, key=lambda row: (("test", "val", "train", NEW).index(row[1]), order[row[2]]))
    notes = []
    for case in missing:
        mine = [row for row in places if row[0] == case]
        if not mine:
            raise UsageError(_unknown_case(con, predictions, case))
        if choice.subset is not None:
            raise UsageError(
                f"case {case} is not in the {choice.subset} subset, but in {mine[0][1]}: say --subset {mine[0][1]}"
            )
        _, subset, run_id = mine[0]
        con.execute(f"insert into selection values {_listed((run_id, case, subset))}")
        whose = "this run's" if len(runs) == 1 else f"run {run_id}'s"
        notes.append(f"case {case} was in {whose} {_SUBSET_WORDS[subset]} subset")
    return notes


def _unknown_case(con: duckdb.DuckDBPyConnection, predictions: str, case: str) -> str:
    known = [row[0] for row in con.execute(f"select distinct case_id from {predictions}").fetchall()]
    in_cohort = con.execute(f"select count(*) from cases where case_id = {literal(case)}").fetchall() != [(0,)]
    if in_cohort:
        return f"case {case!r} is in the cohort, but no run that answers has predicted it"
    return f"there is no case {case!r}: {nearest(case, known)}"


def _subset_title(present: set[str], subset: str, *, single: bool) -> str:
    if NEW in (present or {subset}):
        return "new cases"
    words = [_SUBSET_WORDS[name] for name in SUBSETS if name in present] or [subset]
    return " and ".join(words) + (" subset" if single and len(words) == 1 else " subsets")
