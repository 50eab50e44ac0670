"""`milstore train`."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from milstore.cli import completing
from milstore.cli.launching import (
    JobsOption,
    LauncherOption,
    check_launcher,
    launch,
    show_experiment,
    slurm_options,
    take_slurm,
)
from milstore.cli.options import QuietOption, StoreOption
from milstore.cli.output import console, is_quiet, say, show_table
from milstore.errors import Interrupted, UsageError
from milstore.store import Store, open_store
from milstore.store.paths import store_option
from milstore.store.run_reader import NO_ATTENTION
from milstore.training.config import TrainingConfig, field_help, option_fields, option_name
from milstore.training.config_reading import read_config
from milstore.training.interruption import Interruption
from milstore.training.memory import parse_memory

if TYPE_CHECKING:
    from milstore.training import RunResult


def _with_more_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of SLURM and one for each field of TrainingConfig, in the place of its `**config`."""
    signature = inspect.signature(function)
    own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    annotations = dict(slurm_options()) | {
        field.name: Annotated[type(field.default) | None, _option(field.name, field.default)]
        for field in option_fields()
    }
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in annotations.items()
    ]
    together = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own] + options
    function.__signature__ = signature.replace(parameters=together)  # type: ignore[attr-defined]
    function.__annotations__ = {each.name: each.annotation for each in together}
    return function


def _option(name: str, default: object) -> Any:
    flag = option_name(name)
    if isinstance(default, bool):
        flag = f"{flag}/--no-{flag.removeprefix('--')}"
        default = "yes" if default else "no"
    return typer.Option(flag, help=f"{field_help()[name]} [default: {default}]", show_default=False)


