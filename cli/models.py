"""`milstore models`."""

from typing import Annotated, Any

import typer

from milstore.cli.output import cell, show_table


def command(
    name: Annotated[
        str | None,
        typer.Argument(help="The model whose settings are shown; ./file.py:Class for your own.", show_default=False),
    ] = None,
) -> None:
    """List the models, or a model's settings with their help and defaults.

    A file of your own is run to be shown, with all that you may do.
    """
    from milstore.models import available, describe

    if name is None:
        models = [describe(each) for each in available()]
        show_table(["Model", "Attends", "What it does"], [[each.name, each.attends, each.summary] for each in models])
        return
    model = describe(name)
    typer.echo(f"{model.name}: {model.summary}\nattends: {model.attends}")
    rows = [[each.name, each.kind_name, _default(each.default), each.help] for each in model.settings]
    show_table(["Setting", "Value", "Default", "What it is"], rows)


def _default(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else cell(value)
