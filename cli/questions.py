"""A group of commands in which each question's file is a subcommand with typed options from its header."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from milstore import queries
from milstore.asking.selection import Choice
from milstore.asking.time_limit import DEFAULT_TIMEOUT
from milstore.cli import completing
from milstore.cli.options import (
    ByOption,
    CaseOption,
    ExperimentOption,
    PredictionOption,
    RunOption,
    SeedOption,
    SplitOption,
    StoreOption,
    SubsetOption,
    TimeoutOption,
    VerifyOption,
)
from milstore.cli.output import show_table
from milstore.store.paths import Store, default_root


def keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    """An option, as a parameter of a function that typer reads."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


SELECTION_OPTIONS = [
    keyword("run", RunOption, None),
    keyword("experiment", ExperimentOption, None),
    keyword("split", SplitOption, None),
    keyword("seed", SeedOption, None),
    keyword("subset", SubsetOption, None),
    keyword("prediction", PredictionOption, None),
]
"""Which run answers. A question may have parameters of these names, which then are meant."""
_COMMANDS_OWN = frozenset(
    {"all", "by", "chart", "columns", "format", "help", "output", "safe-cells", "store", "timeout", "verify", "wide"}
)
"""Names of options that a question's command has for itself."""
_OFFERED = {"stain": completing.stains}
"""What a shell offers for a parameter of such a name."""
_PARAMETER = "parameter_"
"""What stands before a parameter's name among the values of a command: any name is a name for a parameter."""


def question_options(query: queries.Query) -> list[inspect.Parameter]:
    """The options of a question: its parameters, which run answers, and how long it may take."""
    parameters = [parameter for parameter in query.parameters if parameter.name != "case"]
    own = {parameter.name for parameter in parameters}
    return [
        *map(_option, parameters),
        *(option for option in SELECTION_OPTIONS if option.name not in own),
        keyword("case", CaseOption, None),
        keyword("by", ByOption, None),
        keyword("store", StoreOption, None),
        keyword("timeout", TimeoutOption, DEFAULT_TIMEOUT),
        keyword("verify", VerifyOption, True),
    ]


def take_parameters(values: dict[str, Any]) -> dict[str, Any]:
    """The question's parameters, taken out of the options' values."""
    names = [name for name in values if name.startswith(_PARAMETER)]
    return {name.removeprefix(_PARAMETER): values.pop(name) for name in names}


def _option(parameter: queries.Parameter) -> inspect.Parameter:
    required = parameter.default is queries.loader.REQUIRED
    kind: Any = parameter.python_type
    if required or parameter.default is None:
        kind = kind | None
    flag = f"--{'param-' if parameter.name in _COMMANDS_OWN else ''}{parameter.name.replace('_', '-')}"
    about = parameter.help + (" (required)" if required else "")
    flags = [f"{flag}/--no-{flag[2:]}"] if parameter.kind == "boolean" else [flag]
    default = None if required else parameter.default
    offer = completing.finished_runs if parameter.kind == "run" else _OFFERED.get(parameter.name)
    option = typer.Option(*flags, help=about, autocompletion=offer)
    return keyword(f"{_PARAMETER}{parameter.name}", Annotated[kind, option], default)


def take_choice(values: dict[str, Any]) -> Choice:
    """Which run answers, taken out of the options' values."""
    names = [option.name for option in SELECTION_OPTIONS]
    return Choice(cases=tuple(values.pop("case") or ()), **{name: values.pop(name, None) for name in names})


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


class QuestionGroup(TyperGroup):
    """The questions of milstore and of the store, as commands."""

    _own: Path | None = None

    def command_of(self, query: queries.Query) -> Any:
        """The command of a question."""
        raise NotImplementedError

    def take_of(self, root: Path) -> None:
        """Take the store's own questions from the one in this folder, and not from the one that is used by default."""
        self._own = Store(root).queries

    def names(self, folder: Path) -> list[str]:
        """Names of the questions; `folder` is the store's own `queries/`."""
        return list(queries.available(folder))

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of all questions."""
        return self.names(self._own or Store(default_root()).queries)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a question. UsageError, with the nearest names, if there is none."""
        return self.command_of(queries.load(cmd_name, self._own or Store(default_root()).queries))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The question that is called; a store named on the line brings its own questions."""
        self.take_of(named_store(args))
        return super().resolve_command(ctx, args)


def show_questions(names: list[str], folder: Path) -> None:
    """List questions with what they answer."""
    show_table(["query", "answers"], [(name, queries.load(name, folder).title) for name in names])