@_with_more_options
def command(
    *,
    store: StoreOption = None,
    split: Annotated[str | None, typer.Option(help="Number of the split to train on, or all.")] = None,
    split_set: Annotated[
        str | None,
        typer.Option(
            help="The split set; needed where there are several. A pattern such as 'fox-r*', or fox for fox-r1, fox-r2 and "
            "so on, trains on all of these as one experiment."
        ),
    ] = None,
    encoder: Annotated[str | None, typer.Option(help="Whose features; needed where there are several.")] = None,
    experiment: Annotated[str | None, typer.Option(help="Name for the runs of this configuration.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, order of the cases and dropout.")] = 0,
    config_file: Annotated[
        Path | None, typer.Option("--config", help="TOML file with the settings below; options win over it.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A setting of the model as name=value, may be given several times; milstore models NAME lists them.",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="study: the settings of the study that the model comes from, in place of the defaults below; "
            "what --config says wins over them, and options win over both."
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            help="Continue this interrupted run, and nothing else.", autocompletion=completing.unfinished_runs
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin new runs, even where an unfinished one could be continued.")
    ] = False,
    checkpoint_minutes: Annotated[
        float, typer.Option(help="Within an epoch, write a checkpoint when the last one is older.")
    ] = 10.0,
    threads: Annotated[int | None, typer.Option(help="Threads to compute with; default: the CPUs there are.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    memory: Annotated[
        str | None,
        typer.Option(
            help="Most that features may take, such as 1GB; more are read again each epoch. Default: no limit."
        ),
    ] = None,
    launcher: LauncherOption = "none",
    jobs: JobsOption = None,
    quiet: QuietOption = False,
    **config: Any,
) -> None:
    """Train a model on one split, or on all, and store the run.

    A model of your own (--model ./file.py:Class) is executed, with all that you may do; to continue a run of it by
    --resume, name it again.

    Progress and words go to stderr, the summary to stdout. Ctrl-C (or SIGTERM, SIGUSR1, SIGUSR2, SIGHUP) stops after the
    case at hand with exit code 75; the same command goes on. A pipe that is closed, as by head, ends nothing. --split all
    trains the splits that have no finished run yet, and ends with one table of the whole experiment.
    """
    opened = open_store(store)
    slurm = take_slurm(config)
    check_launcher(launcher, jobs, slurm)
    model = config.pop("model")
    if resume is not None:
        if any(value not in (None, []) for value in (split, config_file, preset, assignments, *config.values())):
            raise UsageError("--resume continues one run as it began: leave --split and its settings out")
        if fresh:
            raise UsageError("--resume continues a run, --fresh begins one: give one of them")
        if launcher != "none":
            raise UsageError("--resume continues a run in this process: leave --launcher out")
    elif split is None:
        raise UsageError("say which split to train on: --split 1, or --split all")
    elif device == "cpu" and config["precision"] == "bf16":
        raise UsageError("--precision bf16 needs a GPU: leave it out, or --device cpu")
    settings = TrainingConfig()
    if resume is None:
        settings = read_config(config_file, {**config, "model": model}, preset, assignments or [])
    if memory is not None:
        parse_memory(memory)  # Refused here, before anything is loaded or queued.
    splits = None if split is None or split == "all" else [_number(split)]
    facts: dict[str, Any] = {
        "split_set": split_set,
        "encoder": encoder,
        "seed": seed,
        "experiment": experiment,
        "threads": threads,
        "device": device,
        "fresh": fresh,
        "checkpoint_minutes": checkpoint_minutes,
        "memory": memory,
    }
    if launcher == "slurm":
        launch(opened, settings, splits, launcher, jobs, slurm, **facts)
        return
    # From here on, for importing torch takes seconds in which a signal may come.
    with Interruption() as interruption:
        if launcher == "local":
            launch(opened, settings, splits, launcher, jobs, slurm, **facts)
            return
        facts |= {} if resume is None else {"model": model}
        results = _train(opened, settings, splits, resume, facts, interruption, quiet=quiet or is_quiet())
    _end(opened, results, whole=resume is None and splits is None)


def _end(opened: Store, results: "list[RunResult]", *, whole: bool) -> None:
    """The one table at the end: of the run, or of the experiment where all of it, or several runs, were asked for."""
    if not results:
        say("every split is finished: --fresh trains them again")
    elif whole or len(results) > 1:
        show_experiment(opened, results[0].experiment)
    else:
        _show(results[0])
        question = "recall" if results[0].attention == NO_ATTENTION else "top-patches"
        say(f"next: milstore query {question} --run {results[0].run_id}{store_option(opened)}")


def _train(
    opened: Store,
    settings: TrainingConfig,
    splits: list[int] | None,
    resume: str | None,
    facts: dict[str, Any],
    interruption: Interruption,
    *,
    quiet: bool,
) -> "list[RunResult]":
    from milstore import training
    from milstore.training.progress import Watcher, watcher

    # Named before it is looked whether to stop: this imports torch.
    train_all, go_on = training.train_all, training.resume
    watch = Watcher() if quiet else watcher(say, console(stderr=True))
    if interruption.requested:
        raise Interrupted("stopped before the training began: the same command begins it")
    if resume is not None:
        going_on = {name: facts[name] for name in ("checkpoint_minutes", "memory", "model")}
        result = go_on(opened, resume, **going_on, watcher=watch)
        _tell(result)
        return [result]
    return train_all(opened, settings, splits, **facts, watcher=watch, committed=_tell)


def _number(split: str) -> int:
    try:
        return int(split)
    except ValueError:
        raise UsageError(f"--split {split!r}: give a number or all") from None


_KEPT = {"best": "best epoch", "last": "last epoch", "chosen": "evaluated epoch"}


def _tell(result: "RunResult") -> None:
    """A run as soon as it is in the store, in lines of 80 letters."""
    test = result.subset("test")
    counts = [f"{each.class_name} {each.called[each.label]} of {each.n_cases}" for each in test.classes]
    auc = "" if test.auc is None else f", AUC {test.auc:.2f}"
    say(f"run {result.run_id} ({result.split_set}, split {result.split})")
    say(f"  {_KEPT[result.kept]} {result.best_epoch} of {result.n_epochs}, {result.seconds:.1f} s")
    say(f"  test cases called right: {', '.join(counts)}{auc}")


def _show(result: "RunResult") -> None:
    """The table of one run."""
    rows = []
    for subset in result.subsets:
        for each in subset.classes:
            low, high = each.interval
            rows.append(
                (
                    subset.subset,
                    each.class_name,
                    f"{each.called[each.label]} of {each.n_cases}",
                    "–" if each.recall is None else f"{each.recall:.2f}",
                    "–" if each.recall is None else f"{low:.2f} to {high:.2f}",
                    # A figure of the subset, so once.
                    ("–" if subset.auc is None else f"{subset.auc:.3f}") if each.label == 0 else "",
                )
            )
    say(f"experiment {result.experiment}, model {result.model}, attention: {result.attention}")
    columns = ["subset", "class", "called right", "recall", "95% interval", "AUC"]
    show_table(columns, rows, title=f"{result.experiment}, split {result.split} of {result.split_set}")
