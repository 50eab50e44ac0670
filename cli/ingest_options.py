"""Options that several commands of `milstore ingest` share."""

from typing import Annotated

import typer

from milstore.cli.output import say

ReplaceOption = Annotated[bool, typer.Option("--replace", help="Correct what the store says otherwise.")]

JobsOption = Annotated[
    int | None, typer.Option("--jobs", min=1, help="Processes (default: one a processor).", show_default=False)
]

FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="Name of the format, as milstore ingest formats lists them; or ./file.py:Class for your own, which is run "
        "(default: by the content).",
        show_default=False,
    ),
]

MapOption = Annotated[
    str | None,
    typer.Option(
        "--map",
        help="Class of each label, such as 1=benign,3=high-grade. Classes are numbered in this order, and rows with "
        "another label are left out. Without it each label is a class.",
        show_default=False,
    ),
]

MissingOption = Annotated[
    str | None,
    typer.Option(
        "--missing",
        help="Marks of an unknown value, such as NA,None; an empty cell is one too. A case with an unknown label stays, "
        "without one; a row without a case is left out.",
        show_default=False,
    ),
]


def tell(lines: list[str]) -> None:
    """Print a report, a line each."""
    for line in lines:
        say(line)
