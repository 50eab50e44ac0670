"""`milstore runs …`."""

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from milstore.cli import completing
from milstore.cli.options import AllOption, FormatOption, OutputOption, StoreOption, WideOption
from milstore.cli.output import console, make_table, printable, say, show_table
from milstore.cli.terminal import lacking

if TYPE_CHECKING:
    from rich.table import Table

    from milstore.launching.states import RunState

app = typer.Typer(
    help="List, follow, show, compare and delete runs.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
)

_COLUMNS = ("state", "run", "epoch", "left", "best", "seconds", "restarts", "job")


@app.command("list")
def list_runs(
    experiment: Annotated[
        str | None, typer.Option(help="Only runs of this experiment.", autocompletion=completing.experiments)
    ] = None,
    split: Annotated[int | None, typer.Option(help="Only runs of this split.")] = None,
    seed: Annotated[int | None, typer.Option(help="Only runs of this seed.")] = None,
    model: Annotated[str | None, typer.Option(help="Only runs of this model.")] = None,
    state: Annotated[
        str | None, typer.Option(help="Only those that are done, running, waiting, interrupted or failed.")
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            help="Sort by when, experiment, split, seed, model, best (epoch), recall, auc or state (default: by time, what is "
            "finished first).",
            show_default=False,
        ),
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="The highest, or the latest, first.")] = False,
    wide: WideOption = False,
    every: AllOption = False,
    format_: FormatOption = "table",
    output: OutputOption = None,
    store: StoreOption = None,
) -> None:
    """List the runs: split, seed, model, best epoch, recall of each class, AUC.

    Finished, running, waiting, interrupted and failed ones. Recall and AUC are of a run's test cases. The text in the
    first column is enough for --run.
    """
    from milstore.cli import runs_table
    from milstore.cli.store_access import open_current
    from milstore.launching.listing import Wanted
    from milstore.launching.listing import list_runs as listed

    opened = open_current(store)
    wanted = Wanted(experiment=experiment, split=split, seed=seed, model=model, state=state)
    listing = listed(opened, wanted, sort, reverse=reverse)
    if not listing.runs:
        say(
            "there is no run: train one with milstore train --split 1"
            if wanted == Wanted()
            else "no run is of this kind: milstore runs list shows all"
        )
    elif format_ == "table" and output is None and not wide:
        runs_table.show(listing, every=every, newest_last=sort is None and not reverse)
    else:
        runs_table.write(listing, format_, output, every=every)
    for run_id in listing.damaged:
        say(f"note: the predictions of run {run_id} cannot be read: milstore doctor says more")
    for row in (run.state for run in listing.runs):
        if row.state in ("interrupted", "failed") or (row.state == "done" and row.note and not row.is_mean):
            say(f"{row.state}: {_name(row)}: {row.note}")


@app.command()
def watch(
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between updates.")] = 5.0,
    store: StoreOption = None,
) -> None:
    """Follow waiting and running runs until none is left: a live table, or lines where there is no terminal."""
    from milstore.cli.store_access import open_current
    from milstore.launching.states import follow

    snapshots = follow(open_current(store), interval=interval)
    if sys.stdout.isatty():
        _watch_live(snapshots)
    else:
        _watch_lines(snapshots)


def _watch_live(snapshots: "Iterator[list[RunState]]") -> None:
    from rich.live import Live

    with Live(console=console(), auto_refresh=False) as live:
        for rows in snapshots:
            live.update(_table(rows), refresh=True)


def _watch_lines(snapshots: "Iterator[list[RunState]]") -> None:
    """Print a line for a run whenever it has changed."""
    from milstore.cli.runs_table import duration, epochs

    told: dict[tuple[Any, ...], str] = {}
    for rows in snapshots:
        for row in rows:
            key = (row.experiment, row.split_set, row.split, row.seed, row.run_id)
            line = f"{row.state}: {_name(row)}: {row.note or f'{epochs(row)} epochs'}"
            if row.goes_on and row.epoch:
                line = f"{row.state}: {_name(row)}: epoch {epochs(row)}, {duration(row.eta_seconds)} left at most"
            if told.get(key) != line:
                told[key] = line
                sys.stdout.write(printable(line) + "\n")
        sys.stdout.flush()


def _table(rows: "list[RunState]") -> "Table":
    from milstore.cli.runs_table import duration, epochs

    return make_table(
        _COLUMNS,
        [
            (
                # What is done and has a note learned nothing: nobody is to read its numbers as a result.
                f"{row.state}: {row.note}" if row.state == "done" and row.note else row.state,
                _name(row),
                epochs(row),
                duration(row.eta_seconds),
                row.best_epoch,
                None if row.seconds is None else round(row.seconds, 1),
                row.restarts,
                row.job_id or "",
            )
            for row in rows
        ],
    )


