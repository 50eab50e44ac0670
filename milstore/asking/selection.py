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
from milstore.store.case_ids import asked_cases
from milstore.store.names import counted, named, natural_key, nearest
from milstore.store.paths import Store
from milstore.store.run_reader import (
    KNOWN,
    NO_ATTENTION,
    OWN_LABELS,
    PART_ATTENTION,
    find_run_id,
    fitting_run_ids,
    run_ids,
)
from milstore.store.verified import verified_run
from milstore.store.views import literal, rows_of_cohort, rows_of_runs, value

ALL = "all"
Numbers = dict[str, set[int]]
"""The numbers of the splits of each split set."""
_SUBSET_WORDS = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What the user said of the run that should answer."""

    run: str | None = None
    """A run id, or a part of one that no other has; with `split` or `seed` among the runs of these."""
    experiment: str | None = None
    """An experiment: each case from its run that held the case in test."""
    seed: int | None = None
    """The seed, where the experiment has several."""
    split: int | None = None
    """The split: the run of the experiment that was trained on it answers, as if it were named."""
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
    run_names: dict[str, str] = field(default_factory=dict)
    """What people may call each of the runs, such as `split 4 · seed 0`; its id where that does not tell them apart."""
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
    over_repeats: bool = False,
    over_experiments: bool = False,
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
    if choice.subset is not None and choice.subset not in (*SUBSETS, ALL):
        raise UsageError(f"there is no subset {choice.subset!r}: use {', '.join(SUBSETS)} or {ALL}")
    if choice.run is not None and choice.experiment is not None:
        raise UsageError("--run and --experiment exclude each other: give one")
    if compared and (choice.run, choice.experiment, choice.seed, choice.split) != (None, None, None, None):
        raise UsageError("the runs to compare are named already: leave out --run, --experiment, --split and --seed")
    single = choice.run is not None or choice.split is not None or bool(compared)
    numbers = {} if choice.run is not None or compared else _numbers(con, store)
    all_runs: list[_Run] = []
    newer: list[str] = []
    if compared:
        runs, title = [_run(store, run_id) for run_id in compared], f"runs {' and '.join(compared)}"
    elif over_experiments and not single and choice.experiment is None:
        runs, title, all_runs = _every_experiment(store, choice, numbers)
    else:
        how = _Over(runs=over_runs, repeats=over_repeats)
        runs, title, all_runs = _runs(store, choice, numbers, how, newer)
    subset = choice.subset or (ALL if over_runs else "test")
    cases = known_cases(con, store, choice.cases)
    predictions = rows_of_runs(store, [run.run_id for run in runs], "predictions")
    _fill(con, predictions, subset, cases)
    notes = newer
    notes += [] if over_repeats else _further_sets(all_runs, runs, numbers)
    notes += _left_out_repeats(all_runs, runs, numbers, choice.seed) if over_repeats else []
    notes += [] if single or over_runs or over_tests else _once(con, runs)
    notes += _add_asked(con, predictions, runs, choice, cases) if cases else []
    rows = con.execute("select run_id, array_agg(distinct subset) from selection group by run_id").fetchall()
    if choice.subset is not None or not over_runs:
        title += f", {_subset_title({name for _, names in rows for name in names}, subset, single=single)}"
    missing = "" if single or len({run.experiment for run in runs}) > 1 else _missing_splits(runs, numbers)
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
    return Selection(title, tuple(run.run_id for run in runs), answering, cases, notes, _run_names(runs), hidden)


def _run_names(runs: list[_Run]) -> dict[str, str]:
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
    """The cases that somebody asks for, each once, as the store has them, whatever their spelling."""
    if not asked:
        return ()
    rows = con.execute(f"select case_id from {rows_of_cohort(store, 'cases')}").fetchall()
    return asked_cases((case_id for (case_id,) in rows), asked)


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
    facts = verified_run(store, run_id)
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


class _Over(NamedTuple):
    """What a question is over, beside cases."""

    runs: bool
    repeats: bool


def _runs(
    store: Store, choice: Choice, numbers: Numbers, over: _Over, newer: list[str]
) -> tuple[list[_Run], str, list[_Run]]:
    """The runs that answer, how to call them, and all runs of their experiment. `newer` is given what to say of others."""
    if choice.run is not None:
        run = _named_run(store, choice)
        return [run], f"run {run.run_id}", []
    finished = _finished(store)
    if not finished:
        raise StoreError(f"the store at {store.root} holds no finished run: train one with milstore train --split 1")
    experiment = choice.experiment or _newest_complete(finished, numbers, newer)
    of_experiment = [run for run in finished if run.experiment == experiment]
    if not of_experiment:
        known = {run.experiment for run in finished}
        raise UsageError(f"there is no experiment {experiment!r} with a finished run: {nearest(experiment, known)}")
    if choice.split is not None:
        each_seed = over.runs or over.repeats
        chosen = _of_split(of_experiment, choice, numbers, over_runs=each_seed)
        seed = None if each_seed and choice.seed is None else chosen[0].seed
        return chosen, _title(experiment, choice.split, seed), []
    if over.repeats:
        chosen = _repeats(of_experiment, choice.seed, numbers)
        return chosen, _repeats_title(experiment, chosen), of_experiment
    if over.runs and choice.seed is None:
        # What is not finished of a further split set is not mixed with what is.
        whole = [run for run in of_experiment if _answers(run.split_set, of_experiment, numbers)]
        count = f"{len(whole)} run{'s' if len(whole) > 1 else ''}"
        return sorted(whole, key=lambda run: run.run_id), f"experiment {experiment}, {count}", of_experiment
    first = [run for run in of_experiment if run.split_set == _first_set(of_experiment, numbers)]
    seed = _seed(first, choice.seed, numbers)
    chosen = _newest([run for run in first if run.seed == seed])
    return chosen, _title(experiment, None, seed), of_experiment


def _title(experiment: str, split: int | None, seed: int | None) -> str:
    parts = [f"experiment {experiment}"]
    parts += [] if split is None else [f"split {split}"]
    return ", ".join(parts + ([] if seed is None else [f"seed {seed}"]))


def _named_run(store: Store, choice: Choice) -> _Run:
    """The run that is named, whole or by a part; of several that fit, the one of the split and the seed."""
    given = {name: number for name in ("split", "seed") if (number := getattr(choice, name)) is not None}
    if not given:
        return _run(store, find_run_id(store, choice.run or ""))
    fitting = fitting_run_ids(choice.run or "", run_ids(store)) or [find_run_id(store, choice.run or "")]
    found = [run for each in fitting if all(getattr(run := _run(store, each), n) == v for n, v in given.items())]
    if len(found) == 1:
        return found[0]
    words = " and ".join(f"{name} {number}" for name, number in given.items())
    if not found:
        raise UsageError(f"no run that {choice.run!r} fits is of {words}: it fits {named(fitting)}")
    raise UsageError(f"run {choice.run!r} of {words} is ambiguous: it may be {named(run.run_id for run in found)}")


def _of_split(runs: list[_Run], choice: Choice, numbers: Numbers, *, over_runs: bool) -> list[_Run]:
    """The run of a split of an experiment; for a question about runs, that of each seed, unless a seed is asked for."""
    first = [run for run in runs if run.split_set == _first_set(runs, numbers)]
    if choice.seed is not None:
        _seed(first, choice.seed, numbers)
    found = [run for run in first if run.split == choice.split and choice.seed in (None, run.seed)]
    if not found:
        there = sorted({run.split for run in first if choice.seed in (None, run.seed)}, key=_number)
        what = "" if choice.seed is None else f", seed {choice.seed}"
        raise UsageError(
            f"{runs[0].experiment} has no finished run of split {choice.split}{what}: it has {named(there)}"
        )
    by_seed = {run.seed: run for run in sorted(found, key=lambda run: (run.finished_at, run.run_id))}
    usual = _seed(first, choice.seed, numbers)
    seeds = sorted(by_seed, key=_number)
    return [by_seed[seed] for seed in seeds] if over_runs else [by_seed[usual if usual in by_seed else seeds[0]]]


def _newest_complete(finished: list[_Run], numbers: Numbers, newer: list[str]) -> str:
    """The newest experiment that is complete: that has every split of its first split set, by one seed.

    `newer` is given what to say of those that are newer. Where none is complete, the newest answers with what it has.
    """
    of_experiment: dict[str, list[_Run]] = {}
    for run in sorted(finished, key=lambda run: (run.finished_at, run.run_id)):
        # The last of all is the one with the last run.
        of_experiment[run.experiment] = [*of_experiment.pop(run.experiment, []), run]
    newest_first = list(reversed(of_experiment))
    begun = {name: _begun(of_experiment[name], numbers) for name in newest_first}
    chosen = next((name for name in newest_first if not begun[name]), newest_first[0])
    unfinished = newest_first[: newest_first.index(chosen)]
    if unfinished:
        said = [f"{name} ({begun[name]})" for name in unfinished]
        are = "is newer and not complete" if len(said) == 1 else "are newer and not complete"
        newer.append(f"{named(said)} {are}: --experiment {unfinished[0]} asks of it")
    return chosen


def _begun(runs: list[_Run], numbers: Numbers) -> str:
    """What an experiment has of its first split set, such as `2 of 5 splits`; nothing where it has all."""
    first = [run for run in runs if run.split_set == _first_set(runs, numbers)]
    trained = [_trained([run for run in first if run.seed == seed], numbers) for seed in {run.seed for run in first}]
    there, of = max(trained, key=lambda each: each[0] - each[1])
    return f"{there} of {of} splits" if there < of else ""


_Repeat = tuple[str | None, int | None]
"""A split set and a seed: what an experiment may do again."""


def _by_repeat(runs: list[_Run]) -> dict[_Repeat, list[_Run]]:
    """The newest run of each split of each repeat, in natural order of the split sets, then of the seeds."""
    found: dict[_Repeat, list[_Run]] = {}
    for run in runs:
        found.setdefault((run.split_set, run.seed), []).append(run)
    keys = sorted(found, key=lambda key: (_set_order(key[0]), _number(key[1])))
    return {key: _newest(found[key]) for key in keys}


def _set_order(split_set: str | None) -> tuple[bool, object]:
    """A split set to sort by: natural order, and what has none behind all that have."""
    return split_set is None, natural_key(split_set or "")


def _first_set(runs: list[_Run], numbers: Numbers) -> str | None:
    """The split set that answers questions about cases: the first in natural order that is complete, else the first."""
    repeats = _by_repeat(runs)
    complete = [split_set for (split_set, _), own in repeats.items() if not _missing_splits(own, numbers)]
    return (complete or [split_set for split_set, _ in repeats])[0]


def _repeats(runs: list[_Run], seed: int | None, numbers: Numbers) -> list[_Run]:
    """The runs of every repeat that is complete, of one seed if one is asked for; else those of the one with most."""
    if seed is not None:
        _seed(runs, seed, numbers)
    repeats = [own for (_, of), own in _by_repeat(runs).items() if seed in (None, of)]
    complete = [own for own in repeats if not _missing_splits(own, numbers)]
    return [run for own in complete or [max(repeats, key=len)] for run in own]


def _repeats_title(experiment: str, runs: list[_Run]) -> str:
    repeats = _by_repeat(runs)
    if len(repeats) == 1:
        (_, seed) = next(iter(repeats))
        return f"experiment {experiment}" if seed is None else f"experiment {experiment}, seed {seed}"
    sets, seeds = ({key[i] for key in repeats} for i in (0, 1))
    parts = [counted(len(sets), "split set")] * (len(sets) > 1) + [counted(len(seeds), "seed")] * (len(seeds) > 1)
    return f"experiment {experiment}, {counted(len(runs), 'run')} of {' and '.join(parts)}"


def _left_out_repeats(all_runs: list[_Run], runs: list[_Run], numbers: Numbers, seed: int | None) -> list[str]:
    """What is said of the repeats of the experiments that answer which are not complete."""
    notes = []
    for experiment in dict.fromkeys(run.experiment for run in runs):
        there = {(run.split_set, run.seed) for run in runs if run.experiment == experiment}
        several = len({run.seed for run in all_runs if run.experiment == experiment}) > 1
        for key, own in _by_repeat([run for run in all_runs if run.experiment == experiment]).items():
            if key not in there and seed in (None, key[1]):
                what = f"{_missing_splits(own, numbers)} of split set {key[0]}" + f", seed {key[1]}" * several
                notes.append(f"{experiment} also has {what}: not in this answer")
    return notes


def _every_experiment(store: Store, choice: Choice, numbers: Numbers) -> tuple[list[_Run], str, list[_Run]]:
    """The runs of the complete repeats of every experiment, how to call them, and all runs."""
    finished = _finished(store)
    if not finished:
        raise StoreError(f"the store at {store.root} holds no finished run: train one with milstore train --split 1")
    names = sorted({run.experiment for run in finished}, key=natural_key)
    of_name = {name: [run for run in finished if run.experiment == name] for name in names}
    if choice.seed is not None:
        of_name = {name: own for name, own in of_name.items() if choice.seed in {run.seed for run in own}}
        if not of_name:
            raise UsageError(f"no experiment has a finished run of seed {choice.seed}")
    chosen = [run for own in of_name.values() for run in _repeats(own, choice.seed, numbers)]
    return chosen, counted(len(of_name), "experiment"), finished


def _answers(split_set: str | None, runs: list[_Run], numbers: Numbers) -> bool:
    """Whether runs of a split set are shown with others: those of the first, and of further ones that are complete."""
    repeats = _by_repeat([run for run in runs if run.split_set == split_set])
    complete = any(not _missing_splits(own, numbers) for own in repeats.values())
    return complete or split_set == _first_set(runs, numbers)


def _further_sets(all_runs: list[_Run], runs: list[_Run], numbers: Numbers) -> list[str]:
    """What is said of the split sets of an experiment whose runs do not answer."""
    answering = {run.split_set for run in runs}
    whole, notes = [], []
    for split_set in sorted({run.split_set for run in all_runs} - answering, key=_set_order):
        repeats = _by_repeat([run for run in all_runs if run.split_set == split_set]).values()
        missing = min(_missing_splits(own, numbers) for own in repeats)
        if split_set is not None and not missing:
            whole.append(split_set)
        else:
            what = f"{missing} of split set {split_set}" if split_set else "a run without splits"
            notes.append(f"{runs[0].experiment} also has {what}: not in this answer")
    if whole:
        sets = f"split set {whole[0]}" if len(whole) == 1 else f"the split sets {named(whole)}"
        notes.insert(0, f"{runs[0].experiment} also has every split of {sets}: not in this answer")
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
