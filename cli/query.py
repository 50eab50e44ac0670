"""`milstore query`: each question's file is a subcommand with typed options from its header."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from milstore import queries
from milstore.cli.options import (
    CaseOption,
    ExperimentOption,
    FormatOption,
    OutputOption,
    RunOption,
    SeedOption,
    StoreOption,
    SubsetOption,
    TimeoutOption,
)
from milstore.cli.output import show_table
from milstore.store.folder import Store, default_root
from milstore.store.sandbox import DEFAULT_TIMEOUT


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


SELECTION_OPTIONS = [
    _keyword("run", RunOption, None),
    _keyword("experiment", ExperimentOption, None),
    _keyword("seed", SeedOption, None),
    _keyword("subset", SubsetOption, None),
    _keyword("case", CaseOption, None),
    _keyword("store", StoreOption, None),
]


def parameter_options(query: queries.Query) -> list[inspect.Parameter]:
    """An option for each parameter of a question; `case` is one of every question already."""
    taken = {option.name for option in SELECTION_OPTIONS}
    return [_option(parameter) for parameter in query.parameters if parameter.name not in taken]


def _option(parameter: queries.Parameter) -> inspect.Parameter:
    required = parameter.default is queries.loader.REQUIRED
    kind: Any = parameter.python_type
    if required or parameter.default is None:
        kind = kind | None
    flag = f"--{parameter.name.replace('_', '-')}"
    about = parameter.help + (" (required)" if required else "")
    flags = [f"{flag}/--no-{flag[2:]}"] if parameter.kind == "boolean" else [flag]
    return _keyword(
        parameter.name, Annotated[kind, typer.Option(*flags, help=about)], None if required else parameter.default
    )


def make_command(name: str, help_text: str, options: list[inspect.Parameter], call: Callable[..., None]) -> Any:
    """A typer command whose options are given as a list."""

    def command(**values: Any) -> None:
        call(**values)

    command.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name, help=help_text)(command)
    return get_command(single)


def named_store(arguments: list[str]) -> Path:
    """The folder of the store that a command line names, read before its command is known."""
    for i, word in enumerate(arguments):
        if word == "--store" and i + 1 < len(arguments):
            return Path(arguments[i + 1])
        if word.startswith("--store="):
            return Path(word.removeprefix("--store="))
    return default_root()


def _ask(query: queries.Query, values: dict[str, Any]) -> None:
    from milstore.asking import analysis_function, ask
    from milstore.cli.answers import write_answer
    from milstore.cli.opening import open_current
    from milstore.store.selection import Choice

    choice = Choice(
        cases=tuple(values.pop("case") or ()),
        **{name: values.pop(name) for name in ("run", "experiment", "seed", "subset")},
    )
    store, format_, output, timeout = (values.pop(name) for name in ("store", "format_", "output", "timeout"))
    result = ask(open_current(store), query.name, choice, values, timeout=timeout)
    write_answer(result, format_, output, analysis_function(query.report) if query.report else None)


def question_command(query: queries.Query) -> Any:
    """The subcommand of a question."""
    options = [
        *parameter_options(query),
        *SELECTION_OPTIONS,
        _keyword("format_", FormatOption, "table"),
        _keyword("output", OutputOption, None),
        _keyword("timeout", TimeoutOption, DEFAULT_TIMEOUT),
    ]
    about = f"{query.about}\n\nGives {query.grain}."
    return make_command(query.name, about, options, lambda **values: _ask(query, values))


class Questions(TyperGroup):
    """The questions of milstore and of the store, as commands."""

    _own: Path | None = None

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of all questions."""
        return list(queries.available(self._own or Store(default_root()).queries))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a question. UsageError, with the nearest names, if there is none."""
        return question_command(queries.load(cmd_name, self._own or Store(default_root()).queries))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The question that is called; a store named on the line brings its own questions."""
        self._own = Store(named_store(args)).queries
        return super().resolve_command(ctx, args)


app = typer.Typer(cls=Questions, rich_markup_mode=None, add_completion=False, invoke_without_command=True)


@app.callback()
def query(
    ctx: typer.Context,
    list_: Annotated[bool, typer.Option("--list", help="List the questions.")] = False,
    store: StoreOption = None,
) -> None:
    """Ask a question of the runs: each .sql file is a subcommand."""
    if list_:
        own = Store(store or default_root()).queries
        rows = [(name, queries.load(name, own).title) for name in queries.available(own)]
        show_table(["query", "answers"], rows)
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
