"""`milstore ingest regions`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from milstore.cli.options import StoreOption
from milstore.cli.output import say
from milstore.cli.store_access import open_current
from milstore.errors import UsageError

if TYPE_CHECKING:
    from milstore.pixels.slide_bounds import Begin

UnclassifiedOption = Annotated[
    str | None,
    typer.Option(
        "--unclassified",
        help="Name of the regions that have no class (default: they are left out).",
        show_default=False,
    ),
]
OffsetOption = Annotated[
    str | None,
    typer.Option(
        "--offset",
        help="Where the files' pixel 0,0 lies on level 0, such as 1024,2048 (default: at OpenSlide's bounds for files of "
        "QuPath where the slide can be opened, else at 0,0).",
        show_default=False,
    ),
]


def command(
    path: Annotated[
        Path,
        typer.Argument(
            help="GeoJSON file, or folder of them: annotations of QuPath, contours of TRIDENT, tiles of LazySlide. A file is "
            "called by its slide's id.",
            show_default=False,
        ),
    ],
    unclassified: UnclassifiedOption = None,
    every_kind: Annotated[
        bool, typer.Option("--every-kind", help="Detections, tiles and cells are regions too, not annotations alone.")
    ] = False,
    slide: Annotated[
        str | None,
        typer.Option("--slide", help="Slide of the one file, where its name does not say it.", show_default=False),
    ] = None,
    offset: OffsetOption = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="These are all the regions of the slides that they are of: others go.")
    ] = False,
    store: StoreOption = None,
) -> None:
    """Ingest annotated regions: a patch gets each one that contains its centre."""
    from milstore.ingest.regions import RegionOptions, ingest_regions

    options = RegionOptions(
        unclassified=unclassified,
        every_kind=every_kind,
        slide=slide,
        begin=None if offset is None else begin_from(offset),
    )
    for line in ingest_regions(open_current(store), path, options, replace=replace).lines():
        say(line)


def begin_from(text: str) -> "Begin":
    """Where pixels begin, from two whole numbers. UsageError if it is something else."""
    from milstore.pixels.slide_bounds import Begin

    try:
        x, y = (int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--offset is {text!r}: give two whole numbers, such as 1024,2048") from None
    return Begin(x, y)
