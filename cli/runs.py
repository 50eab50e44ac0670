"""`milstore runs …`."""

import json
from typing import Annotated

import typer

from milstore.cli.options import FormatOption, OutputOption, StoreOption
from milstore.cli.output import say, show_table

app = typer.Typer(
    help="List and show finished runs.", rich_markup_mode=None, add_completion=False, no_args_is_help=True
)

_LIST = """
select run_id, experiment, split_set, split, seed, pooling, best_epoch, n_epochs, round(seconds, 1) as seconds,
       strftime(finished_at, '%Y-%m-%d %H:%M') as finished_utc
from runs
order by finished_at, run_id
"""


@app.command("list")
def list_runs(format_: FormatOption = "table", output: OutputOption = None, store: StoreOption = None) -> None:
    """List the finished runs, and name the unfinished ones."""
    from milstore.asking import ask_sql
    from milstore.cli.answers import write_answer
    from milstore.cli.opening import open_current
    from milstore.store.runs import list_drafts

    opened = open_current(store)
    result = ask_sql(opened, _LIST)
    if not result.rows():
        say("there is no finished run: train one with milstore train --split 1")
    else:
        write_answer(result, format_, output)
    for draft in list_drafts(opened):
        say(f"unfinished: {draft.run_id} ({len(draft.epochs())} epochs): milstore train --resume {draft.run_id}")


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="A run id, or how it begins.")],
    format_: Annotated[str, typer.Option("--format", "-f", help="table or json.")] = "table",
    store: StoreOption = None,
) -> None:
    """Show everything that is known of where a run's numbers came from."""
    from milstore.cli.opening import open_current
    from milstore.errors import UsageError
    from milstore.store.runs import find_run_id, read_run

    if format_ not in ("table", "json"):
        raise UsageError(f"there is no format {format_!r} here: use table or json")
    opened = open_current(store)
    facts = read_run(opened, find_run_id(opened, run))
    if format_ == "json":
        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    config, files = json.loads(facts.pop("config")), facts.pop("files")
    rows = list(facts.items())
    rows += [(f"config.{name}", str(value)) for name, value in config.items()]
    rows += [(name, f"{entry['bytes']} bytes, sha256 {entry['sha256']}") for name, entry in files.items()]
    show_table(["fact", "value"], [(name, str(value)) for name, value in rows])