def _name(row: "RunState") -> str:
    return row.run_id or f"{row.experiment}, split {row.split}, seed {row.seed}"


@app.command()
def show(
    run: Annotated[
        str,
        typer.Argument(help="A run's id, or a unique part of it.", autocompletion=completing.finished_runs),
    ],
    format_: Annotated[str, typer.Option("--format", "-f", help="table or json.")] = "table",
    store: StoreOption = None,
) -> None:
    """Show the provenance of a run: everything that is known of where its numbers came from."""
    from milstore.cli.store_access import open_current
    from milstore.errors import UsageError
    from milstore.store.run_reader import LEARNING, MODEL_CODE, PREDICTED, find_run_id, read_run

    if format_ not in ("table", "json"):
        raise UsageError(f"there is no format {format_!r} here: use table or json")
    opened = open_current(store)
    facts = read_run(opened, find_run_id(opened, run))
    if format_ == "json":
        text = json.dumps(facts, indent=2, ensure_ascii=False)
        typer.echo(json.dumps(facts, indent=2) if lacking(text) else text)
        return
    config, files = json.loads(facts.pop("config")), facts.pop("files")
    learning, code, predicted = facts.pop(LEARNING, {}), facts.pop(MODEL_CODE, {}), facts.pop(PREDICTED, {})
    rows = list(facts.items())
    rows += [(f"{LEARNING}.{name}", value) for name, value in learning.items()]
    rows += [
        (f"{PREDICTED}.{name}", ", ".join(value) if isinstance(value, list) else value)
        for name, value in predicted.items()
    ]
    rows += [(f"config.{name}", str(value)) for name, value in config.items()]
    rows += [(f"{MODEL_CODE}.{name}", str(code[name])) for name in ("class", "config", "sha256") if name in code]
    # Its text would take the table to itself: --format json has it.
    rows += [
        (f"{MODEL_CODE}.source", f"{name}, {len(text)} characters") for name, text in code.get("source", {}).items()
    ]
    rows += [(name, f"{entry['bytes']} bytes, sha256 {entry['sha256']}") for name, entry in files.items()]
    show_table(["fact", "value"], [(name, str(value)) for name, value in rows])


@app.command()
def diff(
    a: Annotated[
        str,
        typer.Argument(help="A run's id, or a unique part of it.", autocompletion=completing.finished_runs),
    ],
    b: Annotated[str, typer.Argument(help="Another run's.", autocompletion=completing.finished_runs)],
    format_: FormatOption = "table",
    output: OutputOption = None,
    store: StoreOption = None,
) -> None:
    """Show how two runs differ: settings, cohort, features, split, code and machine."""
    from milstore.asking.given_rows import answer_of
    from milstore.cli.formatters import write_answer
    from milstore.cli.store_access import open_current
    from milstore.store.differences import differences
    from milstore.store.run_reader import find_run_id, read_run

    opened = open_current(store)
    found = [find_run_id(opened, run) for run in (a, b)]
    rows = differences(*(read_run(opened, run_id) for run_id in found))
    if not rows:
        say(f"{found[0]} and {found[1]} were trained by the same settings on the same data")
    # As texts: a column of a file has one type, and facts have many.
    texts = [(name, *(None if value is None else str(value) for value in values)) for name, *values in rows]
    write_answer(answer_of(["fact", *found], texts), format_, output)


@app.command()
def delete(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Ids of finished or unfinished runs, or a unique part of four letters or more; or the name of a prediction.",
            autocompletion=completing.all_runs,
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    store: StoreOption = None,
) -> None:
    """Delete runs for good: says what goes, and asks first."""
    from milstore.cli.store_access import open_current
    from milstore.errors import UsageError
    from milstore.store.prediction_runs import predictions, refuse_parted
    from milstore.store.removal import delete_run, removable

    opened = open_current(store)
    known = predictions(opened, skip_damaged=True)
    asked = [run_id for text in runs for run_id in (known[text].run_ids if text in known else [text])]
    found = list({run.run_id: run for run in (removable(opened, run_id) for run_id in asked)}.values())
    refuse_parted(opened, [run.run_id for run in found])
    for name in [text for text in dict.fromkeys(runs) if text in known]:
        say(f"prediction {name}: {len(known[name].run_ids)} runs, by {len(known[name].of_model)} models and their mean")
    for run in found:
        kind = "finished" if run.finished else "unfinished"
        say(f"{kind} run {run.run_id}: {run.n_files} files, {run.n_bytes / 1e6:.1f} MB")
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("nothing is deleted unasked: add --yes")
        if not typer.confirm("Delete for good?", err=True):
            say("nothing is deleted")
            return
    for run in found:
        delete_run(opened, run)
        say(f"deleted {run.run_id}")
