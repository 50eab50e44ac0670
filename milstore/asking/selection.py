"""Which run answers: the one place that decides, for every question, from which run each case is taken.

The decision becomes the table `selection(run_id, case_id, subset)`, and every query joins it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import duckdb

from milstore.asking.partial import Needs, label_notes, part_notes
from milstore.errors import StoreError, UsageError
from milstore.schema.columns import SUBSETS
from milstore.store.names import counted, named, natural_key, nearest, normal_case_id
from milstore.store.paths import Store
from milstore.store.run_reader import (
    KNOWN,
    NO_ATTENTION,
    OWN_LABELS,
    PART_ATTENTION,
    find_run_id,
    read_run,
    run_ids,
)
from milstore.store.views import literal, rows_of_cohort, rows_of_runs, value

ALL = "all"
Numbers = dict[str, set[int]]
"""The numbers of the splits of each split set."""
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
    """Ids of the runs that were chosen."""
    answering: tuple[str, ...]
    """Ids of those from which a case is taken."""
    cases: tuple[str, ...]
    """The cases that were asked for; none means all."""
    notes: list[str] = field(default_factory=list)
    hidden: frozenset[str] = frozenset()
    """Ids of runs that know too little of their attention for the question, which does without it."""


class _Run(NamedTuple):
    run_id: str
    experiment: str
    split_set: str | None
    split: int | None
    n_splits: int | None
    seed: int | None
    """These are None of a run without splits, and of one that does not say its seed."""
    finished_at: str
    largest_case: int | None
    """Patches of its largest case; None if it does not say."""
    model: str
    """What model it is of; empty if it does not say."""
    attention: str
    """What it has of attention: levels, patches, part or none."""
    known: Mapping[str, Any] | None
    """What it knows of attention, where that is a part of its cases' patches."""
    own_labels: tuple[str, ...]
    """Cases of which it keeps labels that the store contradicts."""


_OF_RUN = ("run_id", "experiment", "split_set", "split", "n_splits", "seed", "finished_at")


