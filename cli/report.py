"""`milstore report`."""

from pathlib import Path
from typing import Annotated

import typer

from milstore.cli.options import (
    CaseOption,
    ExperimentOption,
    PredictionOption,
    RunOption,
    SeedOption,
    SplitOption,
    StoreOption,
    SubsetOption,
    VerifyOption,
)


def command(
    case: CaseOption = None,
    run: RunOption = None,
    experiment: ExperimentOption = None,
    split: SplitOption = None,
    seed: SeedOption = None,
    subset: SubsetOption = None,
    prediction: PredictionOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write (default: report.html).", show_default=False)
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option("--format", "-f", help="html, or md with pictures beside it (default: by the file's name)."),
    ] = None,
    store: StoreOption = None,
    verify: VerifyOption = True,
) -> None:
    """Write everything about an experiment or a run as one page.

    The page needs no network: it can be mailed, scrolled through in a meeting, and printed. It shows the cases one by one
    that were called wrong, or exactly those that --case names.
    """
    from milstore.asking.selection import Choice
    from milstore.cli.output import fail, say
    from milstore.cli.store_access import open_current
    from milstore.report.writing import write_report

    path = output or Path("report.md" if format_ == "md" else "report.html")
    choice = Choice(
        run=run,
        experiment=experiment,
        split=split,
        seed=seed,
        subset=subset,
        prediction=prediction,
        cases=tuple(case or ()),
    )
    report = write_report(open_current(store, verify=verify), path, choice, format_, jobs=None)
    for note in report.notes:
        say(f"note: {note}")
    say(f"wrote {path}")
    for fault in report.faults:
        fail(f"{fault} - this is a fault of milstore, and a gap in the report")
    if report.faults:
        raise typer.Exit(1)
