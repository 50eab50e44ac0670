"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from milstore.cli import completing
from milstore.cli.output import set_quiet

StoreOption = Annotated[
    Path | None,
    typer.Option("--store", envvar="MILSTORE_STORE", help="Folder of the store (default: ./data).", show_default=False),
]
QuietOption = Annotated[
    bool,
    typer.Option("--quiet", "-q", callback=set_quiet, help="Print nothing but data and errors.", expose_value=True),
]
KeepOption = Annotated[
    str | None,
    typer.Option(
        "--keep",
        help="Columns to keep as attributes of the cases, such as site,age: questions go --by them.",
        show_default=False,
    ),
]
RunOption = Annotated[
    str | None,
    typer.Option(
        "--run",
        help="The run that answers: its id, or a part that no other has.",
        autocompletion=completing.finished_runs,
    ),
]
ExperimentOption = Annotated[
    str | None,
    typer.Option(
        "--experiment",
        help="The experiment that answers: each case from the run that held it in test.",
        autocompletion=completing.experiments,
    ),
]
SplitOption = Annotated[int | None, typer.Option("--split", help="The run of this split answers, in place of --run.")]
SeedOption = Annotated[int | None, typer.Option("--seed", help="The seed, where the experiment has several.")]
SubsetOption = Annotated[str | None, typer.Option("--subset", help="train, val, test or all (default: test).")]
PredictionOption = Annotated[
    str | None,
    typer.Option(
        "--prediction",
        help="The prediction of new cases that answers, by the mean of its models; in place of --run and --experiment.",
        autocompletion=completing.predictions,
    ),
]
CaseOption = Annotated[
    list[str] | None,
    typer.Option("--case", help="A case; may be given several times.", autocompletion=completing.cases),
]
FormatOption = Annotated[str, typer.Option("--format", "-f", help="table, csv, json, parquet or markdown.")]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file, not to the terminal.")]
SafeCellsOption = Annotated[
    bool,
    typer.Option(
        "--safe-cells", help="In CSV, put a single quote before texts that a spreadsheet takes for a formula."
    ),
]
ColumnsOption = Annotated[
    str | None, typer.Option("--columns", help="These columns alone, with commas between them; in any format.")
]
WideOption = Annotated[bool, typer.Option("--wide", help="All columns, not only those that most people want.")]
AllOption = Annotated[bool, typer.Option("--all", help="All rows; a terminal shows 20.")]
ByOption = Annotated[
    str | None,
    typer.Option(
        "--by",
        help="Ask of each group of cases that has one value of this attribute, such as site; or by this score of patches in "
        "place of attention.",
        autocompletion=completing.groupings,
    ),
]
VerifyOption = Annotated[
    bool,
    typer.Option(
        "--verify/--no-verify", help="Compare files with what was stored, those that were not compared before."
    ),
]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=0.001, help="Seconds that the question may take.")]


def kept(columns: str | None) -> list[str]:
    """The columns that `--keep` names."""
    return [name.strip() for name in (columns or "").split(",") if name.strip()]
