"""`milstore runs …`."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from milstore.cli.options import FormatOption, OutputOption, StoreOption
from milstore.cli.output import console, make_table, printable, say, show_table
from milstore.cli.terminal import lacking

if TYPE_CHECKING:
    import pyarrow as pa
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
def list_runs(format_: FormatOption = "table", output: OutputOption = None, store: StoreOption = None) -> None:
    """List the runs: finished, running, waiting, interrupted and failed."""
    from milstore.asking.result import Result
    from milstore.cli.formatters import write_answer
    from milstore.cli.store_access import open_current
    from milstore.launching.states import RunState, states

    opened = open_current(store)
    rows = states(opened)
    if not rows:
        say("there is no run: train one with milstore train --split 1")
    elif format_ == "table" and output is None:
        console().print(_table(rows))
    else:
        answer: Any = _Rows([field.name for field in fields(RunState)], [astuple(row) for row in rows])
        write_answer(Result(lambda fetch: fetch(lambda _: answer)), format_, output)
    for row in rows:
        if row.state in ("interrupted", "failed") or (row.state == "done" and row.note):
            say(f"{row.state}: {_name(row)}: {row.note}")


@app.command()
def watch(
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 5.0,
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
    """A line for each run whenever something of it has changed."""
    told: dict[tuple[Any, ...], str] = {}
    for rows in snapshots:
        for row in rows:
            key = (row.experiment, row.split_set, row.split, row.seed, row.run_id)
            line = f"{row.state}: {_name(row)}: {row.note or f'{_epochs(row)} epochs'}"
            if row.goes_on and row.epoch:
                line = f"{row.state}: {_name(row)}: epoch {_epochs(row)}, {_duration(row.eta_seconds)} left at most"
            if told.get(key) != line:
                told[key] = line
                sys.stdout.write(printable(line) + "\n")
        sys.stdout.flush()


@dataclass(frozen=True)
class _Rows:
    """What is read from a connection after a question, for rows that come from elsewhere."""

    columns: Sequence[str]
    rows: list[tuple[Any, ...]]

    @property
    def description(self) -> list[tuple[str, Any]]:
        import duckdb

        # None of these values needs to be asked for in another form.
        kind = duckdb.sqltype("VARCHAR")
        return [(name, kind) for name in self.columns]

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self.rows

    def to_arrow_table(self) -> "pa.Table":
        import pyarrow as pa

        return pa.table([[row[i] for row in self.rows] for i in range(len(self.columns))], names=list(self.columns))


def _table(rows: "list[RunState]") -> "Table":
    return make_table(
        _COLUMNS,
        [
            (
                # What is done and has a note learned nothing: nobody is to read its numbers as a result.
                f"{row.state}: {row.note}" if row.state == "done" and row.note else row.state,
                _name(row),
                _epochs(row),
                _duration(row.eta_seconds),
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


def _epochs(row: "RunState") -> str:
    # Another trainer does not say how many there will be.
    return str(row.epoch) if row.state == "done" or not row.epochs else f"{row.epoch} of {row.epochs}"


def _duration(seconds: float | None) -> str:
    """A time as people say it.

    >>> [_duration(seconds) for seconds in (None, 59.6, 150, 7260)]
    ['', '60 s', '2 min', '2 h 1 min']
    """
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = int(seconds) // 60
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="A run id, or how it begins.")],
    format_: Annotated[str, typer.Option("--format", "-f", help="table or json.")] = "table",
    store: StoreOption = None,
) -> None:
    """Show everything that is known of where a run's numbers came from."""
    from milstore.cli.store_access import open_current
    from milstore.errors import UsageError
    from milstore.store.run_reader import LEARNING, MODEL_CODE, find_run_id, read_run

    if format_ not in ("table", "json"):
        raise UsageError(f"there is no format {format_!r} here: use table or json")
    opened = open_current(store)
    facts = read_run(opened, find_run_id(opened, run))
    if format_ == "json":
        text = json.dumps(facts, indent=2, ensure_ascii=False)
        typer.echo(json.dumps(facts, indent=2) if lacking(text) else text)
        return
    config, files = json.loads(facts.pop("config")), facts.pop("files")
    learning, code = facts.pop(LEARNING, {}), facts.pop(MODEL_CODE, {})
    rows = list(facts.items())
    rows += [(f"{LEARNING}.{name}", value) for name, value in learning.items()]
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
    a: Annotated[str, typer.Argument(help="A run id, or how it begins.")],
    b: Annotated[str, typer.Argument(help="Another run's.")],
    format_: FormatOption = "table",
    output: OutputOption = None,
    store: StoreOption = None,
) -> None:
    """Show in what two runs differ: settings, cohort, features, split, code and machine."""
    from milstore.asking.result import Result
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
    answer: Any = _Rows(["fact", *found], texts)
    write_answer(Result(lambda fetch: fetch(lambda _: answer)), format_, output)


@app.command()
def delete(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids of finished or unfinished runs.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    store: StoreOption = None,
) -> None:
    """Delete runs for good: says what goes, and asks first."""
    from milstore.cli.store_access import open_current
    from milstore.errors import UsageError
    from milstore.store.removal import delete_run, removable

    opened = open_current(store)
    found = [removable(opened, run_id) for run_id in dict.fromkeys(runs)]
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