def select(
    con: duckdb.DuckDBPyConnection,
    store: Store,
    choice: Choice,
    *,
    over_runs: bool = False,
    over_tests: bool = False,
    compared: tuple[str, ...] = (),
    needs_attention: bool = False,
    needs_coverage: bool = False,
    needs: Needs | None = None,
) -> Selection:
    """Make the table `selection` on a connection of the lens.

    Args:
        con: the connection.
        store: the store it looks at.
        choice: what the user said.
        over_runs: for a question about runs, not about cases. Every run that the choice names answers (all splits and
            seeds of an experiment, unless a seed is said), with all its cases (unless a subset is said).
        over_tests: for a question that counts predictions: a case that several splits hold in test stays in each of them,
            and the question counts it once where it pools them.
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
    if choice.subset is not None and choice.subset not in (*SUBSETS, ALL):
        raise UsageError(f"there is no subset {choice.subset!r}: use {', '.join(SUBSETS)} or {ALL}")
    if choice.run is not None and choice.experiment is not None:
        raise UsageError("--run and --experiment exclude each other: give one")
    if compared and (choice.run, choice.experiment, choice.seed) != (None, None, None):
        raise UsageError("the runs to compare are named already: leave out --run, --experiment and --seed")
    single = choice.run is not None or bool(compared)
    numbers = {} if single else _numbers(con, store)
    all_runs: list[_Run] = []
    if compared:
        runs, title = [_run(store, run_id) for run_id in compared], f"runs {' and '.join(compared)}"
    else:
        runs, title, all_runs = _runs(store, choice, numbers, over_runs=over_runs)
    subset = choice.subset or (ALL if over_runs else "test")
    cases = tuple(dict.fromkeys(normal_case_id(case) for case in choice.cases))
    predictions = rows_of_runs(store, [run.run_id for run in runs], "predictions")
    _fill(con, predictions, subset, cases)
    notes = _further_sets(all_runs, runs, numbers) if all_runs else []
    notes += [] if single or over_runs or over_tests else _once(con, runs)
    notes += _add_asked(con, predictions, runs, choice, cases) if cases else []
    rows = con.execute("select run_id, array_agg(distinct subset) from selection group by run_id").fetchall()
    if choice.subset is not None or not over_runs:
        title += f", {_subset_title({name for _, names in rows for name in names}, subset, single=single)}"
    missing = "" if single else _missing_splits(runs, numbers)
    if missing:
        title += f", {missing}"
        notes.insert(0, f"{runs[0].experiment} has {missing} so far: the others are not in this answer")
    if not rows:
        raise UsageError(f"{title}: no case is in it; choose another --subset")
    notes += _unlabelled(con, predictions, title) if over_tests else []
    _set_largest(con, runs)
    answering = tuple(sorted(run_id for run_id, _ in rows))
    asked = [run for run in runs if run.run_id in answering]
    if needs_attention:
        _require_attention(asked)
        part = [run.run_id for run in asked if run.attention == PART_ATTENTION]
        notes += _leave_out(con, store, part, "attention", "no attention")
    if needs_coverage:
        less = [run.run_id for run in asked if run.attention in (PART_ATTENTION, NO_ATTENTION)]
        notes += _leave_out(con, store, less, "coverage", "no count of patches")
    said, hidden = part_notes(asked, needs or Needs())
    notes += said + label_notes([(run.run_id, run.own_labels) for run in asked])
    return Selection(title, tuple(run.run_id for run in runs), answering, cases, notes, hidden)


def _require_attention(runs: list[_Run]) -> None:
    """UsageError if there is a run without attention."""
    without = [run for run in runs if run.attention == NO_ATTENTION]
    if without:
        others = f", like {len(without) - 1} others" if len(without) > 1 else ""
        model = f" (model {without[0].model})" if without[0].model else ""
        raise UsageError(
            f"run {without[0].run_id}{model}{others} has no attention: no patch was weighed, so there "
            "is no answer to this question; ask of a run of a model that attends (milstore models)"
        )


def _unlabelled(con: duckdb.DuckDBPyConnection, predictions: str, title: str) -> list[str]:
    """What is said of cases without a label, which nobody can count right or wrong. UsageError if there are no others."""
    rows = con.execute(
        f"select case_id, bool_or(true_label is not null) from selection join {predictions} as said using (run_id, case_id) "
        "group by case_id"
    ).fetchall()
    without = sorted((case_id for case_id, labelled in rows if not labelled), key=natural_key)
    if without and len(without) == len(rows):
        raise UsageError(f"{title}: no case of it had a label when it was predicted, so there is nothing to count")
    return [f"without a label, and not counted: {counted(len(without), 'case')} ({named(without)})"] if without else []


def _leave_out(con: duckdb.DuckDBPyConnection, store: Store, run_ids: list[str], table: str, what: str) -> list[str]:
    """Leave the cases out of which these runs have no row in a table, in words. UsageError if no case is left."""
    if not run_ids:
        return []
    without = con.execute(
        f"delete from selection where run_id in {_listed(run_ids)} and (run_id, case_id) not in "
        f"(select distinct (run_id, case_id) from {rows_of_runs(store, run_ids, table)}) returning case_id, run_id"
    ).fetchall()
    if not without:
        return []
    cases = sorted({case_id for case_id, _ in without}, key=natural_key)
    whose = sorted({run_id for _, run_id in without})
    one = f"run {whose[0]} has" if len(whose) == 1 else f"runs {named(whose)} have"
    said = f"{one} {what} of {counted(len(cases), 'case')} ({named(cases)})"
    if con.execute("select count(*) from selection").fetchall() == [(0,)]:
        raise UsageError(f"{said}, so there is no answer to this question")
    return [f"{said}: not in this answer"]


def _set_largest(con: duckdb.DuckDBPyConnection, runs: list[_Run]) -> None:
    """The variable `largest_case`: the most patches that a case can have here, null if that is not known."""
    sizes = [run.largest_case for run in runs]
    con.execute(f"set variable largest_case = {value(None if None in sizes else max(filter(None, sizes), default=0))}")


def _run(store: Store, run_id: str) -> _Run:
    facts = read_run(store, run_id)
    try:
        largest = facts["files"]["attention.parquet"].get("largest_case")
        run = _Run(
            **{name: facts[name] for name in _OF_RUN},
            largest_case=largest,
            model=facts.get("model") or "",
            attention=facts.get("attention") or "levels",
            known=facts.get(KNOWN),
            own_labels=tuple(facts.get(OWN_LABELS) or ()),
        )
        return run._replace(finished_at=_in_utc(run.finished_at))
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"run {run_id} has no readable run.json ({error}): run milstore doctor") from error


def _in_utc(text: str) -> str:
    """A time as text that sorts as time does."""
    time = datetime.fromisoformat(text)
    return (time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)).isoformat(timespec="microseconds")


def _finished(store: Store) -> list[_Run]:
    """Every finished run. Their files are small: two thousand are read in a tenth of a second."""
    found = []
    for run_id in run_ids(store):
        try:
            found.append(_run(store, run_id))
        except StoreError:
            # Deleted while we looked, or damaged.
            if store.run_folder(run_id).exists():
                raise
    return found


def _runs(store: Store, choice: Choice, numbers: Numbers, *, over_runs: bool) -> tuple[list[_Run], str, list[_Run]]:
    """The runs that answer, how to call them, and all runs of their experiment."""
    if choice.run is not None:
        run_id = find_run_id(store, choice.run)
        return [_run(store, run_id)], f"run {run_id}", []
    finished = _finished(store)
    if not finished:
        raise StoreError(f"the store at {store.root} holds no finished run: train one with milstore train --split 1")
    experiment = choice.experiment or max(finished, key=lambda run: (run.finished_at, run.run_id)).experiment
    of_experiment = [run for run in finished if run.experiment == experiment]
    if not of_experiment:
        known = {run.experiment for run in finished}
        raise UsageError(f"there is no experiment {experiment!r} with a finished run: {nearest(experiment, known)}")
    if over_runs and choice.seed is None:
        # What is not finished of a further split set is not mixed with what is.
        whole = [run for run in of_experiment if _answers(run.split_set, of_experiment, numbers)]
        count = f"{len(whole)} run{'s' if len(whole) > 1 else ''}"
        return sorted(whole, key=lambda run: run.run_id), f"experiment {experiment}, {count}", of_experiment
    first = [run for run in of_experiment if run.split_set == _first_set(of_experiment)]
    seed = _seed(first, choice.seed, numbers)
    chosen = _newest([run for run in first if run.seed == seed])
    title = f"experiment {experiment}" if seed is None else f"experiment {experiment}, seed {seed}"
    return chosen, title, of_experiment


def _first_set(runs: list[_Run]) -> str | None:
    """The split set that an experiment began with: when it has all of that one, it is complete."""
    return min(runs, key=lambda run: (run.finished_at, run.run_id)).split_set


def _answers(split_set: str | None, runs: list[_Run], numbers: Numbers) -> bool:
    """Whether runs of a split set are pooled with others: those of the first, and of further ones that are complete."""
    of_set = [run for run in runs if run.split_set == split_set]
    seeds = {run.seed for run in of_set}
    return split_set == _first_set(runs) or any(
        not _missing_splits([run for run in of_set if run.seed == seed], numbers) for seed in seeds
    )


def _further_sets(all_runs: list[_Run], runs: list[_Run], numbers: Numbers) -> list[str]:
    """What is said of the split sets of an experiment whose runs do not answer."""
    answering = {run.split_set for run in runs}
    notes = []
    for split_set in sorted({run.split_set for run in all_runs} - answering, key=_text):
        of_set = [run for run in all_runs if run.split_set == split_set]
        missing = min(_missing_splits([r for r in of_set if r.seed == s], numbers) for s in {r.seed for r in of_set})
        what = f"{missing or 'every split'} of split set {split_set}" if split_set else "a run without splits"
        notes.append(f"{runs[0].experiment} also has {what}: not in this answer")
    return notes


def _text(name: str | None) -> str:
    """A name to sort by; nothing for None."""
    return name or ""


def _once(con: duckdb.DuckDBPyConnection, runs: list[_Run]) -> list[str]:
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


def _seed(runs: list[_Run], asked: int | None, numbers: Numbers) -> int | None:
    """The seed asked for, else the lowest that is complete, else the lowest of those with most splits."""
    seeds = sorted({run.seed for run in runs}, key=_number)
    if asked is not None:
        if asked not in seeds:
            raise UsageError(f"experiment {runs[0].experiment} has no run of seed {asked}: there is {named(seeds)}")
        return asked
    trained = {seed: _trained([run for run in runs if run.seed == seed], numbers) for seed in seeds}
    complete = [seed for seed, (there, of) in trained.items() if there == of]
    return complete[0] if complete else max(seeds, key=lambda seed: (trained[seed][0], -_number(seed)))


def _number(number: int | None) -> int:
    """A number to sort by; None comes before all that there are."""
    return -1 if number is None else number


def _newest(runs: list[_Run]) -> list[_Run]:
    """The newest run of each split, in the order of the splits."""
    by_split = {(run.split_set, run.split): run for run in sorted(runs, key=lambda run: (run.finished_at, run.run_id))}
    return [by_split[key] for key in sorted(by_split, key=lambda key: (_text(key[0]), _number(key[1])))]


def _missing_splits(runs: list[_Run], numbers: Numbers) -> str:
    there, of = _trained(runs, numbers)
    return f"{there} of {of} splits" if there < of else ""


def _trained(runs: list[_Run], numbers: Numbers) -> tuple[int, int]:
    """How many of the splits have a run, and how many splits the runs' split sets have."""
    there = of = 0
    for split_set, n_splits in {run.split_set: run.n_splits for run in runs}.items():
        if split_set is None or n_splits is None:
            # A run without splits is all that there is to it.
            there, of = there + 1, of + 1
            continue
        own = {run.split for run in runs if run.split_set == split_set and run.split is not None}
        now = numbers.get(split_set, set())
        # A split set that has become larger or smaller since, or is gone, cannot say which its numbers were.
        there += min(len(own & now if len(now) == n_splits else own), n_splits)
        of += n_splits
    return there, of


def _numbers(con: duckdb.DuckDBPyConnection, store: Store) -> Numbers:
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
    con: duckdb.DuckDBPyConnection, predictions: str, runs: list[_Run], choice: Choice, cases: tuple[str, ...]
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
    places = sorted(rows, key=lambda row: (("test", "val", "train").index(row[1]), order[row[2]]))
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
    words = [_SUBSET_WORDS[name] for name in SUBSETS if name in present] or [subset]
    return " and ".join(words) + (" subset" if single and len(words) == 1 else " subsets")
