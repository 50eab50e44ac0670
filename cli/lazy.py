"""Groups whose commands are imported only when they are called, for start-up time."""

import importlib
from typing import Any, ClassVar, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group


class Entry(NamedTuple):
    """A command that is not imported yet."""

    module: str
    """Module of `milstore.cli` that holds `command`, a function, or `app`, a group."""
    help: str
    """Its line in the list of commands: the first line of the function's or group's help."""


def load_entry(name: str, entry: Entry) -> Any:
    """The command itself, its module imported."""
    module = importlib.import_module(f"milstore.cli.{entry.module}")
    if hasattr(module, "app"):
        return get_group(module.app)
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name, help=getattr(module, "HELP", None))(module.command)
    return get_command(single)


class LazyGroup(TyperGroup):
    """A group that knows only the names and help lines of its commands."""

    entries: ClassVar[dict[str, Entry]] = {}

    def list_commands(self, ctx: Any) -> list[str]:
        """Names, in the order in which a newcomer needs them."""
        return list(self.entries)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in with the line of help, for the list of commands; `resolve_command` loads the real one."""
        if cmd_name not in self.entries:
            return None
        stand_in = typer.Typer(add_completion=False, rich_markup_mode=None)
        stand_in.command(cmd_name, help=self.entries[cmd_name].help)(_nothing)
        return get_command(stand_in)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is called."""
        if args and args[0] in self.entries:
            return args[0], load_entry(args[0], self.entries[args[0]]), args[1:]
        return super().resolve_command(ctx, args)


def _nothing() -> None:
    """A stand-in is never called."""
