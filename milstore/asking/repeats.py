"""What an experiment did again: its runs by split set and seed, which of these are complete, and which answer."""

from milstore.asking.finished import Run, number_order, text_order
from milstore.errors import UsageError
from milstore.store.names import counted, named, natural_key

Numbers = dict[str, set[int]]
"""The numbers of the splits of each split set."""
Repeat = tuple[str | None, int | None]
"""A split set and a seed: what an experiment may do again."""


def by_repeat(runs: list[Run]) -> dict[Repeat, list[Run]]:
    """The newest run of each split of each repeat, in natural order of the split sets, then of the seeds."""
    found: dict[Repeat, list[Run]] = {}
    for run in runs:
        found.setdefault((run.split_set, run.seed), []).append(run)
    keys = sorted(found, key=lambda key: (_set_order(key[0]), number_order(key[1])))
    return {key: newest_of_each(found[key]) for key in keys}


def _set_order(split_set: str | None) -> tuple[bool, object]:
    """A split set to sort by: natural order, and what has none behind all that have."""
    return split_set is None, natural_key(split_set or "")


def first_set(runs: list[Run], numbers: Numbers) -> str | None:
    """The split set that answers questions about cases: the first in natural order that is complete, else the first."""
    repeats = by_repeat(runs)
    complete = [split_set for (split_set, _), own in repeats.items() if not missing_splits(own, numbers)]
    return (complete or [split_set for split_set, _ in repeats])[0]


def complete_repeats(runs: list[Run], seed: int | None, numbers: Numbers) -> list[Run]:
    """The runs of every repeat that is complete, of one seed if one is asked for; else those of the one with most."""
    if seed is not None:
        chosen_seed(runs, seed, numbers)
    repeats = [own for (_, of), own in by_repeat(runs).items() if seed in (None, of)]
    complete = [own for own in repeats if not missing_splits(own, numbers)]
    return [run for own in complete or [max(repeats, key=len)] for run in own]


def repeats_title(experiment: str, runs: list[Run]) -> str:
    """What to call the runs of an experiment's repeats, such as `experiment e, 6 runs of 3 split sets`."""
    repeats = by_repeat(runs)
    if len(repeats) == 1:
        (_, seed) = next(iter(repeats))
        return f"experiment {experiment}" if seed is None else f"experiment {experiment}, seed {seed}"
    sets, seeds = ({key[i] for key in repeats} for i in (0, 1))
    parts = [counted(len(sets), "split set")] * (len(sets) > 1) + [counted(len(seeds), "seed")] * (len(seeds) > 1)
    return f"experiment {experiment}, {counted(len(runs), 'run')} of {' and '.join(parts)}"


def left_out_repeats(all_runs: list[Run], runs: list[Run], numbers: Numbers, seed: int | None) -> list[str]:
    """What is said of the repeats of the experiments that answer which are not complete."""
    notes = []
    for experiment in dict.fromkeys(run.experiment for run in runs):
        there = {(run.split_set, run.seed) for run in runs if run.experiment == experiment}
        several = len({run.seed for run in all_runs if run.experiment == experiment}) > 1
        for key, own in by_repeat([run for run in all_runs if run.experiment == experiment]).items():
            if key not in there and seed in (None, key[1]):
                what = f"{missing_splits(own, numbers)} of split set {key[0]}" + f", seed {key[1]}" * several
                notes.append(f"{experiment} also has {what}: not in this answer")
    return notes


def answers_with(split_set: str | None, runs: list[Run], numbers: Numbers) -> bool:
    """Whether runs of a split set are shown with others: those of the first, and of further ones that are complete."""
    repeats = by_repeat([run for run in runs if run.split_set == split_set])
    complete = any(not missing_splits(own, numbers) for own in repeats.values())
    return complete or split_set == first_set(runs, numbers)


def further_sets(all_runs: list[Run], runs: list[Run], numbers: Numbers) -> list[str]:
    """What is said of the split sets of an experiment whose runs do not answer."""
    answering = {run.split_set for run in runs}
    whole, notes = [], []
    for split_set in sorted({run.split_set for run in all_runs} - answering, key=_set_order):
        repeats = by_repeat([run for run in all_runs if run.split_set == split_set]).values()
        missing = min(missing_splits(own, numbers) for own in repeats)
        if split_set is not None and not missing:
            whole.append(split_set)
        else:
            what = f"{missing} of split set {split_set}" if split_set else "a run without splits"
            notes.append(f"{runs[0].experiment} also has {what}: not in this answer")
    if whole:
        sets = f"split set {whole[0]}" if len(whole) == 1 else f"the split sets {named(whole)}"
        notes.insert(0, f"{runs[0].experiment} also has every split of {sets}: not in this answer")
    return notes


def chosen_seed(runs: list[Run], asked: int | None, numbers: Numbers) -> int | None:
    """The seed asked for, else the lowest that is complete, else the lowest of those with most splits."""
    seeds = sorted({run.seed for run in runs}, key=number_order)
    if asked is not None:
        if asked not in seeds:
            raise UsageError(f"experiment {runs[0].experiment} has no run of seed {asked}: there is {named(seeds)}")
        return asked
    trained = {seed: trained_splits([run for run in runs if run.seed == seed], numbers) for seed in seeds}
    complete = [seed for seed, (there, of) in trained.items() if there == of]
    return complete[0] if complete else max(seeds, key=lambda seed: (trained[seed][0], -number_order(seed)))


def newest_of_each(runs: list[Run]) -> list[Run]:
    """The newest run of each split, in the order of the splits."""
    by_split = {(run.split_set, run.split): run for run in sorted(runs, key=lambda run: (run.finished_at, run.run_id))}
    return [by_split[key] for key in sorted(by_split, key=lambda key: (text_order(key[0]), number_order(key[1])))]


def missing_splits(runs: list[Run], numbers: Numbers) -> str:
    """How many of its splits a repeat has, such as `2 of 5 splits`; nothing where it has all."""
    there, of = trained_splits(runs, numbers)
    return f"{there} of {of} splits" if there < of else ""


def trained_splits(runs: list[Run], numbers: Numbers) -> tuple[int, int]:
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
