"""`milstore export qupath`."""

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
)
from milstore.cli.output import say
from milstore.cli.store_access import open_current


def command(
    case: CaseOption = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to; a file a slide.")] = Path(
        "qupath"
    ),
    colour: Annotated[
        str,
        typer.Option("--colour", help="By rank within the case, or by times-even: times the even share of attention."),
    ] = "rank",
    top: Annotated[
        float | None,
        typer.Option(
            "--top", help="Only the most attended patches of each case, in percent (default: all).", show_default=False
        ),
    ] = None,
    offset: Annotated[
        str | None,
        typer.Option(
            "--offset",
            help="Where QuPath's pixel 0,0 lies on level 0, such as 1024,2048; of one slide (default: at OpenSlide's bounds, "
            "where the slide can be opened).",
            show_default=False,
        ),
    ] = None,
    run: RunOption = None,
    experiment: ExperimentOption = None,
    split: SplitOption = None,
    seed: SeedOption = None,
    subset: SubsetOption = None,
    prediction: PredictionOption = None,
    store: StoreOption = None,
) -> None:
    """Write the patches of cases as tiles for QuPath, with attention as their colour and measurements: a GeoJSON a slide.

    Without --case it writes all cases that the run or experiment held in test.
    """
    from typing import cast

    from milstore.asking.selection import Choice
    from milstore.cli.ingest_regions import begin_from
    from milstore.exporting.qupath import Colour, QupathOptions, export_qupath

    choice = Choice(
        run=run,
        experiment=experiment,
        split=split,
        seed=seed,
        subset=subset,
        prediction=prediction,
        cases=tuple(case or ()),
    )
    options = QupathOptions(colour=cast(Colour, colour), top=top, begin=None if offset is None else begin_from(offset))
    for line in export_qupath(open_current(store), output, choice, options).lines():
        say(line)
