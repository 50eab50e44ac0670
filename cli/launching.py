"""The launchers of `milstore train`: their options and messages."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from milstore.cli.output import say, show_table
from milstore.errors import UsageError
from milstore.store import Store
from milstore.store.names import counted
from milstore.store.paths import store_option
from milstore.training.config import TrainingConfig

LAUNCHERS = ("none", "local", "slurm")

LauncherOption = Annotated[
    str,
    typer.Option(
        help="Who trains: none (this process, one split after another), local (processes of this machine, side by "
        "side) or slurm (a job a split)."
    ),
]
JobsOption = Annotated[
    int | None,
    typer.Option(
        min=1, help="Most splits to train at a time. [default: 2 with local, as many as there are with slurm]"
    ),
]
_PREFIX = "slurm_"
_NAMED = {
    "partition": "Partition of the jobs.",
    "account": "Account that the jobs are charged to.",
    "qos": "Quality of service of the jobs.",
    "mem": "Memory of each job, such as 16G.",
    "gres": "Devices for each job, such as gpu:1.",
    "constraint": "Features that the nodes must have.",
}
"""Settings of sbatch that have an option of their own."""
_TYPED: dict[str, tuple[Any, str]] = {
    "time": (str, "Time limit of a job; at the limit it is queued again and goes on. [default: 4:00:00]"),
    **{name: (str, text) for name, text in _NAMED.items()},
    "cpus_per_task": (int, "CPUs for each job, which are also the threads to train with."),
    "opt": (list[str], "Any other option of sbatch as name=value, such as exclude=node7; may be given several times."),
    "setup": (
        list[str],
        "A line of shell that a job runs first, such as 'module load cuda'; may be given several times.",
    ),
}


def slurm_options() -> Iterator[tuple[str, Any]]:
    """Name and annotation of each `--slurm-…` option, all None where they are not given."""
    for name, (kind, text) in _TYPED.items():
        flag = f"--slurm-{name.replace('_', '-')}"
        yield _PREFIX + name, Annotated[kind | None, typer.Option(flag, help=text, show_default=False)]


def take_slurm(options: dict[str, Any]) -> dict[str, Any]:
    """Remove the given `--slurm-…` options from a command's options, and return them."""
    taken = {name: options.pop(_PREFIX + name) for name in _TYPED}
    return {name: value for name, value in taken.items() if value not in (None, [])}


def check_launcher(launcher: str, jobs: int | None, slurm: Mapping[str, Any]) -> None:
    """Raises UsageError for an unknown launcher, or options of another one."""
    if launcher not in LAUNCHERS:
        raise UsageError(f"--launcher {launcher!r}: give {', '.join(LAUNCHERS)}")
    if slurm and launcher != "slurm":
        raise UsageError(f"--slurm-{next(iter(slurm)).replace('_', '-')} goes with --launcher slurm")
    if jobs is not None and launcher == "none":
        raise UsageError("--jobs goes with --launcher local or slurm")


def launch(
    store: Store,
    config: TrainingConfig,
    splits: list[int] | None,
    launcher: str,
    jobs: int | None,
    slurm: dict[str, Any],
    **options: Any,
) -> None:
    """Train splits by a launcher, and say how to follow it."""
    from milstore.launching.local import threads_each
    from milstore.launching.planning import plan_launch
    from milstore.store.cohort import read_cohort
    from milstore.store.cohort_edit import NO_LOCKS
    from milstore.store.locks import refuses_locks
    from milstore.store.split_numbers import choose_split_sets
    from milstore.training.progress import Lines

    if refuses_locks(store.manifest_path.parent):
        say(f"note: {NO_LOCKS}")
        jobs = 1
    # What is asked of SLURM is checked before anything is written.
    chosen = read_slurm(slurm, jobs) if launcher == "slurm" else None
    if launcher == "local":
        jobs = jobs or 2
        options["threads"] = options["threads"] or threads_each(jobs)
    cohort = read_cohort(store)
    experiments = []
    for split_set in choose_split_sets(cohort, options.pop("split_set")):
        planned = plan_launch(
            store, config, splits, launcher=launcher, split_set=split_set, watcher=Lines(say), **options
        )
        if planned is None:
            say(f"every split of {split_set} is finished: --fresh trains them again")
        elif chosen is not None:
            from milstore.launching.slurm import submit

            _tell_submitted(store, submit(store, planned, chosen))
        else:
            from milstore.launching.local import run_side_by_side

            _tell_followed(store, planned)
            run_side_by_side(store, planned, jobs or 2, say)
            experiments.append(planned.facts["experiment"])
    for experiment in dict.fromkeys(experiments):
        show_experiment(store, experiment)


def read_slurm(given: dict[str, Any], jobs: int | None) -> Any:
    """The options of SLURM that were given; `jobs` is how many run at once. UsageError for what does not fit."""
    from milstore.launching.slurm import SlurmOptions, check_slurm, minutes_of, setting

    # As on sbatch's own command line, the more particular wins over the general.
    settings = dict(setting(text) for text in given.get("opt", []))
    settings |= dict(setting(f"{name}={given[name]}") for name in _NAMED if name in given)
    options = SlurmOptions(
        **{name: given[name] for name in ("time", "cpus_per_task") if name in given},
        settings=settings,
        setup=tuple(given.get("setup", ())),
        at_once=jobs,
    )
    minutes_of(options.time)
    check_slurm()
    return options


def _tell_submitted(store: Store, launched: Any) -> None:
    jobs = launched.jobs
    facts = launched.facts
    whole = next(iter(jobs.values())).partition("_")[0]
    show_table(
        ["split", "job", "log"],
        [(split, job, str(launched.folder / f"{job}_0_log.out")) for split, job in jobs.items()],
        title=f"{facts['experiment']}: submitted to SLURM",
    )
    _tell_followed(store, launched)
    say(f"stop:   scancel {whole} (what was trained stays, and can be continued)")


def _tell_followed(store: Store, launched: Any) -> None:
    where = store_option(store)
    say(f"follow: milstore runs watch{where}, or milstore runs list{where}")
    say(f"logs:   {launched.folder}")


def show_experiment(store: Store, experiment: str) -> None:
    """The one table that an experiment ends with: all that is finished of it, by class, and how to go on asking."""
    from milstore.asking.ask import ask
    from milstore.asking.selection import Choice

    answer = ask(store, "experiments", Choice(experiment=experiment))
    for note in answer.notes:
        say(f"note: {note}")
    rows = answer.records()
    facts = rows[0]
    counts = [(facts["runs"], "run"), (facts["split_sets"], "split set"), (facts["seeds"], "seed")]
    shown = [
        (
            row["measure"] if row["true_class"] is None else f"{row['measure']} of {row['true_class']}",
            "" if row["right"] is None else f"{row['right']} of {row['cases']}",
            _figure(row["value"]),
            "" if row["low"] is None else f"{row['low']:.2f} to {row['high']:.2f}",
            _figure(row["mean"]) if row["se"] is None else f"{row['mean']:.2f} ± {row['se']:.2f}",
        )
        for row in rows
    ]
    columns = ["test cases", "right", "pooled", "95% interval", "mean ± SE of runs"]
    show_table(columns, shown, title=f"{experiment}: {', '.join(counted(*each) for each in counts)}")
    say(f"next: milstore query recall --experiment {experiment}{store_option(store)}")


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
